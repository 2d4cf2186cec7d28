//! How memory goes back to the system.

use std::ffi::{c_int, c_long};
use std::ops::Range;
use std::path::Path;
use std::{fs, io};

use libmimalloc_sys::{mi_collect, mi_option_set_default};
use rustix::mm::{madvise, Advice};

/// Options as `mimalloc.h` numbers them, as the crate does not name them; and their values. The
/// variables `MIMALLOC_PURGE_DELAY` and `MIMALLOC_ARENA_MAX_OBJECT_SIZE` still decide.
///
/// The first: milliseconds until memory that is free goes back, if something is allocated then. By
/// default it is a second, after which a node that has started allocates too little for it. The
/// second: KiB above which memory is asked of the system, and given back, by itself.
const OPTIONS: [(c_int, c_long); 2] = [(15, 10), (45, 1_024)];

/// Has mimalloc give back what is free. For processes that stay, and whose allocator mimalloc is,
/// before they begin.
///
/// Without it what a start needed stays with a node: as much again as it uses.
#[allow(unsafe_code, reason = "mimalloc has no other door to its options, and to `mi_collect`")]
pub fn give_back_what_is_free() {
    for (option, value) in OPTIONS {
        // SAFETY: it stores one number in a table of mimalloc's, and ignores what is not in it.
        unsafe { mi_option_set_default(option, value) }
    }
    // What was freed before this goes back after a second by default, and all that is freed until
    // then waits for it, a start's rows with it: so it goes back now.
    // SAFETY: it touches what is free alone.
    unsafe { mi_collect(true) }
}

/// Gives back the pages of the program's code and constants: what a start needed of them is most of
/// what is mapped, and what is used is mapped again, from the page cache or the program's file.
/// Returns how many bytes it has of them.
///
/// # Errors
///
/// Where `/proc` does not say what is mapped, or the system refuses.
#[allow(unsafe_code, reason = "a call that takes addresses")]
pub fn give_back_program() -> io::Result<usize> {
    let program = fs::read_link("/proc/self/exe")?;
    let maps = fs::read_to_string("/proc/self/smaps")?;
    let mut bytes = 0;
    for Range { start, end } in unwritten_of(&maps, &program) {
        let length = end.saturating_sub(start);
        let address = std::ptr::with_exposed_provenance_mut(start);
        // SAFETY: the range is a mapping of this program's file that cannot be written to and never
        // was, for as long as the process lives. Its pages have what is in the file, and are read
        // from there again when they are needed. Not with a debugger attached: a page with a
        // breakpoint is a copy of its own, and is dropped with what the debugger wrote there.
        unsafe { madvise(address, length, Advice::LinuxDontNeed) }?;
        bytes += length;
    }
    Ok(bytes)
}

/// Where the program is mapped as it is in its file, from `/proc/self/smaps`: a line for each
/// mapping, and one for each figure of it. What the loader wrote to before it was closed has pages
/// that are not of the file (anonymous ones), which may have gone to swap.
fn unwritten_of(smaps: &str, program: &Path) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut of_mapping = None;
    for line in smaps.lines() {
        let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
        if !first.ends_with(':') {
            found.extend(of_mapping.take());
            of_mapping = closed_range(line, program);
        } else if matches!(first, "Anonymous:" | "Swap:") && rest.trim() != "0 kB" {
            of_mapping = None;
        }
    }
    found.extend(of_mapping);
    found
}

