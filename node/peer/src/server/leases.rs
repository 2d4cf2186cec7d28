//! The lease calls: from a verified message to the daemon's loop and back.
//!
//! A receipt or a seal that its worker did not sign is refused here; the loop never sees it.

use node_core::id::Hotkey;
use node_core::lease::{HoldAnswer, LeaseAnswer, LeaseRefusal, PeerAnswer, PeerRequest};
use proto::v1;
use tonic::{async_trait, Request, Response, Status};

use super::services::{bad, caller, put_and_wait, wrong_variant, Services};
use crate::convert;
use crate::refusal::ServeRefusal;
use crate::signature::{which_are_sealed_by_worker, which_are_signed_by_worker};

impl Services {
    /// Asks the loop for each item that is signed, and gives one answer per item, in order; `None`
    /// where it was not.
    async fn ask_signed<T>(
        &self,
        peer: Hotkey,
        items: Vec<T>,
        which_are_signed: impl Fn(&[T]) -> Vec<bool>,
        request: impl Fn(T) -> PeerRequest,
    ) -> Result<Vec<Option<PeerAnswer>>, Status> {
        let is_batch = items.len() > 1;
        let place = is_batch.then(|| self.batches.take(peer));
        if matches!(place, Some(None)) {
            return Err(ServeRefusal::Busy.status());
        }
        // Before the signatures: a busy node spends nothing on what it turns away.
        let places = self.places(items.len())?;
        let signed = which_are_signed(&items);
        let believed = items.into_iter().zip(&signed).filter(|(_, signed)| **signed);
        let requests = believed.map(|(item, _)| request(item));
        let mut answers = put_and_wait(peer, places, requests).await?.into_iter();
        let answer = |signed: bool| if signed { answers.next() } else { None };
        Ok(signed.into_iter().map(answer).collect())
    }
}

#[async_trait]
impl v1::leases_server::Leases for Services {
    async fn acquire(
        &self,
        request: Request<v1::AcquireRequest>,
    ) -> Result<Response<v1::AcquireResponse>, Status> {
        let peer = caller(&request)?;
        let wanted = convert::acquire_request_from_wire(request.get_ref()).map_err(bad)?;
        match self.ask_node(peer, PeerRequest::Acquire(wanted)).await? {
            PeerAnswer::Acquired(answer) => {
                Ok(Response::new(convert::acquire_response_to_wire(&answer)))
            }
            _ => Err(wrong_variant()),
        }
    }

    async fn renew(
        &self,
        request: Request<v1::RenewRequest>,
    ) -> Result<Response<v1::RenewResponse>, Status> {
        let peer = caller(&request)?;
        let renewals = convert::renew_request_from_wire(request.into_inner()).map_err(bad)?;
        match self.ask_node(peer, PeerRequest::Renew(renewals)).await? {
            PeerAnswer::Renewed(answers) => {
                let answers = answers.iter().map(convert::hold_answer_to_wire).collect();
                Ok(Response::new(v1::RenewResponse { answers }))
            }
            _ => Err(wrong_variant()),
        }
    }

    async fn seal(
        &self,
        request: Request<v1::SealRequest>,
    ) -> Result<Response<v1::SealResponse>, Status> {
        let peer = caller(&request)?;
        let seals = convert::seal_request_from_wire(request.into_inner()).map_err(bad)?;
        let signed = |seals: &[_]| which_are_sealed_by_worker(self.identity(), seals);
        let ask = |seal| PeerRequest::Seal(Box::new(seal));
        let answers = self.ask_signed(peer, seals, signed, ask).await?.into_iter();
        let answers = answers.map(|answer| match answer {
            Some(PeerAnswer::Sealed(answer)) => Ok(convert::hold_answer_to_wire(&answer)),
            Some(_) => Err(wrong_variant()),
            None => {
                Ok(convert::hold_answer_to_wire(&HoldAnswer::Refused(LeaseRefusal::BadSignature)))
            }
        });
        Ok(Response::new(v1::SealResponse { answers: answers.collect::<Result<_, _>>()? }))
    }

    async fn complete(
        &self,
        request: Request<v1::CompleteRequest>,
    ) -> Result<Response<v1::CompleteResponse>, Status> {
        let peer = caller(&request)?;
        let receipts = convert::complete_request_from_wire(request.into_inner()).map_err(bad)?;
        let ask = |receipt| PeerRequest::Complete(Box::new(receipt));
        let signed = which_are_signed_by_worker;
        let answers = self.ask_signed(peer, receipts, signed, ask).await?.into_iter();
        let answers = answers.map(|answer| match answer {
            Some(PeerAnswer::Completed(answer)) => Ok(convert::answer_to_wire(answer)),
            Some(_) => Err(wrong_variant()),
            None => Ok(convert::answer_to_wire(LeaseAnswer::Refused(LeaseRefusal::BadSignature))),
        });
        Ok(Response::new(v1::CompleteResponse { answers: answers.collect::<Result<_, _>>()? }))
    }

    async fn release(
        &self,
        request: Request<v1::ReleaseRequest>,
    ) -> Result<Response<v1::ReleaseResponse>, Status> {
        let peer = caller(&request)?;
        let (item, reason) =
            convert::release_request_from_wire(request.into_inner()).map_err(bad)?;
        match self.ask_node(peer, PeerRequest::Release { item, reason }).await? {
            PeerAnswer::Released(answer) => {
                let answer = Some(convert::answer_to_wire(answer));
                Ok(Response::new(v1::ReleaseResponse { answer }))
            }
            _ => Err(wrong_variant()),
        }
    }

    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::ExplainResponse>, Status> {
        let peer = caller(&request)?;
        let submission = convert::explain_request_from_wire(request.get_ref()).map_err(bad)?;
        match self.ask_node(peer, PeerRequest::Explain { submission }).await? {
            PeerAnswer::Explained(explanation) => {
                Ok(Response::new(convert::explanation_to_wire(&explanation)))
            }
            _ => Err(wrong_variant()),
        }
    }
}
