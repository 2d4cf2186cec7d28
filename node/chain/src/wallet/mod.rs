//! Bittensor wallets: `<root>/<name>/hotkeys/<hotkey>`, a small JSON file, encrypted or not.
//!
//! Every field of the file is a string or null, and any of them may be missing. The secret is
//! taken from `secretPhrase`, else `secretSeed`, else `privateKey`, and must lead to the public
//! key that the file names. What was read is wiped from memory.
//!
//! ```text
//! KeyFile::read --bytes, mode, format--> KeyFile --password, if encrypted--> HotkeyFile
//!                 (no secret needed)              (seconds, 512 MiB)
//! ```
//!
//! A coldkey is never read: a node needs none, and finding one is worth a warning.
//!
//! Not here: where a password comes from (`node/daemon`).

mod cipher;
mod error;
mod fields;
mod password;

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use node_core::id::Hotkey;
use zeroize::Zeroizing;

use crate::keypair::Keypair;
use cipher::NotOpened;

pub use cipher::Encryption;
pub use error::{KeyFileError, KeyFileWarning};
pub use password::{
    password_variable, NotAPassword, Password, PASSWORD_BYTES_MAX, PASSWORD_VARIABLE_PREFIX,
};

/// Longest key file read. Lower: a long phrase with whitespace does not fit. Higher: a wrong path
/// (a log, a device) is read into memory.
pub const KEY_FILE_BYTES_MAX: u64 = 16 * 1024;

/// Room for the longest file, and for the read that finds its end.
const READ_BUFFER_BYTES: usize = 17 * 1024;
const _: () = assert!(READ_BUFFER_BYTES as u64 > KEY_FILE_BYTES_MAX + 1);

/// Wallets beside the own one that are searched for coldkeys. Higher: a directory that is none of
/// wallets costs time at each start.
const WALLETS_SEARCHED_MAX: usize = 256;

/// Permission bits of a key file that only its owner can read.
const MODE_OWNER_ONLY: u32 = 0o600;
const MODE_OF_OTHERS: u32 = 0o077;
const MODE_BITS: u32 = 0o7777;

/// Where a wallet's hotkey lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalletPath {
    /// The directory of all wallets.
    pub root: PathBuf,
    /// The wallet's name.
    pub name: String,
    /// The hotkey's name.
    pub hotkey: String,
}

impl WalletPath {
    /// The hotkey's file.
    ///
    /// # Errors
    ///
    /// [`KeyFileError::BadName`] if one of the names is not a plain file name.
    pub fn file(&self) -> Result<PathBuf, KeyFileError> {
        Ok(self.wallet()?.join("hotkeys").join(plain_name(&self.hotkey)?))
    }

    /// The file with the coldkey's public half, which wallets write.
    fn public_coldkey_file(&self) -> Result<PathBuf, KeyFileError> {
        Ok(self.wallet()?.join("coldkeypub.txt"))
    }

    /// The file with the hotkey's public half, which wallets write beside it.
    fn public_file(&self) -> Result<PathBuf, KeyFileError> {
        Ok(self.wallet()?.join("hotkeys").join(format!("{}pub.txt", plain_name(&self.hotkey)?)))
    }

    fn wallet(&self) -> Result<PathBuf, KeyFileError> {
        Ok(self.root.join(plain_name(&self.name)?))
    }

    /// Looks for coldkeys in this wallet and in those beside it. None is opened.
    ///
    /// # Errors
    ///
    /// [`KeyFileError::BadName`] if the wallet's name is not a plain file name.
    pub fn coldkeys(&self) -> Result<ColdkeySearch, KeyFileError> {
        let own = self.wallet()?;
        let mut search = ColdkeySearch::default();
        let mut others = Vec::new();
        match std::fs::read_dir(&self.root) {
            Ok(entries) => {
                let beside = entries.flatten().map(|entry| entry.path());
                others.extend(beside.filter(|path| *path != own).take(WALLETS_SEARCHED_MAX + 1));
            }
            // Whose folder is not there has no other wallets.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => search.unseen.push((self.root.clone(), error)),
        }
        search.is_cut = others.len() > WALLETS_SEARCHED_MAX;
        others.truncate(WALLETS_SEARCHED_MAX);
        others.sort();
        for wallet in std::iter::once(own).chain(others) {
            search.look(&wallet);
        }
        Ok(search)
    }
}

