//! How memory goes back to the system.

use std::ffi::{c_int, c_long};

use libmimalloc_sys::mi_option_set_default;

/// Options as `mimalloc.h` numbers them, as the crate does not name them; and their values. The
/// variables `MIMALLOC_PURGE_DELAY` and `MIMALLOC_ARENA_MAX_OBJECT_SIZE` still decide.
///
/// The first: milliseconds until memory that is free goes back, if something is allocated then. By
/// default it is a second, after which a node that has started allocates too little for it. The
/// second: KiB above which memory is asked of the system, and given back, by itself.
const OPTIONS: [(c_int, c_long); 2] = [(15, 10), (45, 1_024)];

/// Has mimalloc give back what is free. For processes whose allocator mimalloc is, before anything
/// else.
///
/// Without it what a start needed stays with a node: as much again as it uses.
#[allow(unsafe_code, reason = "options of mimalloc have no other door")]
pub fn give_back_what_is_free() {
    for (option, value) in OPTIONS {
        // SAFETY: it stores one number in a table of mimalloc's, and ignores what is not in it.
        unsafe { mi_option_set_default(option, value) }
    }
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::process::Command;

    use libmimalloc_sys::mi_option_get;

    use super::*;

    /// The same as the environment names them.
    const NAMES: [&str; 2] = ["MIMALLOC_PURGE_DELAY", "MIMALLOC_ARENA_MAX_OBJECT_SIZE"];
    const TEST: &str = "allocator::tests::the_options_are_the_ones_of_these_names";
    /// What this process sets for the one that it starts.
    const SET: [c_long; 2] = [77, 7_777];

    #[allow(unsafe_code, reason = "as above")]
    fn values() -> [c_long; 2] {
        // SAFETY: it reads one number of a table.
        OPTIONS.map(|(option, _)| unsafe { mi_option_get(option) })
    }

    /// The number of an option may change with the library; its name in the environment does not.
    #[test]
    fn the_options_are_the_ones_of_these_names() {
        if env::var_os(NAMES[0]).is_some() {
            assert_eq!(values(), SET);
            give_back_what_is_free();
            assert_eq!(values(), SET, "whoever sets the variables decides");
            return;
        }
        give_back_what_is_free();
        assert_eq!(values(), OPTIONS.map(|(_, value)| value));
        let mut again = Command::new(env::current_exe().unwrap());
        again.args(["--exact", TEST]);
        again.envs(NAMES.iter().zip(SET.map(|value| value.to_string())));
        let output = again.output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && told.contains("1 passed"), "{told}");
    }
}
