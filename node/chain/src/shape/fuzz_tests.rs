//! Metadata that somebody meddled with: a report or an error, never a panic, and soon.

use proptest::prelude::*;

use super::world::{Flavour, World};
use super::*;

/// Bytes of a runtime to start from.
fn base() -> &'static [u8] {
    static BYTES: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    BYTES.get_or_init(|| World::new(Flavour::Newtype).bytes())
}

/// What the report says must hang together, whatever the metadata.
fn look_at(bytes: &[u8]) {
    let Ok(report) = shapes_in_file(bytes) else { return };
    let fatal = report.rows.iter().filter(|row| !row.verdict.lost().is_empty()).count();
    let can_all = Capability::ALL.iter().all(|capability| report.can(*capability));
    assert_eq!(fatal == 0, can_all);
    assert!(report.problems().len() >= fatal);
    for row in &report.rows {
        assert!(row.name.chars().count() < 80 && row.found.chars().count() < 80, "{row:?}");
        assert!(row.verdict.to_string().chars().count() < 2_000, "{row:?}");
        assert!(!row.verdict.to_string().contains(char::is_control), "{row:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bytes_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..24),
    ) {
        let mut bytes = base().to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        look_at(&bytes);
    }

    #[test]
    fn cut_and_doubled_bytes_never_panic(
        from in any::<prop::sample::Index>(),
        length in 0usize..64,
        cut in any::<bool>(),
    ) {
        let base = base();
        let from = from.index(base.len());
        let to = (from + length).min(base.len());
        let bytes = if cut {
            [&base[..from], &base[to..]].concat()
        } else {
            [&base[..to], &base[from..]].concat()
        };
        look_at(&bytes);
    }

    #[test]
    fn any_bytes_never_panic(tail in prop::collection::vec(any::<u8>(), 0..256)) {
        look_at(&tail);
        look_at(&[b"meta", &tail[..]].concat());
        look_at(&[b"meta\x10", &tail[..]].concat());
        look_at(&[b"meta\x0e", &tail[..]].concat());
    }
}

/// Every id in turn points somewhere else: shapes change, nothing breaks.
#[test]
fn single_bytes_can_be_wrong() {
    let base = base();
    for at in (0..base.len()).step_by(97) {
        let mut bytes = base.to_vec();
        bytes[at] = bytes[at].wrapping_add(4);
        look_at(&bytes);
    }
}