/// What came of looking for coldkeys.
#[derive(Debug, Default)]
pub struct ColdkeySearch {
    /// Those that lie there, that of the own wallet first.
    pub found: Vec<PathBuf>,
    /// Wallets that were looked into, the own one included.
    pub wallets: usize,
    /// What could not be looked at, and why.
    pub unseen: Vec<(PathBuf, io::Error)>,
    /// Whether there are more wallets than are looked into.
    pub is_cut: bool,
}

impl ColdkeySearch {
    fn look(&mut self, wallet: &Path) {
        let path = wallet.join("coldkey");
        match path.symlink_metadata() {
            Ok(_) => self.found.push(path),
            Err(error) => match error.kind() {
                // The latter is a file that lies among the wallets.
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {}
                _ => self.unseen.push((path, error)),
            },
        }
        self.wallets += usize::from(wallet.is_dir());
    }
}

fn plain_name(name: &str) -> Result<&str, KeyFileError> {
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(only)), None) if only == name => Ok(name),
        _ => Err(KeyFileError::BadName { name: name.to_owned() }),
    }
}

/// A hotkey's file as it lies there: read, not opened.
pub struct KeyFile {
    content: Zeroizing<Vec<u8>>,
    facts: KeyFileFacts,
}

/// What a hotkey's file tells without its password; nothing in it is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFileFacts {
    /// The file.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// The number of the user whose file it is.
    pub owner: u32,
    /// How it is encrypted; `None` if it is not.
    pub encryption: Option<Encryption>,
    /// The key that the public file beside it names. Nothing proves that it is the same one.
    pub named: Option<Hotkey>,
    /// What its operator should know.
    pub warnings: Vec<KeyFileWarning>,
    public_file: PathBuf,
    /// The key that the public file of the wallet's coldkey names.
    coldkey: Option<Hotkey>,
}

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyFile").field("facts", &self.facts).finish_non_exhaustive()
    }
}

impl KeyFile {
    /// Reads a hotkey's file and the public one beside it, and looks which coldkeys lie there.
    /// Opens and writes nothing.
    ///
    /// # Errors
    ///
    /// [`KeyFileError::BadName`], [`KeyFileError::Unreadable`] or [`KeyFileError::TooLong`].
    pub fn read(wallet: &WalletPath) -> Result<Self, KeyFileError> {
        let path = wallet.file()?;
        let Bounded { content, mode, owner } = read_bounded(&path)?;
        let mut warnings = Vec::new();
        if mode & MODE_OF_OTHERS != 0 {
            warnings.push(KeyFileWarning::Mode { path: path.clone(), mode });
        }
        let coldkeys = wallet.coldkeys()?.found.into_iter();
        warnings.extend(coldkeys.map(|path| KeyFileWarning::ColdkeyPresent { path }));
        let public_file = wallet.public_file()?;
        let named = named_in(&public_file);
        let coldkey = named_in(&wallet.public_coldkey_file()?);
        let encryption = Encryption::of(&content);
        let facts =
            KeyFileFacts { path, mode, owner, encryption, named, warnings, public_file, coldkey };
        Ok(Self { content, facts })
    }

    /// What the file tells without its password.
    #[must_use]
    pub fn facts(&self) -> &KeyFileFacts {
        &self.facts
    }

