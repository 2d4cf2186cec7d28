//! Ids of traces and spans, derived: two validators that know the same submission write into the
//! same trace, and nothing has to travel between them for that.

use node_core::id::{DigestBuilder, Hotkey, RunId, SubmissionId};
use opentelemetry::{SpanId, TraceId};

/// The trace of a submission: the first 16 bytes of its id.
pub(super) fn trace(submission: &SubmissionId) -> TraceId {
    let bytes: [u8; 16] = leading(&submission.0);
    // A trace without an id is none.
    if bytes == [0; 16] {
        TraceId::from(1_u128)
    } else {
        TraceId::from_bytes(bytes)
    }
}

/// The span of a submission at one validator.
pub(super) fn of_submission(submission: &SubmissionId, validator: &Hotkey) -> SpanId {
    let digest =
        DigestBuilder::new("assay/span/submission/v1").bytes(&submission.0).bytes(&validator.0);
    span(&digest.finish())
}

/// The span of one stage of a run; `lease` for the lease that it is made under.
pub(super) fn of_run(run: &RunId, stage: &str) -> SpanId {
    let digest = DigestBuilder::new("assay/span/run/v1").bytes(&run.0).bytes(stage.as_bytes());
    span(&digest.finish())
}

/// The span of something that is tried again and that nobody refers to.
pub(super) fn random() -> SpanId {
    span(&rand::random())
}

fn span(bytes: &[u8; 32]) -> SpanId {
    let bytes: [u8; 8] = leading(bytes);
    if bytes == [0; 8] {
        SpanId::from(1_u64)
    } else {
        SpanId::from_bytes(bytes)
    }
}

/// The first bytes; `N` is at most 32.
fn leading<const N: usize>(bytes: &[u8; 32]) -> [u8; N] {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_found_by_the_first_half_of_the_submissions_id() {
        let submission = SubmissionId(std::array::from_fn(|place| u8::try_from(place).unwrap()));
        assert_eq!(trace(&submission).to_string(), &submission.to_string()[..32]);
    }

    #[test]
    fn no_id_is_all_zero() {
        let mut bytes = [0; 32];
        assert_ne!(trace(&SubmissionId(bytes)), TraceId::INVALID);
        assert_ne!(span(&bytes), SpanId::INVALID);
        bytes[31] = 7;
        assert_ne!(trace(&SubmissionId(bytes)), TraceId::INVALID);
    }

    #[test]
    fn validators_stages_and_submissions_have_spans_of_their_own() {
        let (one, other) = (SubmissionId([1; 32]), SubmissionId([2; 32]));
        let (own, peer) = (Hotkey([3; 32]), Hotkey([4; 32]));
        let run = RunId([5; 32]);
        let ids = [
            of_submission(&one, &own),
            of_submission(&one, &peer),
            of_submission(&other, &own),
            of_run(&run, "lease"),
            of_run(&run, "run"),
            of_run(&RunId([6; 32]), "lease"),
        ];
        for (place, id) in ids.iter().enumerate() {
            assert!(!ids[..place].contains(id), "{ids:?}");
        }
        assert_eq!(of_submission(&one, &own), of_submission(&one, &own));
    }

    /// Computed with Python's `hashlib` from what `docs/operating.md` says.
    #[test]
    fn others_can_derive_the_same() {
        let (submission, validator) = (SubmissionId([1; 32]), Hotkey([2; 32]));
        assert_eq!(of_submission(&submission, &validator).to_string(), "8ae113e0a59db015");
        assert_eq!(of_run(&RunId([3; 32]), "lease").to_string(), "74e64d3095c16910");
    }
}
