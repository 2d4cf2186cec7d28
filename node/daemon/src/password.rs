//! Where the password of an encrypted hotkey comes from: the first of these that is set.
//!
//! ```text
//! wallet.password_file > wallet.password_fd > BT_PW_<PATH> > BT_WALLET_PASSWORD
//!   > BT_WALLET_PASSWORD_FILE > the terminal, if stdin is one
//! ```
//!
//! A source that is set and holds no password is an error: nobody wants the next one silently.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use node_chain::{NotAPassword, Password, PASSWORD_BYTES_MAX};
use zeroize::Zeroizing;

use crate::config::{PasswordSources, PASSWORD_FILE_VARIABLE, PASSWORD_VARIABLE};

/// How long a pipe may take to give a password. Higher: a start that waits for a writer who never
/// comes looks like a hanging node.
const PASSWORD_WAIT: Duration = Duration::from_secs(30);

/// Permission bits that let others read a file.
const MODE_OF_OTHERS: u32 = 0o077;
const MODE_BITS: u32 = 0o7777;

/// Mode and owner of a credential that systemd hands over by an access list. The list names the
/// service's user alone, and shows as the rights of the group.
const CREDENTIAL_MODE: u32 = 0o440;
const ROOT: u32 = 0;

/// Room for the longest line, its end, and whitespace around the password.
const LINE_BYTES_MAX: usize = PASSWORD_BYTES_MAX + 16;

/// Where a password came from; the text names the setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    File { set_by: &'static str, path: PathBuf },
    Descriptor(u32),
    Variable(String),
    Terminal,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { set_by, path } => write!(f, "`{}` (`{set_by}`)", path.display()),
            Self::Descriptor(number) => {
                write!(f, "file descriptor {number} (`wallet.password_fd`)")
            }
            Self::Variable(name) => write!(f, "the variable `{name}`"),
            Self::Terminal => f.write_str("the terminal"),
        }
    }
}

/// Why a source that is set gives no password. Says nothing about what was read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PasswordError {
    /// It cannot be read.
    #[error("cannot read the password from {from}")]
    Unreadable {
        from: Source,
        #[source]
        source: io::Error,
    },
    /// Others can read it.
    #[error("{from} has mode {mode:o}: others can read the password")]
    OpenToOthers { from: Source, mode: u32 },
    /// It gives nothing.
    #[error("{from} gave no password within {} s", PASSWORD_WAIT.as_secs())]
    Late { from: Source },
    /// What it gives is none.
    #[error("{from} holds no password")]
    NotAPassword {
        from: Source,
        #[source]
        source: NotAPassword,
    },
}

impl PasswordError {
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::OpenToOthers { .. } => "`chmod 600` it",
            Self::Unreadable { from: Source::Descriptor(_), .. } => {
                "whoever starts the node leaves it open, as `3< FILE` behind the command does for 3"
            }
            Self::Unreadable { from: Source::Terminal, .. }
            | Self::NotAPassword { from: Source::Terminal, .. } => {
                "type it at a terminal, or set `wallet.password_file`"
            }
            Self::Unreadable { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "name a file that is there; its first line is the password"
            }
            Self::Unreadable { .. } => {
                "the node's user has to be able to read it, nobody else: `chown` it, `chmod 600` it"
            }
            Self::Late { .. } => {
                "whoever starts the node writes the password and a line end into the pipe; \
                 `wallet.password_file` can be a plain file as well"
            }
            Self::NotAPassword { from: Source::Variable(_), .. } => {
                "unset the variable, and set `wallet.password_file`: the password stands alone on \
                 the first line of that file"
            }
            Self::NotAPassword { .. } => {
                "the password stands alone on the first line, of the file or of what comes through \
                 the descriptor"
            }
        }
    }
}

/// The password from the first source that is set; `None` if none is and nobody can be asked.
///
/// # Errors
///
/// [`PasswordError`] if the source that is set gives none.
pub(crate) fn find(sources: &PasswordSources) -> Result<Option<(Password, Source)>, PasswordError> {
    if let Some(path) = &sources.file {
        return from_file("wallet.password_file", path, sources).map(Some);
    }
    if let Some(number) = sources.descriptor {
        return from_descriptor(number).map(Some);
    }
    for name in sources.own_variables.iter().map(String::as_str).chain([PASSWORD_VARIABLE]) {
        let Some(value) = sources.variables.get(name) else { continue };
        return from_variable(name, value).map(Some);
    }
    if let Some(path) = &sources.bittensor_file {
        return from_file(PASSWORD_FILE_VARIABLE, path, sources).map(Some);
    }
    Ok(None)
}

/// Whether somebody sits there who can be asked.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal()
}

