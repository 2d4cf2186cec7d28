//! What of the kernel's settings the engine does not check.

use super::{Finding, Topic};

/// What was read below `/proc/sys`.
#[derive(Clone, Debug, Default)]
struct Kernel {
    release: String,
    core_pattern: String,
    /// How far the kernel's addresses are hidden: 0 is not by this.
    pointers_hidden: Option<u32>,
    /// How little of the processor's counters everybody may see; from 2 on nothing of the kernel.
    counters_hidden: Option<u32>,
}

/// Judges this host's kernel.
pub(super) fn kernel() -> Vec<Finding> {
    let read = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/kernel/{name}"));
        text.map(|text| text.trim().to_owned()).unwrap_or_default()
    };
    judge(&Kernel {
        release: read("osrelease"),
        core_pattern: read("core_pattern"),
        pointers_hidden: read("kptr_restrict").parse().ok(),
        counters_hidden: read("perf_event_paranoid").parse().ok(),
    })
}

fn judge(kernel: &Kernel) -> Vec<Finding> {
    const TOPIC: Topic = Topic::Kernel;
    if kernel.release.is_empty() {
        let text = "its settings cannot be read here: /proc/sys is hidden";
        let next = "run `assay doctor` on the host, outside of a container";
        return vec![Finding::warn(TOPIC, text, next)];
    }
    let mut found = vec![Finding::ok(TOPIC, format!("Linux {}", kernel.release))];
    if let Some(program) = kernel.core_pattern.strip_prefix('|') {
        let program = program.split_whitespace().next().unwrap_or_default();
        let text = format!("a crash inside a container starts `{program}` on this host, as root");
        let next = "`sysctl -w kernel.core_pattern=core`, and the same in /etc/sysctl.d";
        found.push(Finding::warn(TOPIC, text, next));
    }
    // Either hides them: `/proc/kallsyms` asks for both.
    let counters_are_open = kernel.counters_hidden.is_some_and(|level| level <= 1);
    if kernel.pointers_hidden == Some(0) && counters_are_open {
        let text =
            "the kernel's addresses can be read by everybody, which helps whoever attacks it";
        let next = "`sysctl -w kernel.kptr_restrict=1`, and the same in /etc/sysctl.d";
        found.push(Finding::warn(TOPIC, text, next));
    }
    found
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::told;
    use super::*;

    fn sound() -> Kernel {
        Kernel {
            release: "6.1.0-9".to_owned(),
            core_pattern: "core".to_owned(),
            pointers_hidden: Some(0),
            counters_hidden: Some(2),
        }
    }

    fn open() -> Kernel {
        Kernel {
            core_pattern: "|/usr/lib/crash/handler %P %u".to_owned(),
            counters_hidden: Some(1),
            ..sound()
        }
    }

    /// Everything that this check can say.
    pub(in super::super) fn findings() -> Vec<Finding> {
        [judge(&Kernel::default()), judge(&open())].concat()
    }

    #[test]
    fn a_handler_of_crashes_and_open_addresses_are_told() {
        assert_eq!(judge(&sound()).len(), 1);
        assert_eq!(judge(&Kernel::default()).len(), 1, "nothing is known, and that is said");
        insta::assert_snapshot!(told(&judge(&open())), @r"
        Ok: Linux 6.1.0-9
        Warn: a crash inside a container starts `/usr/lib/crash/handler` on this host, as root
          next: `sysctl -w kernel.core_pattern=core`, and the same in /etc/sysctl.d
        Warn: the kernel's addresses can be read by everybody, which helps whoever attacks it
          next: `sysctl -w kernel.kptr_restrict=1`, and the same in /etc/sysctl.d
        ");
    }
}
