//! A folder that plays the driver's part for child processes.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::script::Script;

/// The script's name, beside the library.
pub(crate) const SCRIPT_FILE: &str = "script.json";
/// The log's name, beside the library.
pub(crate) const LOG_FILE: &str = "calls.log";

/// Names by which the driver's two libraries are loaded.
const CUDA: &str = "libcuda.so.1";
const NVML: &str = "libnvidia-ml.so.1";

/// An installed fake driver. It is gone when this is dropped.
#[derive(Debug)]
pub struct FakeDriver {
    folder: TempDir,
}

impl FakeDriver {
    /// Both of the driver's libraries, with this script.
    ///
    /// # Errors
    ///
    /// If the shared object is not where cargo puts it, beside the program that depends on this
    /// crate, or if the folder cannot be written.
    pub fn install(script: &Script) -> io::Result<Self> {
        Self::install_parts(script, &[CUDA, NVML])
    }

    /// A machine where CUDA's library is missing.
    ///
    /// # Errors
    ///
    /// Those of [`Self::install`].
    pub fn install_without_cuda(script: &Script) -> io::Result<Self> {
        Self::install_parts(script, &[NVML])
    }

    /// A machine where the management library is missing.
    ///
    /// # Errors
    ///
    /// Those of [`Self::install`].
    pub fn install_without_nvml(script: &Script) -> io::Result<Self> {
        Self::install_parts(script, &[CUDA])
    }

    fn install_parts(script: &Script, names: &[&str]) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        put_libraries(folder.path(), names)?;
        let driver = Self { folder };
        driver.play(script)?;
        Ok(driver)
    }

    /// The folder: for `LD_LIBRARY_PATH`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Lets `command` find this driver and no other.
    pub fn equip<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("LD_LIBRARY_PATH", self.folder())
    }

    /// Replaces the script, for processes that run already too.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn play(&self, script: &Script) -> io::Result<()> {
        put_script(self.folder(), script)
    }

    /// The script as it is now.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn script(&self) -> io::Result<Script> {
        read_script(self.folder())
    }

    /// Changes the script, for processes that run already too.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or written.
    pub fn change(&self, change: impl FnOnce(&mut Script)) -> io::Result<()> {
        let mut script = self.script()?;
        change(&mut script);
        self.play(&script)
    }

    /// The calls so far, one per line: the function and the device. Empty unless
    /// [`Script::is_logged`].
    ///
    /// # Errors
    ///
    /// If the file is there and cannot be read.
    pub fn calls(&self) -> io::Result<Vec<String>> {
        match std::fs::read_to_string(self.folder().join(LOG_FILE)) {
            Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

/// Puts both of the driver's libraries into a folder that is there, with this script beside them:
/// a container's, for example. Everybody may read them.
///
/// # Errors
///
/// Those of [`FakeDriver::install`].
pub fn put(folder: &Path, script: &Script) -> io::Result<()> {
    put_libraries(folder, &[CUDA, NVML])?;
    put_script(folder, script)
}

/// The script of a driver that is installed in `folder`, as it is now.
///
/// # Errors
///
/// If the file cannot be read.
pub fn read_script(folder: &Path) -> io::Result<Script> {
    Ok(serde_json::from_slice(&std::fs::read(folder.join(SCRIPT_FILE))?)?)
}

fn put_libraries(folder: &Path, names: &[&str]) -> io::Result<()> {
    let library = shared_object()?;
    for name in names {
        std::fs::copy(&library, folder.join(name))?;
    }
    Ok(())
}

/// Whoever reads it meanwhile gets the old one or the new one.
fn put_script(folder: &Path, script: &Script) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(script)?;
    let fresh = tempfile::NamedTempFile::new_in(folder)?;
    std::fs::write(fresh.path(), text)?;
    std::fs::set_permissions(fresh.path(), Permissions::from_mode(0o644))?;
    fresh.persist(folder.join(SCRIPT_FILE))?;
    Ok(())
}

/// Cargo puts it into `<profile>/deps`, where tests are too; programs lie one above.
fn shared_object() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folders = own.ancestors().skip(1).take(2);
    let choices = folders.flat_map(|folder| [folder.to_owned(), folder.join("deps")]);
    let mut paths = choices.map(|folder| folder.join("libfake_driver.so"));
    paths.find(|path| path.is_file()).ok_or_else(|| {
        let problem = "libfake_driver.so is not beside this program: build with cargo, and let \
                       the package depend on fake-driver";
        io::Error::new(io::ErrorKind::NotFound, problem)
    })
}
