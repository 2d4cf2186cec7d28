//! Where a hotkey serves, and with which certificate: what the chain says, and saying something
//! else within the chain's limit.

use std::net::SocketAddr;

use chain_metadata::storage as items;
use node_core::id::Hotkey;
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
use crate::storage::{Answers, Batch, Slot};
use crate::submit::SubmitError;
use crate::subnet::SERVING_RATE_LIMIT_DEFAULT;

/// Longest public key that the chain stores; the algorithm's number comes before it.
const PUBLIC_KEY_BYTES_MAX: usize = CERTIFICATE_BYTES_MAX - 1;

/// Where a node serves, as the chain should say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serving {
    /// The address.
    pub address: SocketAddr,
    /// A number for the algorithm, and the public key. `None`: whatever the chain has may stay;
    /// there is no call that takes it away.
    pub certificate: Option<Vec<u8>>,
}

/// What the chain says about where a hotkey serves, in one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The block.
    pub at: BlockRef,
    /// Whether the hotkey has a neuron; without one it cannot publish.
    pub is_registered: bool,
    /// The address, if it can be one.
    pub address: Option<SocketAddr>,
    /// When anything was published the last time.
    pub block: Option<BlockNumber>,
    /// A number for the algorithm, and the public key. Also `None` where the runtime keeps none
    /// that can be read.
    pub certificate: Option<Vec<u8>>,
    /// Blocks between two publications.
    pub rate_limit: BlockCount,
}

/// When something may be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Not at all: the chain says it already.
    Current,
    /// Not before the hotkey has a neuron.
    Unregistered,
    /// In this block or a later one.
    From(BlockNumber),
}

impl Published {
    /// When `wanted` may be published.
    ///
    /// - `own`: the block in which this very thing was published before, if it was. A chain that
    ///   took it and shows no certificate, or another one, shows none for a second time either.
    #[must_use]
    pub fn due(&self, wanted: &Serving, own: Option<BlockNumber>) -> Due {
        // An endpoint that has not come so far yet.
        if own.is_some_and(|own| self.at.number < own) {
            return Due::Current;
        }
        if !self.is_registered {
            return Due::Unregistered;
        }
        let is_own = own.is_some() && self.block == own;
        let has_certificate =
            wanted.certificate.is_none() || wanted.certificate == self.certificate;
        if self.address == Some(wanted.address) && (has_certificate || is_own) {
            return Due::Current;
        }
        let next = self.at.number.plus(BlockCount(1));
        // A publication in block 0 does not count for the limit.
        let published = self.block.filter(|block| block.0 > 0);
        Due::From(published.map_or(next, |block| next.max(block.plus(self.rate_limit))))
    }
}

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
        let runtime = self.runtimes().at(self.links(), at.hash).await;
        let runtime = runtime
            .map_err(|source| ReadError::Runtime { block: at.hash, source: Box::new(source) })?;
        let mut batch = Batch::new(&runtime);
        let slots = Slots::add(&mut batch, self.netuid().0, hotkey).map_err(reader.encode())?;
        let answers = batch.fetch(self.links(), at.hash).await;
        let answers = answers.map_err(reader.call("where the hotkey serves"))?;
        slots.published(&answers, at).map_err(reader.decode())
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

    fn published(&self, answers: &Answers<'_>, at: BlockRef) -> Result<Published, DecodeError> {
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
            certificate: certificate
                .map(|stored| [&[stored.algorithm][..], &stored.public_key.0].concat()),
            rate_limit: BlockCount(rate_limit.unwrap_or(SERVING_RATE_LIMIT_DEFAULT)),
        })
    }
}

#[cfg(test)]
mod tests {
    use node_core::id::BlockHash;

    use super::*;
    use crate::golden_tests::runtimes;

    fn wanted() -> Serving {
        Serving { address: "10.1.2.3:8091".parse().unwrap(), certificate: Some(vec![1, 7]) }
    }

    /// What was wanted, published in block 100 and looked at in block 110, with a limit of 50.
    fn published() -> Published {
        let Serving { address, certificate } = wanted();
        Published {
            at: BlockRef { number: BlockNumber(110), hash: BlockHash([0; 32]) },
            is_registered: true,
            address: Some(address),
            block: Some(BlockNumber(100)),
            certificate,
            rate_limit: BlockCount(50),
        }
    }

    #[test]
    fn what_the_chain_says_already_is_not_published_again() {
        assert_eq!(published().due(&wanted(), None), Due::Current);
        let without = Serving { certificate: None, ..wanted() };
        assert_eq!(published().due(&without, None), Due::Current, "it cannot be taken away");
    }

    #[test]
    fn another_address_or_certificate_waits_for_the_limit() {
        let from = Due::From(BlockNumber(150));
        let other = Published { address: Some("10.1.2.4:8091".parse().unwrap()), ..published() };
        assert_eq!(other.due(&wanted(), None), from);
        for certificate in [None, Some(vec![2, 7]), Some(vec![1])] {
            let other = Published { certificate, ..published() };
            assert_eq!(other.due(&wanted(), None), from);
        }
    }

    #[test]
    fn without_a_limit_or_an_earlier_publication_the_next_block_takes_it() {
        let next = Due::From(BlockNumber(111));
        let other = Published { certificate: None, ..published() };
        let unlimited = Published { rate_limit: BlockCount(0), ..other.clone() };
        assert_eq!(unlimited.due(&wanted(), None), next);
        let of_genesis = Published { block: Some(BlockNumber(0)), ..other.clone() };
        assert_eq!(
            Published { rate_limit: BlockCount(999), ..of_genesis }.due(&wanted(), None),
            next
        );
        let never = Published { address: None, block: None, ..other.clone() };
        assert_eq!(never.due(&wanted(), None), next);
        let endless = Published { rate_limit: BlockCount(u64::MAX), ..other };
        assert_eq!(endless.due(&wanted(), None), Due::From(BlockNumber(u64::MAX)));
    }

    #[test]
    fn a_certificate_that_the_chain_does_not_show_is_published_once_and_not_for_ever() {
        let hidden = Published { certificate: None, ..published() };
        assert_eq!(hidden.due(&wanted(), Some(BlockNumber(100))), Due::Current);
        let since = hidden.due(&wanted(), Some(BlockNumber(40)));
        assert_eq!(since, Due::From(BlockNumber(150)), "somebody else published since");
        let elsewhere = Published { address: None, ..published() };
        assert_ne!(elsewhere.due(&wanted(), Some(BlockNumber(100))), Due::Current);
    }

    #[test]
    fn a_block_before_the_own_publication_says_nothing() {
        let before = Published { address: None, block: None, ..published() };
        assert_eq!(before.due(&wanted(), Some(BlockNumber(111))), Due::Current);
    }

    #[test]
    fn an_unregistered_hotkey_publishes_nothing() {
        let gone = Published { is_registered: false, address: None, ..published() };
        assert_eq!(gone.due(&wanted(), None), Due::Unregistered);
    }

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
            let at = published().at;
            let read = slots.published(&batch.answered(&stored), at).unwrap();
            assert!(read.is_registered);
            assert_eq!((read.address, read.block), (Some(wanted().address), Some(BlockNumber(7))));
            assert_eq!(read.certificate, Some(vec![1, 8, 9]));
            assert_eq!(read.rate_limit, BlockCount(50), "the runtime's default");
        }
    }
}
