//! What the driver's numbered errors mean, and whom they count against first.
//!
//! The numbers and their meanings are NVIDIA's, from its public list of Xid errors.

/// Whom an error counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The code that ran: a device does this for whoever asks it to. Against the device only when
    /// it happens with another submission too.
    SubmissionFirst,
    /// The device.
    Device,
    /// Nobody: the driver tells something that a sensor shows too.
    Nobody,
}

/// Whom an error with this number counts against. A number that nobody knows counts against the
/// device: it costs a cool-down and a probe, and trusting it could cost results.
#[must_use]
pub fn blame(code: u32) -> Blame {
    match code {
        13 | 31 | 43 | 45 | 68 | 109 => Blame::SubmissionFirst,
        // A row was replaced, or will be with the next reset; the recovery action changed.
        63 | 154 => Blame::Nobody,
        _ => Blame::Device,
    }
}

/// What an error with this number means.
#[must_use]
pub fn meaning(code: u32) -> &'static str {
    match code {
        13 => "an exception in a kernel",
        31 => "a page fault in a kernel",
        32 | 38 => "the driver sent what the GPU cannot read",
        43 => "the GPU stopped processing a program",
        45 => "a program's work was removed after an earlier error",
        48 | 140 => "a memory error that cannot be corrected",
        61 | 62 => "the GPU's own controller stopped",
        63 => "a memory row is replaced",
        64 => "a memory row cannot be replaced",
        68 => "an exception in the video decoder",
        69 => "an exception in the graphics engine",
        74 => "an error on a direct link between GPUs",
        79 => "the GPU has fallen off the bus",
        92 => "many corrected memory errors",
        94 => "a memory error that ended the program that met it",
        95 => "a memory error that may have reached other programs",
        109 => "a program did not leave the GPU in time",
        119 | 120 => "the GPU's system processor does not answer",
        154 => "the driver wants something else done with the GPU",
        _ => "an error of the driver",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_code_can_cause_count_against_it_first() {
        for code in [13, 31, 43, 45, 68, 109] {
            assert_eq!(blame(code), Blame::SubmissionFirst, "Xid {code}");
        }
    }

    #[test]
    fn errors_of_the_device_and_unknown_ones_count_against_the_device() {
        for code in [48, 62, 64, 74, 79, 94, 95, 119, 140, 4_000_000] {
            assert_eq!(blame(code), Blame::Device, "Xid {code}");
        }
    }
}