/// Asks on the terminal, without showing what is typed.
///
/// # Errors
///
/// [`PasswordError`] if there is no terminal, or nothing was typed.
pub(crate) fn ask(key: &Path) -> Result<Password, PasswordError> {
    let from = Source::Terminal;
    let prompt = format!("Password of the hotkey {}: ", key.display());
    let typed = rpassword::prompt_password(prompt)
        .map(Zeroizing::new)
        .map_err(|source| PasswordError::Unreadable { from: from.clone(), source })?;
    Password::from_line(typed.as_bytes())
        .map_err(|source| PasswordError::NotAPassword { from, source })
}

fn from_variable(
    name: &str,
    value: Option<&Zeroizing<String>>,
) -> Result<(Password, Source), PasswordError> {
    let from = Source::Variable(name.to_owned());
    let password = match value {
        None => Err(NotAPassword::NotText),
        Some(value) if name == PASSWORD_VARIABLE => Password::new(value.clone()),
        Some(value) => Password::from_variable(name, value),
    };
    match password {
        Ok(password) => Ok((password, from)),
        Err(source) => Err(PasswordError::NotAPassword { from, source }),
    }
}

fn from_file(
    set_by: &'static str,
    path: &Path,
    sources: &PasswordSources,
) -> Result<(Password, Source), PasswordError> {
    let from = Source::File { set_by, path: path.to_owned() };
    let is_credential = is_within(path, sources.credentials.as_deref());
    let check = if is_credential { CheckMode::Credential } else { CheckMode::OwnerOnly };
    read(from, path.to_owned(), check)
}

/// Whether a file lies in the directory that systemd made for this service's credentials, whatever
/// links lead there.
fn is_within(path: &Path, credentials: Option<&Path>) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    let folder = credentials.and_then(real);
    folder.is_some() && real(path).and_then(|path| path.parent().map(Path::to_owned)) == folder
}

/// A descriptor that whoever started the node left open. Linux shows it as a file, so that it is
/// read without taking it over: nothing vouches for its number.
fn from_descriptor(number: u32) -> Result<(Password, Source), PasswordError> {
    let path = PathBuf::from(format!("/proc/self/fd/{number}"));
    read(Source::Descriptor(number), path, CheckMode::No)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum CheckMode {
    /// Only its owner may read it.
    OwnerOnly,
    /// Or it is as systemd hands over credentials.
    Credential,
    /// It is a descriptor.
    No,
}

impl CheckMode {
    fn allows(self, mode: u32, owner: u32) -> bool {
        let is_owners = mode & MODE_OF_OTHERS == 0;
        match self {
            Self::OwnerOnly => is_owners,
            Self::Credential => is_owners || (mode, owner) == (CREDENTIAL_MODE, ROOT),
            Self::No => true,
        }
    }
}

/// What came of reading a file.
enum Read {
    Line(Zeroizing<Vec<u8>>),
    OpenToOthers(u32),
}

/// Reads one line. Opening and reading may block for as long as it is a pipe without a writer.
fn read(
    from: Source,
    path: PathBuf,
    check: CheckMode,
) -> Result<(Password, Source), PasswordError> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        // Nobody waits any more if that fails.
        drop(sender.send(first_line(&path, check)));
    });
    let line = match receiver.recv_timeout(PASSWORD_WAIT) {
        Ok(Ok(Read::Line(line))) => line,
        Ok(Ok(Read::OpenToOthers(mode))) => {
            return Err(PasswordError::OpenToOthers { from, mode });
        }
        Ok(Err(source)) => return Err(PasswordError::Unreadable { from, source }),
        Err(_) => return Err(PasswordError::Late { from }),
    };
    match Password::from_line(&line) {
        Ok(password) => Ok((password, from)),
        Err(source) => Err(PasswordError::NotAPassword { from, source }),
    }
}

/// The bytes up to the first line end, or some more. Ends there: the writer of a pipe may keep it
/// open.
fn first_line(path: &Path, check: CheckMode) -> io::Result<Read> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    let mode = metadata.mode() & MODE_BITS;
    if !check.allows(mode, metadata.uid()) {
        return Ok(Read::OpenToOthers(mode));
    }
    let mut bytes = Zeroizing::new(vec![0; LINE_BYTES_MAX]);
    let mut length = 0;
    while let Some(room) = bytes.get_mut(length..).filter(|room| !room.is_empty()) {
        match file.read(room) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if bytes.get(..length).is_some_and(|read| read.contains(&b'\n')) {
            break;
        }
    }
    bytes.truncate(length);
    Ok(Read::Line(bytes))
}

#[cfg(test)]
#[path = "password_tests.rs"]
mod tests;
