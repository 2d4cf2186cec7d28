//! One view at one block: the first round, what it did not cover, and the whole from the parts.

use std::collections::BTreeSet;
use std::sync::Arc;

use chain_metadata::{api, storage as items};
use node_core::id::{BlockHash, Hotkey};
use node_core::limits::UIDS_MAX;
use node_core::unit::BlockNumber;
use node_core::view::ChainView;
use subxt::config::substrate::H256;
use subxt::ext::codec::{Decode as _, Encode as _};

use crate::decode::DecodeError;
use crate::encode::EncodeError;
use crate::facts::Facts;
use crate::keys::{self, Extent, Found, KeySlots, Keys, Names};
use crate::link::{CallError, Links};
use crate::memory::{Guess, Memory};
use crate::metagraph::{self, Seating, Wanted};
use crate::read::{ReadError, Subject};
use crate::runtime::{ask_api, Runtime, Runtimes};
use crate::seeds::Seeded;
use crate::storage::{self, Batch};
use crate::subnet::Subnet;

/// Reads at one block.
pub(crate) struct Reader<'a> {
    pub(crate) links: &'a Links,
    pub(crate) runtimes: &'a Runtimes,
    pub(crate) memory: &'a Memory,
    pub(crate) subject: Subject,
    /// Blocks of a window of submissions, if windows are of interest.
    pub(crate) window: Option<node_core::unit::BlockCount>,
    pub(crate) block: BlockHash,
}

/// What an increment builds on.
#[derive(Clone, Copy)]
pub(crate) struct Previous<'a> {
    pub(crate) view: &'a ChainView,
    pub(crate) keep_commitments: bool,
}

/// What came of one round.
struct Round {
    extent: Extent,
    number: BlockNumber,
    subnet: Subnet,
    /// `None` if the metagraph cannot be used.
    seating: Option<Seating>,
    asked: Keys,
    found: Found,
    revealing: Option<BTreeSet<Hotkey>>,
}

