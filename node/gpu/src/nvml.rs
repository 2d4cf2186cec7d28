//! The door to NVML, the driver's management library. It may be missing where the driver is not.

use nvml_wrapper::Nvml;

/// Longest version text kept.
const VERSION_CHARS_MAX: usize = 40;

/// The driver's version, for example `570.86.15`; `None` if the library does not say.
pub(crate) fn driver_version() -> Option<String> {
    let version = Nvml::init().ok()?.sys_driver_version().ok()?;
    Some(version.chars().filter(|c| !c.is_control()).take(VERSION_CHARS_MAX).collect())
}
