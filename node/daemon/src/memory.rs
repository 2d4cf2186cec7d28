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

/// Gives back the pages of the program's code: what a start needed of it is most of what is mapped,
/// and what is used is mapped again, from the page cache or the program's file. Returns how many
/// bytes the code has.
///
/// # Errors
///
/// Where `/proc` does not say what is mapped, or the system refuses.
#[allow(unsafe_code, reason = "a call that takes addresses")]
pub fn give_back_program() -> io::Result<usize> {
    let program = fs::read_link("/proc/self/exe")?;
    let maps = fs::read_to_string("/proc/self/maps")?;
    let mut bytes = 0;
    for Range { start, end } in code_of(&maps, &program) {
        let length = end.saturating_sub(start);
        let address = std::ptr::with_exposed_provenance_mut(start);
        // SAFETY: the range is a mapping of this program's file that cannot be written to, for as
        // long as the process lives. Its pages have what is in the file, and are read from there
        // again when they are needed. Not with a debugger attached: a page with a breakpoint is a
        // copy of its own, and is dropped with what the debugger wrote there.
        unsafe { madvise(address, length, Advice::LinuxDontNeed) }?;
        bytes += length;
    }
    Ok(bytes)
}

/// Where code of the program is mapped, from the lines of `/proc/self/maps`: a range of addresses,
/// permissions, an offset, a device, an inode, and a path that may have spaces.
fn code_of(maps: &str, program: &Path) -> Vec<Range<usize>> {
    let of_line = |line: &str| {
        let mut rest = line;
        let mut fields = [""; 5];
        for field in &mut fields {
            let (next, after) = rest.trim_start().split_once(' ')?;
            (*field, rest) = (next, after);
        }
        let [range, permissions, ..] = fields;
        if permissions != "r-xp" || Path::new(rest.trim_start()) != program {
            return None;
        }
        let (start, end) = range.split_once('-')?;
        let address = |text: &str| usize::from_str_radix(text, 16).ok();
        Some(address(start)?..address(end)?)
    };
    maps.lines().filter_map(of_line).collect()
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

    #[test]
    fn only_code_of_the_program_itself_is_given_back() {
        let maps = "\
            7f40a000-7f40b000 r--p 00000000 fe:00 131 /opt/an assay/bin/assay (deleted)\n\
            7f40b000-7f60b000 r-xp 00001000 fe:00 131       /opt/an assay/bin/assay (deleted)\n\
            7f60b000-7f60c000 rw-p 00201000 fe:00 131 /opt/an assay/bin/assay (deleted)\n\
            7f70b000-7f80b000 r-xp 00001000 fe:00 131 /opt/an assay/bin/assay\n\
            7f90b000-7fa0b000 r-xp 00000000 fe:00 999 /usr/lib/libc.so.6\n\
            7fb00000-7fb01000 rw-p 00000000 00:00 0 \n\
            7fb01000-7fb02000 r-xp 00000000 00:00 0                          [vdso]\n\
            what nobody expects\n";
        let program = Path::new("/opt/an assay/bin/assay (deleted)");
        let code = 0x7f40_b000..0x7f60_b000;
        assert_eq!(code_of(maps, program), std::slice::from_ref(&code));
        assert!(code_of("", program).is_empty());
    }

    /// Reads every page of the program's code, which maps it.
    #[allow(unsafe_code, reason = "as above")]
    fn touch_program() -> u64 {
        let program = fs::read_link("/proc/self/exe").unwrap();
        let code = code_of(&fs::read_to_string("/proc/self/maps").unwrap(), &program);
        let byte = |address: usize| {
            let place: *const u8 = std::ptr::with_exposed_provenance(address);
            // SAFETY: the range can be read for as long as the process lives.
            u64::from(unsafe { place.read_volatile() })
        };
        code.into_iter().flat_map(|range| range.step_by(4_096)).map(byte).sum()
    }

    /// KiB of the program's code that are mapped now.
    fn mapped_kib() -> u64 {
        let program = fs::read_link("/proc/self/exe").unwrap();
        let maps = fs::read_to_string("/proc/self/smaps").unwrap();
        let (mut is_code, mut kib) = (false, 0);
        for line in maps.lines() {
            let (first, rest) = line.split_once(' ').unwrap();
            // A line as in `maps`, then a line for each figure of it.
            if !first.ends_with(':') {
                is_code = !code_of(line, &program).is_empty();
            } else if is_code && first == "Rss:" {
                kib += rest.trim().trim_end_matches(" kB").parse::<u64>().unwrap();
            }
        }
        kib
    }

    /// Other tests may run meanwhile, and map again what they need.
    #[test]
    fn a_program_goes_on_whose_code_was_given_back() {
        let read = touch_program();
        let before = mapped_kib();
        let given_back_kib = u64::try_from(give_back_program().unwrap() / 1_024).unwrap();
        let after = mapped_kib();
        assert!(before > given_back_kib / 2, "{before} of {given_back_kib} KiB were mapped");
        assert!(after < before / 2, "{after} of {before} KiB are still mapped");
        assert_eq!(touch_program(), read, "it has what is in the file");
    }
}