    /// Opens the file. Blocks for what [`Encryption::cost`] says: no work for a thread that others
    /// wait for. A password for a file that is not encrypted is not looked at.
    ///
    /// # Errors
    ///
    /// One variant of [`KeyFileError`] per step, in their order;
    /// [`KeyFileError::Encrypted`] if a password is needed and there is none,
    /// [`KeyFileError::WrongPassword`] if it is another one.
    pub fn open(&self, password: Option<&Password>) -> Result<HotkeyFile, KeyFileError> {
        let path = &self.facts.path;
        let keypair = match (self.facts.encryption, password) {
            (None, _) => fields::parse(path, &self.content)?,
            (Some(format), None) => {
                return Err(KeyFileError::Encrypted { path: path.clone(), format });
            }
            (Some(format), Some(password)) => {
                let plain = format
                    .open(&self.content, password)
                    .map_err(|reason| self.not_opened(format, reason))?;
                fields::parse(path, &plain)?
            }
        };
        let KeyFileFacts {
            path, mode, encryption, named, mut warnings, public_file, coldkey, ..
        } = self.facts.clone();
        let hotkey = keypair.public();
        if coldkey == Some(hotkey) {
            return Err(KeyFileError::Coldkey { path });
        }
        if let Some(named) = named.filter(|named| *named != hotkey) {
            warnings.push(KeyFileWarning::OtherPublicFile { path: public_file, named, hotkey });
        }
        let facts = HotkeyFacts { hotkey, scheme: "sr25519", path, mode, encryption, warnings };
        Ok(HotkeyFile { keypair, facts })
    }

    fn not_opened(&self, format: Encryption, reason: NotOpened) -> KeyFileError {
        let path = self.facts.path.clone();
        match reason {
            NotOpened::WrongPassword => KeyFileError::WrongPassword { path, format },
            NotOpened::Damaged(what) => KeyFileError::Damaged { path, format, what },
            NotOpened::OtherVault(header) => KeyFileError::OtherVault { path, header },
            NotOpened::MemoryShort { free_mib } => KeyFileError::MemoryShort { path, free_mib },
        }
    }
}

/// A hotkey, opened.
#[derive(Clone, Debug)]
pub struct HotkeyFile {
    keypair: Keypair,
    facts: HotkeyFacts,
}

/// What may be shown about a hotkey; nothing in it is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotkeyFacts {
    /// The key; its text is the SS58 address.
    pub hotkey: Hotkey,
    /// The signature scheme, always `sr25519`.
    pub scheme: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// How the file is encrypted; `None` if it is not.
    pub encryption: Option<Encryption>,
    /// What its operator should know.
    pub warnings: Vec<KeyFileWarning>,
}

impl HotkeyFile {
    /// Reads and opens a hotkey's file that is not encrypted.
    ///
    /// # Errors
    ///
    /// Those of [`KeyFile::read`] and [`KeyFile::open`].
    pub fn read(wallet: &WalletPath) -> Result<Self, KeyFileError> {
        KeyFile::read(wallet)?.open(None)
    }

    /// The key.
    #[must_use]
    pub fn keypair(&self) -> &Keypair {
        &self.keypair
    }

    /// What may be shown.
    #[must_use]
    pub fn facts(&self) -> &HotkeyFacts {
        &self.facts
    }
}

/// The key that a file with a public half names, if it is there and names one.
fn named_in(path: &Path) -> Option<Hotkey> {
    fields::parse_public(&read_bounded(path).ok()?.content)
}

/// A file that is no longer than a key file, its permission bits and whose it is.
struct Bounded {
    content: Zeroizing<Vec<u8>>,
    mode: u32,
    owner: u32,
}

fn read_bounded(path: &Path) -> Result<Bounded, KeyFileError> {
    let unreadable = |source| KeyFileError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    // Allocated once: a vector that grows leaves copies of the secret behind.
    let mut content = Zeroizing::new(Vec::with_capacity(READ_BUFFER_BYTES));
    file.take(KEY_FILE_BYTES_MAX + 1).read_to_end(&mut content).map_err(unreadable)?;
    if content.len() as u64 > KEY_FILE_BYTES_MAX {
        return Err(KeyFileError::TooLong { path: path.to_owned() });
    }
    Ok(Bounded { content, mode: metadata.mode() & MODE_BITS, owner: metadata.uid() })
}

#[cfg(test)]
mod tests;