impl Reader<'_> {
    /// Reads a view. A block that need not be final keeps the commitments of its previous view.
    pub(crate) async fn view(
        &self,
        previous: Option<Previous<'_>>,
    ) -> Result<ChainView, ReadError> {
        let counts = &self.memory.counts;
        let previous = previous.filter(|previous| {
            let Previous { view, .. } = previous;
            view.genesis == self.links.genesis() && view.netuid == self.subject.netuid
        });
        let extent = Extent {
            full: previous.is_none(),
            commitments: previous.is_none_or(|previous| !previous.keep_commitments),
        };
        let view = previous.map(|previous| previous.view);
        let (runtime, round, is_first) = self.first_round(extent).await?;
        let (mut facts, mut names, is_whole) = self.completed(&runtime, round).await?;
        let mut is_one_round = is_first && is_whole;
        if let Some(view) =
            view.filter(|view| !facts.extent.full && !facts.continues(view, &runtime))
        {
            counts.refreshed.add(1);
            is_one_round = false;
            let extent = Extent { full: true, ..extent };
            let keys = Keys::of(extent, self.subject, &names);
            let round = self.round(&runtime, extent, keys).await?;
            (facts, names, _) = self.completed(&runtime, round).await?;
            tracing::debug!(block = %facts.number, after = %view.number, "everything read anew");
        }
        let (commitments, window_hashes) = match previous {
            Some(Previous { view, keep_commitments: true }) => {
                (facts.kept_commitments(view), view.window_hashes.clone())
            }
            Some(_) | None => {
                let Seeded { commitments, windows, are_known } =
                    self.seeded(facts.take_committed(), facts.number).await?;
                is_one_round &= are_known;
                (commitments, windows)
            }
        };
        counts.views.add(1);
        counts.one_round.add(u64::from(is_one_round));
        counts.unreadable_commitments.add(facts.unreadable());
        let genesis = self.links.genesis();
        let view = facts.view(self.subject, &runtime, view);
        let permitted = view.neurons.iter().filter(|neuron| neuron.validator_permit);
        names.permitted = permitted.map(|neuron| neuron.uid).collect();
        self.memory.learn(Guess { runtime, names });
        Ok(ChainView { genesis, hash: self.block, commitments, window_hashes, ..view })
    }

    /// Reads whether the subnet exists, and nothing else.
    pub(crate) async fn subnet_exists(&self) -> Result<bool, ReadError> {
        let runtime = self.runtime().await?;
        let mut batch = Batch::new(&runtime);
        let netuid = self.subject.netuid.0;
        let slot = batch.add(&items::NETWORKS_ADDED, (netuid,)).map_err(self.encode())?;
        let answers = batch.fetch(self.links, self.block).await.map_err(self.call("the subnet"))?;
        answers.required(&items::NETWORKS_ADDED, slot).map_err(self.decode())
    }

    /// The first round, by the runtime and the names of the last view, while the block's own
    /// runtime is asked for. If that is another one, the round's answers are worth nothing.
    ///
    /// Also tells whether it was the only round.
    async fn first_round(&self, extent: Extent) -> Result<(Arc<Runtime>, Round, bool), ReadError> {
        let Some(guess) = self.memory.guess() else {
            let runtime = self.runtime().await?;
            let extent = Extent { full: true, ..extent };
            let round = self.round(&runtime, extent, Keys::default()).await?;
            return Ok((runtime, round, false));
        };
        let keys = |extent| Keys::of(extent, self.subject, &guess.names).ahead();
        let round = self.round(&guess.runtime, extent, keys(extent));
        let (runtime, round) = tokio::join!(self.runtime(), round);
        let runtime = runtime?;
        if runtime.spec_version == guess.runtime.spec_version {
            return Ok((runtime, round?, true));
        }
        self.memory.counts.other_runtime.add(1);
        let extent = Extent { full: true, ..extent };
        let round = self.round(&runtime, extent, keys(extent)).await?;
        Ok((runtime, round, false))
    }

    /// Sends everything at once.
    async fn round(
        &self,
        runtime: &Arc<Runtime>,
        extent: Extent,
        keys: Keys,
    ) -> Result<Round, ReadError> {
        let wanted = Wanted { stake: extent.full, commitments: extent.commitments };
        let question = self.memory.question(runtime, self.subject, extent, keys);
        let question = question.map_err(self.encode())?;
        let (number, answers, metagraph, next_epoch, revealing) = tokio::try_join!(
            self.number(),
            async {
                let answers = storage::fetch(self.links, runtime, &question.keys, self.block);
                answers.await.map_err(self.call("the subnet"))
            },
            self.metagraph(runtime, wanted),
            self.next_epoch(runtime),
            self.revealing(runtime, extent),
        )?;
        let subnet = question.subnet.decode(&answers, number).map_err(self.decode())?;
        let mut subnet = self.checked(subnet)?;
        // A prediction that is past says nothing about the next epoch.
        match next_epoch {
            Some(Some(next)) if next <= number => {}
            Some(next) => subnet.clock.next_epoch_block = next,
            None => {}
        }
        let seating = metagraph.and_then(|bytes| {
            metagraph::seating(runtime, &bytes, wanted, number, subnet.count)
                .inspect_err(|error| tracing::debug!(%error, "metagraph not used"))
                .ok()
        });
        let found = question.named.decode(&answers, self.subject).map_err(self.decode())?;
        let asked = question.asked.clone();
        Ok(Round { extent, number, subnet, seating, asked, found, revealing })
    }

    /// Asks for what a round did not: seats without the metagraph, and what its keys left out.
    ///
    /// Also tells the names that the facts are about, and whether nothing was missing.
    async fn completed(
        &self,
        runtime: &Runtime,
        round: Round,
    ) -> Result<(Facts, Names, bool), ReadError> {
        let Round { extent, number, subnet, seating, asked, found, revealing } = round;
        let mut is_whole = seating.is_some();
        let seating = match seating {
            Some(seating) => seating,
            None => {
                self.memory.counts.without_metagraph.add(1);
                let wanted = Wanted { stake: extent.full, commitments: extent.commitments };
                self.seats(runtime, wanted, subnet.count).await?
            }
        };
        let mut facts = Facts { extent, number, subnet, seating, found, revealing };
        let names = facts.names();
        let missing = Keys::of(extent, self.subject, &names).without(&asked);
        if !missing.is_empty() {
            self.memory.counts.not_foreseen.add(1);
            is_whole = false;
            let mut batch = Batch::new(runtime);
            let slots = KeySlots::add(&mut batch, self.subject, &missing);
            let slots = slots.map_err(self.encode())?;
            let answers = batch.fetch(self.links, self.block).await;
            let answers = answers.map_err(self.call("what was not foreseen"))?;
            facts.found.extend(slots.decode(&answers, self.subject).map_err(self.decode())?);
        }
        Ok((facts, names, is_whole))
    }

    fn checked(&self, subnet: Option<Subnet>) -> Result<Subnet, ReadError> {
        let Subject { netuid, .. } = self.subject;
        match subnet {
            None => Err(ReadError::NoSuchSubnet { netuid, block: self.block }),
            Some(Subnet { count, .. }) if count > UIDS_MAX => {
                Err(ReadError::TooManyNeurons { netuid, block: self.block, count })
            }
            Some(subnet) => Ok(subnet),
        }
    }

    /// The block's height, from the header that its hash is the hash of.
    async fn number(&self) -> Result<BlockNumber, ReadError> {
        if let Some(number) = self.links.number_of(self.block) {
            return Ok(number);
        }
        let block = H256(self.block.0);
        let header = self
            .links
            .call("chain_getHeader", |methods| async move {
                methods.chain_get_header(Some(block)).await
            })
            .await
            .map_err(self.call("the header"))?;
        let header = header.ok_or(ReadError::NoSuchBlock { block: self.block })?;
        if sp_crypto_hashing::blake2_256(&header.encode()) != self.block.0 {
            return Err(ReadError::OtherHeader { block: self.block });
        }
        Ok(BlockNumber(header.number))
    }

    async fn runtime(&self) -> Result<Arc<Runtime>, ReadError> {
        let block = self.block;
        self.runtimes
            .at(self.links, block)
            .await
            .map_err(|source| ReadError::Runtime { block, source: Box::new(source) })
    }

    /// The metagraph as it came; `None` where the runtime has no such call, or the node does not
    /// answer it: public ones refuse it before anything else.
    async fn metagraph(
        &self,
        runtime: &Runtime,
        wanted: Wanted,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        let call = metagraph::call(runtime, self.subject.netuid, wanted);
        let Some((name, arguments)) = call else { return Ok(None) };
        ask_api(self.links, &name, &arguments, self.block).await.map_err(self.call("the metagraph"))
    }

    /// Who has revealed commitments. Where commitments are kept, it is what the last view found.
    async fn revealing(
        &self,
        runtime: &Runtime,
        extent: Extent,
    ) -> Result<Option<BTreeSet<Hotkey>>, ReadError> {
        if !extent.commitments {
            return Ok(self.memory.guess().and_then(|guess| guess.names.revealing.clone()));
        }
        keys::revealing(self.links, runtime, self.subject.netuid, self.block)
            .await
            .map_err(self.call("who has revealed commitments"))
    }

    /// The runtime's own prediction; `None` where it has no such call, or none that answers.
    async fn next_epoch(
        &self,
        runtime: &Runtime,
    ) -> Result<Option<Option<BlockNumber>>, ReadError> {
        let api::RuntimeApi { api, method, .. } = api::NEXT_EPOCH_START_BLOCK;
        let known = runtime.metadata().runtime_api_trait_by_name(api);
        if known.is_none_or(|api| api.method_by_name(method).is_none()) {
            return Ok(None);
        }
        let name = format!("{api}_{method}");
        let input = self.subject.netuid.0.encode();
        let answer = ask_api(self.links, &name, &input, self.block).await;
        let Some(bytes) = answer.map_err(self.call("the next epoch"))? else { return Ok(None) };
        let next = Option::<u64>::decode(&mut bytes.as_slice())
            .map_err(|error| self.decode()(DecodeError::new(name, error)))?;
        Ok(Some(next.map(BlockNumber)))
    }

    pub(crate) fn call(&self, what: &'static str) -> impl Fn(CallError) -> ReadError {
        let block = self.block;
        move |source| ReadError::Call { what, block, source: Box::new(source) }
    }

    pub(crate) fn encode(&self) -> impl Fn(EncodeError) -> ReadError {
        let block = self.block;
        move |source| ReadError::Encode { block, source }
    }

    pub(crate) fn decode(&self) -> impl Fn(DecodeError) -> ReadError {
        let block = self.block;
        move |source| ReadError::Decode { block, source }
    }
}
