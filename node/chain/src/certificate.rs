//! Where a hotkey serves, and with which certificate: what the chain says, and saying something
//! else within the chain's limit. And the certificates of many hotkeys.
//!
//! Not here: when that is (`node_core::publish`).

use std::collections::BTreeMap;
use std::sync::Arc;

use chain_metadata::storage as items;
use node_core::id::Hotkey;
pub use node_core::publish::{Due, Published, Serving};
use node_core::unit::{BlockCount, BlockNumber};
use subxt::ext::scale_decode::DecodeAsType;

use crate::bounded::List;
use crate::calls::CERTIFICATE_BYTES_MAX;
use crate::client::ChainClient;
use crate::decode::{AxonInfo, DecodeError};
use crate::encode::EncodeError;
use crate::follow::BlockRef;
use crate::keypair::Keypair;
use crate::link::CallError;
use crate::read::ReadError;
use crate::runtime::Runtime;
use crate::storage::{Answers, Batch, Slot};
use crate::submit::SubmitError;
use crate::subnet::SERVING_RATE_LIMIT_DEFAULT;

/// Longest public key that the chain stores; the algorithm's number comes before it.
const PUBLIC_KEY_BYTES_MAX: usize = CERTIFICATE_BYTES_MAX - 1;

/// What came of [`ChainClient::publish_if_due`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publication {
    /// The chain says it already, as of this block; nothing was sent.
    Current(BlockNumber),
    /// The hotkey has no neuron in this block; nothing was sent.
    Unregistered(BlockNumber),
    /// The chain's limit does not allow it yet; nothing was sent.
    Waiting {
        /// The block looked at.
        at: BlockNumber,
        /// The first block that takes it.
        from: BlockNumber,
    },
    /// It was published in this block, which is final.
    Sent {
        /// The block.
        block: BlockRef,
        /// Whether the certificate went with it; not if there is none, nor if the runtime has no
        /// call that takes one.
        with_certificate: bool,
    },
}

/// Why nothing could be published. The caller tries again some blocks later.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The finalized head could not be asked for.
    #[error("cannot ask for the finalized head")]
    Head(#[source] Box<CallError>),
    /// The endpoint does not know its own finalized head.
    #[error("the endpoint does not know its own finalized head")]
    NoHead,
    /// What is published could not be read.
    #[error("cannot read what is published")]
    Read(#[source] Box<ReadError>),
    /// It was not published, or it is unknown whether it was.
    #[error("cannot publish")]
    Submit(#[source] Box<SubmitError>),
}

impl ChainClient {
    /// Reads where `hotkey` serves on the client's subnet, and with which certificate.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub async fn published(&self, hotkey: &Hotkey, at: BlockRef) -> Result<Published, ReadError> {
        let reader = self.reader(at.hash);
        let runtime = self.runtime_of(at).await?;
        let mut batch = Batch::new(&runtime);
        let slots = Slots::add(&mut batch, self.netuid().0, hotkey).map_err(reader.encode())?;
        let answers = batch.fetch(self.links(), at.hash).await;
        let answers = answers.map_err(reader.call("where the hotkey serves"))?;
        slots.published(&answers, at.number).map_err(reader.decode())
    }

    /// Reads the certificates that `hotkeys` published on the client's subnet, in one call: a
    /// number for the algorithm, then the public key. Who published none is left out, and so is
    /// everybody where the runtime keeps none that can be read.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub async fn certificates(
        &self,
        hotkeys: &[Hotkey],
        at: BlockRef,
    ) -> Result<BTreeMap<Hotkey, Vec<u8>>, ReadError> {
        let reader = self.reader(at.hash);
        let runtime = self.runtime_of(at).await?;
        let mut batch = Batch::new(&runtime);
        let slots = CertificateSlots::add(&mut batch, self.netuid().0, hotkeys);
        let slots = slots.map_err(reader.encode())?;
        let answers = batch.fetch(self.links(), at.hash).await;
        let answers = answers.map_err(reader.call("the published certificates"))?;
        slots.certificates(&answers).map_err(reader.decode())
    }

    async fn runtime_of(&self, at: BlockRef) -> Result<Arc<Runtime>, ReadError> {
        let runtime = self.runtimes().at(self.links(), at.hash).await;
        runtime.map_err(|source| ReadError::Runtime { block: at.hash, source: Box::new(source) })
    }

    /// Publishes where the signer serves if the finalized head says something else and the
    /// chain's limit allows it, and waits until that is final. Else nothing is sent.
    ///
    /// - `own`: as for [`Published::due`].
    ///
    /// # Errors
    ///
    /// [`PublishError`]; what was sent may still land after [`PublishError::Submit`].
    pub async fn publish_if_due(
        &self,
        signer: &Keypair,
        wanted: &Serving,
        own: Option<BlockNumber>,
    ) -> Result<Publication, PublishError> {
        let head = self.finalized_head().await;
        let head = head.map_err(|error| PublishError::Head(Box::new(error)))?;
        let head = head.ok_or(PublishError::NoHead)?;
        let published = self.published(&signer.public(), head).await;
        let published = published.map_err(|error| PublishError::Read(Box::new(error)))?;
        let at = head.number;
        match published.due(wanted, own) {
            Due::Current => return Ok(Publication::Current(at)),
            Due::Unregistered => return Ok(Publication::Unregistered(at)),
            Due::From(from) if from > at.plus(BlockCount(1)) => {
                return Ok(Publication::Waiting { at, from });
            }
            Due::From(_) => {}
        }
        if let Some(certificate) = &wanted.certificate {
            match self.serve_axon_tls(signer, wanted.address, certificate).await {
                Err(error) if lacks_call(&error) => {
                    tracing::debug!(%error, "this runtime takes no certificate");
                    if published.address == Some(wanted.address) {
                        return Ok(Publication::Current(at));
                    }
                }
                sent => return sent_in(sent, true),
            }
        }
        sent_in(self.serve_axon(signer, wanted.address).await, false)
    }
}

