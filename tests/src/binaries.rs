//! Where the programs under test are: beside the running test.

use std::path::{Path, PathBuf};

use anyhow::{bail, Context as _};

/// The program `name` from the same build as this process.
///
/// # Errors
///
/// If it was not built; says how.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("this program's own path")?;
    // A test lies in `<profile>/deps/`, a program in `<profile>/`.
    let found = own.ancestors().skip(1).take(2).map(|dir| dir.join(name)).find(|p| p.is_file());
    match found {
        Some(path) => Ok(path),
        None => bail!("`{name}` is not built: run `cargo build -p node-daemon -p localnet` first"),
    }
}

/// The root of the repository.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The data set that the scripts prepare; shared by all tests, never changed by one.
///
/// # Errors
///
/// If it was not prepared; says how.
pub fn dataset() -> anyhow::Result<PathBuf> {
    let path = cache().join("dataset");
    if path.join("MANIFEST.json").is_file() {
        return Ok(path);
    }
    bail!("the data set `{}` is missing: run `scripts/prepare` first", path.display())
}

/// Where scripts keep what is expensive to make.
#[must_use]
pub fn cache() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    base.unwrap_or_else(home).join("assay")
}