/// The range of a mapping of the program that cannot be written to, from its line: a range of
/// addresses, permissions, an offset, a device, an inode, and a path that may have spaces.
fn closed_range(line: &str, program: &Path) -> Option<Range<usize>> {
    let mut rest = line;
    let mut fields = [""; 5];
    for field in &mut fields {
        let (next, after) = rest.trim_start().split_once(' ')?;
        (*field, rest) = (next, after);
    }
    let [range, permissions, ..] = fields;
    if !matches!(permissions, "r-xp" | "r--p") || Path::new(rest.trim_start()) != program {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let address = |text: &str| usize::from_str_radix(text, 16).ok();
    Some(address(start)?..address(end)?)
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::process::Command;

    use libmimalloc_sys::mi_option_get;

    use super::*;

    /// The same as the environment names them.
    const NAMES: [&str; 2] = ["MIMALLOC_PURGE_DELAY", "MIMALLOC_ARENA_MAX_OBJECT_SIZE"];
    const TEST: &str = "memory::tests::the_options_are_the_ones_of_these_names";
    /// What this process sets for the one that it starts, and what comes of that.
    const SET: [&str; 2] = ["77", "7777K"];
    const IS_SET: [c_long; 2] = [77, 7_777];

    #[allow(unsafe_code, reason = "as above")]
    fn values() -> [c_long; 2] {
        // SAFETY: it reads one number of a table.
        OPTIONS.map(|(option, _)| unsafe { mi_option_get(option) })
    }

    /// The number of an option may change with the library; its name in the environment does not.
    #[test]
    fn the_options_are_the_ones_of_these_names() {
        if env::var_os(NAMES[0]).is_some() {
            assert_eq!(values(), IS_SET);
            give_back_what_is_free();
            assert_eq!(values(), IS_SET, "whoever sets the variables decides");
            return;
        }
        give_back_what_is_free();
        assert_eq!(values(), OPTIONS.map(|(_, value)| value));
        let mut again = Command::new(env::current_exe().unwrap());
        again.args(["--exact", TEST]);
        again.envs(NAMES.iter().zip(SET));
        let output = again.output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && told.contains("1 passed"), "{told}");
    }

    /// A mapping of `/proc/self/smaps`, with a page of the file and this much that is not of it.
    fn mapping(line: &str, anonymous_kib: u64, swap_kib: u64) -> String {
        format!(
            "{line}\nRss:                   4 kB\nAnonymous:      {anonymous_kib:>8} kB\n\
             Swap:           {swap_kib:>8} kB\nVmFlags: rd mr mw me sd\n"
        )
    }

    #[test]
    fn only_what_is_as_in_the_programs_own_file_is_given_back() {
        let assay = "/opt/an assay/bin/assay (deleted)";
        let of_assay = |what: &str| format!("{what} fe:00 131      {assay}");
        let maps = [
            mapping(&of_assay("7f40a000-7f40b000 r--p 00000000"), 0, 0),
            mapping(&of_assay("7f40b000-7f60b000 r-xp 00001000"), 0, 0),
            // What the loader wrote to, also where that is in swap now.
            mapping(&of_assay("7f60b000-7f60c000 r--p 00201000"), 4, 0),
            mapping(&of_assay("7f60c000-7f60d000 r--p 00202000"), 0, 4),
            mapping(&of_assay("7f60d000-7f60e000 rw-p 00203000"), 0, 0),
            mapping("7f70b000-7f80b000 r-xp 00001000 fe:00 131 /opt/an assay/bin/assay", 0, 0),
            mapping("7f90b000-7fa0b000 r-xp 00000000 fe:00 999 /usr/lib/libc.so.6", 0, 0),
            mapping("7fb00000-7fb01000 rw-p 00000000 00:00 0 ", 0, 0),
            mapping("7fb01000-7fb02000 r-xp 00000000 00:00 0                  [vdso]", 0, 0),
            "what nobody expects\n".to_owned(),
        ];
        let found = unwritten_of(&maps.concat(), Path::new(assay));
        assert_eq!(found, [0x7f40_a000..0x7f40_b000, 0x7f40_b000..0x7f60_b000]);
        assert!(unwritten_of("", Path::new(assay)).is_empty());
    }

    /// Where the test program is mapped as it is in its file.
    fn unwritten() -> Vec<Range<usize>> {
        let program = fs::read_link("/proc/self/exe").unwrap();
        unwritten_of(&fs::read_to_string("/proc/self/smaps").unwrap(), &program)
    }

    /// Reads every page of that, which maps it.
    #[allow(unsafe_code, reason = "as above")]
    fn touch_program() -> u64 {
        let byte = |address: usize| {
            let place: *const u8 = std::ptr::with_exposed_provenance(address);
            // SAFETY: the range can be read for as long as the process lives.
            u64::from(unsafe { place.read_volatile() })
        };
        unwritten().into_iter().flat_map(|range| range.step_by(4_096)).map(byte).sum()
    }

    /// KiB of that which are mapped now.
    fn mapped_kib() -> u64 {
        let program = fs::read_link("/proc/self/exe").unwrap();
        let unwritten = unwritten();
        let maps = fs::read_to_string("/proc/self/smaps").unwrap();
        let (mut is_counted, mut kib) = (false, 0);
        for line in maps.lines() {
            let (first, rest) = line.split_once(' ').unwrap();
            if !first.ends_with(':') {
                let range = closed_range(line, &program);
                is_counted = range.is_some_and(|range| unwritten.contains(&range));
            } else if is_counted && first == "Rss:" {
                kib += rest.trim().trim_end_matches(" kB").parse::<u64>().unwrap();
            }
        }
        kib
    }

    /// Other tests may run meanwhile, and map again what they need.
    #[test]
    fn a_program_goes_on_whose_code_and_constants_were_given_back() {
        let read = touch_program();
        assert!(unwritten().len() > 1, "code and constants");
        let before = mapped_kib();
        let given_back_kib = u64::try_from(give_back_program().unwrap() / 1_024).unwrap();
        let after = mapped_kib();
        assert!(before > given_back_kib / 2, "{before} of {given_back_kib} KiB were mapped");
        assert!(after < before / 2, "{after} of {before} KiB are still mapped");
        assert_eq!(touch_program(), read, "it has what is in the file");
    }
}
