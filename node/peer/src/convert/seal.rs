//! Seals, and the answers that carry them, between the wire and core.

use node_core::id::{Digest, Hotkey, Signature};
use node_core::lease::{HoldAnswer, Seal};
use node_core::limits::REPLICA_NUMBERS_MAX;
use proto::v1;

use super::lease::{held_from_wire, held_to_wire, refusal_from_wire};
use super::{at_most, fixed, required, ConvertError};
use crate::limits::BATCH_ITEMS_MAX;

fn seal_to_wire(seal: &Seal) -> v1::Seal {
    v1::Seal {
        lease: Some(held_to_wire(&seal.held)),
        worker: seal.worker.0.to_vec(),
        result: seal.result.0.to_vec(),
        signature: seal.signature.0.to_vec(),
    }
}

fn seal_from_wire(seal: v1::Seal) -> Result<Seal, ConvertError> {
    Ok(Seal {
        held: held_from_wire(seal.lease)?,
        worker: Hotkey(fixed("worker", &seal.worker)?),
        result: Digest(fixed("result", &seal.result)?),
        signature: Signature(fixed("signature", &seal.signature)?),
    })
}

pub(crate) fn seal_request_to_wire(seals: &[Seal]) -> v1::SealRequest {
    v1::SealRequest { seals: seals.iter().map(seal_to_wire).collect() }
}

pub(crate) fn seal_request_from_wire(request: v1::SealRequest) -> Result<Vec<Seal>, ConvertError> {
    at_most("seals", &request.seals, BATCH_ITEMS_MAX)?;
    request.seals.into_iter().map(seal_from_wire).collect()
}

pub(crate) fn hold_answer_to_wire(answer: &HoldAnswer) -> v1::HoldAnswer {
    use v1::hold_answer::Answer;
    let answer = match answer {
        HoldAnswer::Kept => Answer::Kept(v1::Nothing {}),
        HoldAnswer::Reveal(seals) => {
            Answer::Reveal(v1::Seals { seals: seals.iter().map(seal_to_wire).collect() })
        }
        HoldAnswer::Refused(refusal) => Answer::Refused(refusal.id().to_owned()),
    };
    v1::HoldAnswer { answer: Some(answer) }
}

/// Reads an answer. `believed` judges each seal of a reveal and may drop it: one that is bad says
/// nothing against the others.
pub(crate) fn hold_answer_from_wire(
    answer: v1::HoldAnswer,
    believed: impl FnMut(Result<Seal, ConvertError>) -> Option<Seal>,
) -> Result<HoldAnswer, ConvertError> {
    use v1::hold_answer::Answer;
    match required("answer", answer.answer)? {
        Answer::Kept(v1::Nothing {}) => Ok(HoldAnswer::Kept),
        Answer::Reveal(v1::Seals { seals }) => {
            at_most("seals", &seals, REPLICA_NUMBERS_MAX.into())?;
            let seals = seals.into_iter().map(seal_from_wire).filter_map(believed).collect();
            Ok(HoldAnswer::Reveal(seals))
        }
        Answer::Refused(id) => refusal_from_wire(&id).map(HoldAnswer::Refused),
    }
}
