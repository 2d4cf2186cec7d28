//! Versions of what runs containers, against published holes in it.
//!
//! The table is what was published when this build was made. Distributions mend old versions
//! without renumbering them, so an old number means "look", never "vulnerable".

use std::time::Duration;

use super::{Finding, Topic};

/// How long the toolkit may take to say its version.
const TOOLKIT_MAX: Duration = Duration::from_secs(3);

/// A version as its first three numbers; a candidate is the last one before.
type Version = [u32; 3];

/// In place of the third number of what comes before a version that ends in zero.
const CANDIDATE: u32 = u32::MAX;

/// A published hole.
#[derive(Debug)]
struct Advisory {
    component: &'static str,
    ids: &'static str,
    what: &'static str,
    /// First affected version, and the first that is not any more; a pair per branch.
    affected: &'static [(Version, Version)],
}

const ADVISORIES: &[Advisory] = &[
    Advisory {
        component: "runc",
        ids: "CVE-2024-21626",
        what: "a leaked file descriptor leads out of a container",
        affected: &[([0, 0, 0], [1, 1, 12])],
    },
    Advisory {
        component: "runc",
        ids: "CVE-2025-31133, -52565, -52881",
        what: "mounts swapped during a start lead out of a container",
        // Of 1.4.0 the candidates, not all of which are mended.
        affected: &[([0, 0, 0], [1, 2, 8]), ([1, 3, 0], [1, 3, 3]), ([1, 3, CANDIDATE], [1, 4, 0])],
    },
    Advisory {
        component: "nvidia-container-toolkit",
        ids: "CVE-2024-0132",
        what: "an image can mount the host's disk (not where CDI gives devices)",
        affected: &[([0, 0, 0], [1, 16, 2])],
    },
    Advisory {
        component: "nvidia-container-toolkit",
        ids: "CVE-2025-23266",
        what: "an image can have a library loaded by a hook that runs as root",
        affected: &[([0, 0, 0], [1, 17, 8])],
    },
];

/// Judges parts with their versions as the engine tells them, for example `runc 1.1.5+ds1`.
///
/// - `runtime`: the one that runs use.
pub(super) fn judge(components: &[String], runtime: &str) -> Vec<Finding> {
    let judged: Vec<Finding> = components.iter().filter_map(|one| judge_one(one)).collect();
    if judged.is_empty() {
        let text = format!("the engine does not say the version of `{runtime}`: not judged");
        let next = format!("compare `{runtime} --version` with its advisories");
        return vec![Finding::warn(Topic::ContainerRuntime, text, next)];
    }
    judged
}

/// The version of what gives GPUs to containers, where it is installed; no engine tells it.
pub(super) async fn toolkit() -> Option<String> {
    let mut asked = tokio::process::Command::new("nvidia-ctk");
    let asked = asked.arg("--version").kill_on_drop(true).output();
    let said = tokio::time::timeout(TOOLKIT_MAX, asked).await.ok()?.ok()?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let version = said.lines().next()?.split_whitespace().last()?.to_owned();
    Some(format!("nvidia-container-toolkit {version}"))
}

pub(super) fn judge_one(component: &str) -> Option<Finding> {
    let (name, version) = component.rsplit_once(' ')?;
    let name = match name {
        // Under the name of the runtime that the engine takes by default: the toolkit's is runc
        // with a hook, and podman says both.
        "nvidia" => "runc",
        name if name.contains("(runc)") => "runc",
        name => name,
    };
    let known = |advisory: &&Advisory| advisory.component == name;
    ADVISORIES.iter().find(known)?;
    let Some(parsed) = parse(version) else {
        let text = format!("{component}: the version cannot be read");
        let next = format!("compare what `{name} --version` says with its advisories by hand");
        return Some(Finding::warn(Topic::ContainerRuntime, text, next));
    };
    let hit: Vec<&Advisory> =
        ADVISORIES.iter().filter(known).filter(|advisory| advisory.affects(parsed)).collect();
    if hit.is_empty() {
        let text = format!("{component}: none of the published holes that this build knows");
        return Some(Finding::ok(Topic::ContainerRuntime, text));
    }
    let told = hit.iter().map(|advisory| format!("\n{}: {}", advisory.ids, advisory.what));
    let text = format!("{component}: older than the fixes of{}", told.collect::<String>());
    let next = if is_of_distribution(version) {
        format!("see whether the package has the fixes: `apt-get changelog {name} | grep CVE`")
    } else {
        format!("upgrade {name}")
    };
    Some(Finding::warn(Topic::ContainerRuntime, text, next))
}

