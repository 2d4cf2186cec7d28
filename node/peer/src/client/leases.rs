//! The lease calls: what is asked as messages, and whether the answers fit.

use node_core::evidence::Receipt;
use node_core::id::{Hotkey, SubmissionId};
use node_core::lease::{
    AcquireRequest, Explanation, Grant, HeldLease, HoldAnswer, LeaseAnswer, LeaseRefusal,
    ReleaseReason, Renewal, Seal,
};
use node_core::limits::PEER_MESSAGE_BYTES_MAX;
use prost::Message;
use proto::v1;
use proto::v1::leases_client::LeasesClient;

use super::answer::{believe, check_grants, AnswerError, Unbelieved};
use super::{AskError, Signed};
use crate::convert::{self, ConvertError};
use crate::directory::NodeIdentity;

/// The lease service of one peer.
pub(super) struct Leases(LeasesClient<Signed>);

/// Refuses to send what the peer would refuse to read.
fn sendable<M: Message>(message: M) -> Result<M, AskError> {
    let bytes = message.encoded_len();
    if bytes > PEER_MESSAGE_BYTES_MAX {
        return Err(AskError::RequestTooLarge { bytes });
    }
    Ok(message)
}

fn answered<M>(response: Result<tonic::Response<M>, tonic::Status>) -> Result<M, AskError> {
    response.map(tonic::Response::into_inner).map_err(|status| AskError::from_status(&status))
}

/// Reads one answer per item that was asked about.
fn each<W, T>(
    asked: usize,
    answers: Vec<W>,
    from_wire: impl FnMut(W) -> Result<T, ConvertError>,
) -> Result<Vec<T>, AskError> {
    let got = answers.len();
    if asked != got {
        return Err(AskError::MalformedAnswer(AnswerError::Count { asked, got }));
    }
    answers.into_iter().map(from_wire).collect::<Result<_, _>>().map_err(AskError::malformed)
}

/// Answers to renewals or seals, in which only signed seals are left.
fn holds(
    identity: &NodeIdentity,
    asked: usize,
    answers: Vec<v1::HoldAnswer>,
    mut refused: impl FnMut(Unbelieved),
) -> Result<Vec<HoldAnswer>, AskError> {
    each(asked, answers, |answer| {
        convert::hold_answer_from_wire(answer, |seal| {
            believe(identity, seal).map_err(&mut refused).ok()
        })
    })
}

impl Leases {
    pub(super) fn new(channel: Signed) -> Self {
        Self(LeasesClient::new(channel).max_decoding_message_size(PEER_MESSAGE_BYTES_MAX))
    }

    pub(super) async fn acquire(
        &mut self,
        peer: Hotkey,
        wanted: &AcquireRequest,
    ) -> Result<Result<Vec<Grant>, LeaseRefusal>, AskError> {
        let request = sendable(convert::acquire_request_to_wire(wanted))?;
        let response = answered(self.0.acquire(request).await)?;
        let answer = convert::acquire_response_from_wire(response).map_err(AskError::malformed)?;
        if let Ok(grants) = &answer {
            check_grants(grants, peer, wanted).map_err(AskError::MalformedAnswer)?;
        }
        Ok(answer)
    }

    /// `refused` is told of every seal that is dropped.
    pub(super) async fn renew(
        &mut self,
        identity: &NodeIdentity,
        renewals: &[Renewal],
        refused: impl FnMut(Unbelieved),
    ) -> Result<Vec<HoldAnswer>, AskError> {
        let request = sendable(convert::renew_request_to_wire(renewals))?;
        let response = answered(self.0.renew(request).await)?;
        holds(identity, renewals.len(), response.answers, refused)
    }

    /// `refused` is told of every seal that is dropped.
    pub(super) async fn seal(
        &mut self,
        identity: &NodeIdentity,
        seals: &[Seal],
        mut refused: impl FnMut(Unbelieved),
    ) -> Result<Vec<HoldAnswer>, AskError> {
        let request = sendable(convert::seal_request_to_wire(seals))?;
        let response = answered(self.0.seal(request).await)?;
        // Answers are in the order of the seals: who sealed does not check what it signed itself.
        let mut own = seals.iter();
        each(seals.len(), response.answers, |answer| {
            let own = own.next();
            convert::hold_answer_from_wire(answer, |seal| match seal {
                Ok(seal) if own == Some(&seal) => Some(seal),
                seal => believe(identity, seal).map_err(&mut refused).ok(),
            })
        })
    }

    pub(super) async fn complete(
        &mut self,
        receipts: &[Receipt],
    ) -> Result<Vec<LeaseAnswer>, AskError> {
        let request = sendable(convert::complete_request_to_wire(receipts))?;
        let response = answered(self.0.complete(request).await)?;
        each(receipts.len(), response.answers, convert::answer_from_wire)
    }

    pub(super) async fn release(
        &mut self,
        held: &HeldLease,
        reason: &ReleaseReason,
    ) -> Result<LeaseAnswer, AskError> {
        let request = sendable(convert::release_request_to_wire(held, reason))?;
        let response = answered(self.0.release(request).await)?;
        convert::required_answer_from_wire(response.answer).map_err(AskError::malformed)
    }

    pub(super) async fn explain(
        &mut self,
        submission: &SubmissionId,
    ) -> Result<Explanation, AskError> {
        let request = convert::explain_request_to_wire(submission);
        let response = answered(self.0.explain(request).await)?;
        convert::explanation_from_wire(response).map_err(AskError::malformed)
    }
}

/// The only answer to one item.
pub(super) fn single<T>(answers: Vec<T>) -> Result<T, AskError> {
    let got = answers.len();
    let count = || AskError::MalformedAnswer(AnswerError::Count { asked: 1, got });
    answers.into_iter().next().ok_or_else(count)
}
