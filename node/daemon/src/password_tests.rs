use std::fs;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::config::PasswordVariables;
use crate::failure::{told, Failure};

/// "hidden" in Bittensor's own variable of this name.
const OWN: &str = "BT_PW_X";
const HIDDEN: &str = "Kj07NDIx";

fn file(dir: &Path, name: &str, content: &[u8], mode: u32) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn variables(set: &[(&str, &str)]) -> PasswordVariables {
    PasswordVariables::new(set.iter().map(|(name, value)| (name.into(), value.into())))
}

fn source(sources: &PasswordSources) -> Option<Source> {
    find(sources).unwrap().map(|(_, source)| source)
}

#[test]
fn the_first_source_that_is_set_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let own = file(dir.path(), "own", b"one\n", 0o600);
    let bittensors = file(dir.path(), "bittensors", b"two\n", 0o400);
    let left_open = tempfile::NamedTempFile::new().unwrap();
    fs::write(left_open.path(), "three\n").unwrap();
    let number = u32::try_from(left_open.as_file().as_raw_fd()).unwrap();
    let mut sources = PasswordSources {
        file: Some(own.clone()),
        descriptor: Some(number),
        own_variables: vec!["BT_PW_OTHER".to_owned(), OWN.to_owned()],
        variables: variables(&[(OWN, HIDDEN), (PASSWORD_VARIABLE, "five")]),
        bittensor_file: Some(bittensors.clone()),
        credentials: None,
    };
    let found = Source::File { set_by: "wallet.password_file", path: own };
    assert_eq!(source(&sources), Some(found));
    sources.file = None;
    assert_eq!(source(&sources), Some(Source::Descriptor(number)));
    sources.descriptor = None;
    assert_eq!(source(&sources), Some(Source::Variable(OWN.to_owned())));
    sources.variables = variables(&[("BT_PW_ELSE", HIDDEN), (PASSWORD_VARIABLE, "five")]);
    assert_eq!(source(&sources), Some(Source::Variable(PASSWORD_VARIABLE.to_owned())));
    sources.variables = variables(&[(OWN, ""), (PASSWORD_VARIABLE, "")]);
    let found = Source::File { set_by: PASSWORD_FILE_VARIABLE, path: bittensors };
    assert_eq!(source(&sources), Some(found));
    sources.bittensor_file = None;
    assert_eq!(source(&sources), None);
}

#[test]
fn a_password_file_that_others_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for mode in [0o640, 0o604, 0o644, 0o610] {
        let path = file(dir.path(), &format!("{mode:o}"), b"one\n", mode);
        let sources = PasswordSources { file: Some(path), ..PasswordSources::default() };
        let error = find(&sources).unwrap_err();
        assert!(matches!(error, PasswordError::OpenToOthers { mode: found, .. } if found == mode));
    }
}

#[test]
fn a_credential_of_systemd_is_taken_as_root_hands_it_over_and_no_other_way() {
    assert!(CheckMode::Credential.allows(0o440, ROOT));
    assert!(CheckMode::Credential.allows(0o400, 1_000));
    for (mode, owner) in [(0o440, 1_000), (0o444, ROOT), (0o640, ROOT), (0o460, ROOT)] {
        assert!(!CheckMode::Credential.allows(mode, owner), "{mode:o} of {owner}");
    }
    assert!(!CheckMode::OwnerOnly.allows(0o440, ROOT), "elsewhere it is open to a group");
}

#[test]
fn a_credential_is_known_by_the_folder_that_systemd_named() {
    let dir = tempfile::tempdir().unwrap();
    let (own, other) = (dir.path().join("own"), dir.path().join("other"));
    fs::create_dir(&own).unwrap();
    fs::create_dir_all(own.join("deeper")).unwrap();
    fs::create_dir(&other).unwrap();
    for folder in [&own, &other, &own.join("deeper")] {
        file(folder, "password", b"one\n", 0o440);
    }
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(own.join("password"), &link).unwrap();
    std::os::unix::fs::symlink(other.join("password"), own.join("out")).unwrap();
    let is_owned_by_root = fs::metadata(&link).unwrap().uid() == ROOT;
    let taken = |path: PathBuf, credentials: Option<&PathBuf>| {
        let credentials = credentials.cloned();
        let sources =
            PasswordSources { file: Some(path), credentials, ..PasswordSources::default() };
        find(&sources).is_ok()
    };
    for path in [own.join("password"), link] {
        assert_eq!(taken(path.clone(), Some(&own)), is_owned_by_root);
        assert!(!taken(path, None), "no credentials were handed over");
    }
    for path in [other.join("password"), own.join("deeper/password"), own.join("out")] {
        assert!(!taken(path.clone(), Some(&own)), "{}", path.display());
    }
    assert!(!taken(own.join("password"), Some(&dir.path().join("gone"))));
}