impl Advisory {
    fn affects(&self, version: Version) -> bool {
        self.affected.iter().any(|(first, mended)| (*first..*mended).contains(&version))
    }
}

/// The first three numbers of a version.
fn parse(version: &str) -> Option<Version> {
    let version = version.strip_prefix('v').unwrap_or(version);
    let mut parts = version.splitn(3, '.').map(|part| {
        let digits = part.split(|digit: char| !digit.is_ascii_digit()).next();
        digits.and_then(|digits| digits.parse().ok())
    });
    let [major, minor, patch] =
        [parts.next()??, parts.next()??, parts.next().flatten().unwrap_or_default()];
    if version.contains("-rc") && patch == 0 {
        return Some([major, minor.saturating_sub(1), CANDIDATE]);
    }
    Some([major, minor, patch])
}

/// Whether a packager's mark is in it, as in `1.1.5+ds1` and `20.10.24+dfsg1`.
fn is_of_distribution(version: &str) -> bool {
    ["+ds", "+dfsg", "~deb", "+deb", "ubuntu"].iter().any(|mark| version.contains(mark))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::told;
    use super::*;

    /// Everything that this check can say.
    pub(in super::super) fn findings() -> Vec<Finding> {
        let mut found = judged();
        found.extend(judge(&["Engine 27.0.0".to_owned()], "crun"));
        found
    }

    fn judged() -> Vec<Finding> {
        let components = [
            "Engine 20.10.24+dfsg1",
            "runc 1.1.5+ds1",
            "runc 1.1.12",
            "runc 1.2.8",
            "runc 1.3.2",
            "runc 1.3.3",
            "runc 1.4.0-rc.1",
            "runc of-somebody",
            "nvidia 1.2.7",
            "OCI Runtime (runc) 1.1.5",
            "nvidia-container-toolkit 1.16.1",
            "nvidia-container-toolkit 1.17.8",
        ];
        judge(&components.map(str::to_owned), "runc")
    }

    #[test]
    fn versions_are_held_against_what_is_published() {
        assert_eq!(judge(&["Engine 27.0.0".to_owned()], "crun").len(), 1, "that it is not known");
        insta::assert_snapshot!(told(&judged()), @r"
        Warn: runc 1.1.5+ds1: older than the fixes of
        CVE-2024-21626: a leaked file descriptor leads out of a container
        CVE-2025-31133, -52565, -52881: mounts swapped during a start lead out of a container
          next: see whether the package has the fixes: `apt-get changelog runc | grep CVE`
        Warn: runc 1.1.12: older than the fixes of
        CVE-2025-31133, -52565, -52881: mounts swapped during a start lead out of a container
          next: upgrade runc
        Ok: runc 1.2.8: none of the published holes that this build knows
        Warn: runc 1.3.2: older than the fixes of
        CVE-2025-31133, -52565, -52881: mounts swapped during a start lead out of a container
          next: upgrade runc
        Ok: runc 1.3.3: none of the published holes that this build knows
        Warn: runc 1.4.0-rc.1: older than the fixes of
        CVE-2025-31133, -52565, -52881: mounts swapped during a start lead out of a container
          next: upgrade runc
        Warn: runc of-somebody: the version cannot be read
          next: compare what `runc --version` says with its advisories by hand
        Warn: nvidia 1.2.7: older than the fixes of
        CVE-2025-31133, -52565, -52881: mounts swapped during a start lead out of a container
          next: upgrade runc
        Warn: OCI Runtime (runc) 1.1.5: older than the fixes of
        CVE-2024-21626: a leaked file descriptor leads out of a container
        CVE-2025-31133, -52565, -52881: mounts swapped during a start lead out of a container
          next: upgrade runc
        Warn: nvidia-container-toolkit 1.16.1: older than the fixes of
        CVE-2024-0132: an image can mount the host's disk (not where CDI gives devices)
        CVE-2025-23266: an image can have a library loaded by a hook that runs as root
          next: upgrade nvidia-container-toolkit
        Ok: nvidia-container-toolkit 1.17.8: none of the published holes that this build knows
        ");
    }

    #[test]
    fn versions_are_read_to_their_third_number() {
        assert_eq!(parse("1.1.5+ds1"), Some([1, 1, 5]));
        assert_eq!(parse("v1.3"), Some([1, 3, 0]));
        assert_eq!(parse("1.4.0-rc.1"), Some([1, 3, CANDIDATE]));
        for odd in ["", "x", "1", "1.x", "99999999999.1.1"] {
            assert_eq!(parse(odd), None, "{odd}");
        }
    }
}