fn sent_in(
    sent: Result<BlockRef, SubmitError>,
    with_certificate: bool,
) -> Result<Publication, PublishError> {
    match sent {
        Ok(block) => Ok(Publication::Sent { block, with_certificate }),
        Err(error) => Err(PublishError::Submit(Box::new(error))),
    }
}

fn lacks_call(error: &SubmitError) -> bool {
    let SubmitError::Encode { source, .. } = error else { return false };
    matches!(source, EncodeError::Missing { .. } | EncodeError::Shape { .. })
}

/// When an axon was published; the rest of its record is [`AxonInfo`].
#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct PublishedAt {
    block: u64,
}

/// A certificate as stored.
#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct StoredCertificate {
    public_key: List<u8, PUBLIC_KEY_BYTES_MAX>,
    algorithm: u8,
}

impl StoredCertificate {
    /// As it was published.
    fn into_bytes(self) -> Vec<u8> {
        [&[self.algorithm][..], &self.public_key.0].concat()
    }
}

/// Places of the certificates of several hotkeys.
struct CertificateSlots(Vec<(Hotkey, Slot)>);

impl CertificateSlots {
    fn add(batch: &mut Batch<'_>, netuid: u16, hotkeys: &[Hotkey]) -> Result<Self, EncodeError> {
        let mut add = |hotkey: &Hotkey| batch.add(&items::NEURON_CERTIFICATES, (netuid, hotkey.0));
        let slots = hotkeys.iter().map(|hotkey| Ok((*hotkey, add(hotkey)?)));
        slots.collect::<Result<_, _>>().map(Self)
    }

    fn certificates(
        &self,
        answers: &Answers<'_>,
    ) -> Result<BTreeMap<Hotkey, Vec<u8>>, DecodeError> {
        let mut certificates = BTreeMap::new();
        for (hotkey, slot) in &self.0 {
            let stored: Option<StoredCertificate> =
                answers.optional(&items::NEURON_CERTIFICATES, *slot)?;
            certificates.extend(stored.map(|stored| (*hotkey, stored.into_bytes())));
        }
        Ok(certificates)
    }
}

/// Places of what is published.
struct Slots {
    uid: Slot,
    axon: Slot,
    certificate: Slot,
    rate_limit: Slot,
}