#[test]
fn a_source_that_is_set_and_holds_no_password_is_an_error_and_not_skipped() {
    let dir = tempfile::tempdir().unwrap();
    for (content, why) in [
        (&b""[..], NotAPassword::Empty),
        (b" \n", NotAPassword::Empty),
        (b"\xff\n", NotAPassword::NotText),
        (&[b'x'; 100_000], NotAPassword::TooLong),
    ] {
        let path = file(dir.path(), "password", content, 0o600);
        let variables = variables(&[(PASSWORD_VARIABLE, "five")]);
        let sources = PasswordSources { file: Some(path), variables, ..PasswordSources::default() };
        let error = find(&sources).unwrap_err();
        let PasswordError::NotAPassword { source, .. } = error else { panic!("{error}") };
        assert_eq!(source, why);
    }
    let sources = PasswordSources {
        own_variables: vec![OWN.to_owned()],
        variables: variables(&[(OWN, "plain text"), (PASSWORD_VARIABLE, "five")]),
        ..PasswordSources::default()
    };
    let error = find(&sources).unwrap_err();
    assert!(error.to_string().contains(OWN) && !error.to_string().contains("plain"), "{error}");
}

#[test]
fn a_missing_file_and_a_closed_descriptor_are_named() {
    let sources = PasswordSources {
        file: Some(PathBuf::from("/nowhere/password")),
        ..PasswordSources::default()
    };
    let error = find(&sources).unwrap_err();
    assert!(error.to_string().contains("/nowhere/password"), "{error}");
    let sources = PasswordSources { descriptor: Some(60_000), ..PasswordSources::default() };
    let error = find(&sources).unwrap_err();
    assert!(error.to_string().contains("file descriptor 60000"), "{error}");
}

#[test]
fn a_pipe_whose_writer_keeps_it_open_gives_its_first_line() {
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"from a pipe\n").unwrap();
    let descriptor = u32::try_from(reader.as_raw_fd()).unwrap();
    let sources = PasswordSources { descriptor: Some(descriptor), ..PasswordSources::default() };
    assert_eq!(source(&sources), Some(Source::Descriptor(descriptor)));
    drop(writer);
}

/// Every way to get no password, from each source. A new one does not compile until it stands here.
fn without_password() -> Vec<PasswordError> {
    let file = || Source::File { set_by: "wallet.password_file", path: PathBuf::from("/k/pw") };
    let unreadable =
        |from: Source, kind: io::ErrorKind| PasswordError::Unreadable { from, source: kind.into() };
    let empty = |from| PasswordError::NotAPassword { from, source: NotAPassword::Empty };
    let disguise = NotAPassword::NotDisguised;
    let all = vec![
        unreadable(file(), io::ErrorKind::NotFound),
        unreadable(file(), io::ErrorKind::PermissionDenied),
        unreadable(Source::Descriptor(9), io::ErrorKind::NotFound),
        unreadable(Source::Terminal, io::ErrorKind::Other),
        PasswordError::OpenToOthers { from: file(), mode: 0o644 },
        PasswordError::Late { from: Source::Descriptor(9) },
        empty(file()),
        empty(Source::Descriptor(9)),
        empty(Source::Terminal),
        PasswordError::NotAPassword { from: Source::Variable(OWN.to_owned()), source: disguise },
    ];
    for error in &all {
        match error {
            PasswordError::Unreadable { .. }
            | PasswordError::OpenToOthers { .. }
            | PasswordError::Late { .. }
            | PasswordError::NotAPassword { .. } => {}
        }
    }
    all
}

#[test]
fn each_way_to_get_no_password_says_what_next() {
    let failures = without_password().into_iter().map(|error| {
        let hint = error.hint();
        Failure::unavailable(error).hint(hint)
    });
    insta::assert_snapshot!(told(failures));
}