impl Slots {
    fn add(batch: &mut Batch<'_>, netuid: u16, hotkey: &Hotkey) -> Result<Self, EncodeError> {
        let key = hotkey.0;
        Ok(Self {
            uid: batch.add(&items::UIDS, (netuid, key))?,
            axon: batch.add(&items::AXONS, (netuid, key))?,
            certificate: batch.add(&items::NEURON_CERTIFICATES, (netuid, key))?,
            rate_limit: batch.add(&items::SERVING_RATE_LIMIT, (netuid,))?,
        })
    }

    fn published(&self, answers: &Answers<'_>, at: BlockNumber) -> Result<Published, DecodeError> {
        let uid: Option<u16> = answers.optional(&items::UIDS, self.uid)?;
        let axon: Option<AxonInfo> = answers.optional(&items::AXONS, self.axon)?;
        let published_at: Option<PublishedAt> = answers.optional(&items::AXONS, self.axon)?;
        let certificate: Option<StoredCertificate> =
            answers.optional(&items::NEURON_CERTIFICATES, self.certificate)?;
        let rate_limit = answers.optional(&items::SERVING_RATE_LIMIT, self.rate_limit)?;
        Ok(Published {
            at,
            is_registered: uid.is_some(),
            address: axon.and_then(|axon| axon.address()),
            block: published_at.map(|axon| BlockNumber(axon.block)),
            certificate: certificate.map(StoredCertificate::into_bytes),
            rate_limit: BlockCount(rate_limit.unwrap_or(SERVING_RATE_LIMIT_DEFAULT)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden_tests::runtimes;

    #[test]
    fn what_is_published_is_read_by_every_runtimes_own_types() {
        let axon = [
            &7u64.to_le_bytes()[..],
            &[0; 4],
            &u128::from(0x0a01_0203_u32).to_le_bytes(),
            &8091u16.to_le_bytes(),
            &[4, 4, 0, 0],
        ];
        for runtime in runtimes() {
            let mut batch = Batch::new(&runtime);
            let slots = Slots::add(&mut batch, 3, &Hotkey([7; 32])).unwrap();
            let stored = [
                (slots.uid, vec![5, 0]),
                (slots.axon, axon.concat()),
                (slots.certificate, vec![2 << 2, 8, 9, 1]),
            ];
            let at = BlockNumber(110);
            let read = slots.published(&batch.answered(&stored), at).unwrap();
            assert!(read.is_registered);
            let address = Some("10.1.2.3:8091".parse().unwrap());
            assert_eq!((read.address, read.block), (address, Some(BlockNumber(7))));
            assert_eq!(read.certificate, Some(vec![1, 8, 9]));
            assert_eq!(read.rate_limit, BlockCount(50), "the runtime's default");
        }
    }

    #[test]
    fn certificates_are_read_by_every_runtimes_own_types_and_only_of_who_published_one() {
        let hotkeys = [Hotkey([7; 32]), Hotkey([8; 32]), Hotkey([9; 32])];
        for runtime in runtimes() {
            let mut batch = Batch::new(&runtime);
            let slots = CertificateSlots::add(&mut batch, 3, &hotkeys).unwrap();
            let longest = [&[0x01, 0x01][..], &[5; 64], &[1]].concat();
            let stored = [(slots.0[0].1, vec![2 << 2, 8, 9, 1]), (slots.0[2].1, longest)];
            let read = slots.certificates(&batch.answered(&stored)).unwrap();
            let longest = [&[1][..], &[5; 64]].concat();
            let wanted = [(hotkeys[0], vec![1, 8, 9]), (hotkeys[2], longest)];
            assert_eq!(read, BTreeMap::from(wanted));
        }
    }

    #[test]
    fn a_certificate_that_cannot_be_read_counts_as_none() {
        for runtime in runtimes() {
            let mut batch = Batch::new(&runtime);
            let slots = CertificateSlots::add(&mut batch, 3, &[Hotkey([7; 32])]).unwrap();
            let too_long = [&[0x05, 0x01][..], &[5; 65], &[1]].concat();
            for bytes in [vec![], vec![2 << 2, 8], too_long] {
                let mut batch = Batch::new(&runtime);
                drop(CertificateSlots::add(&mut batch, 3, &[Hotkey([7; 32])]).unwrap());
                let answers = batch.answered(&[(slots.0[0].1, bytes.clone())]);
                assert_eq!(slots.certificates(&answers).unwrap(), BTreeMap::new(), "{bytes:?}");
            }
        }
    }
}
