//! Weights, from what the core decided to signed bytes. Nothing is sent.
//!
//! Everything that decides is given: form, nonce, era, the block after which the bytes are to be
//! included. What is read here is that block's runtime, and what waits in the pool, which no view
//! shows.
//!
//! Not here: whether to sign (`node/core`), what the calls look like (`calls`), sending (`send`).

use std::sync::OnceLock;

use node_core::id::{BlockHash, Hotkey};
use node_core::machine::effect::WeightsToSign;
use node_core::rows::{Carries, SignedExtrinsic};
use node_core::submit_guard::WeightsForm;

use crate::calls::{weights_call, SubmittedForm, WeightsSubmission};
use crate::client::ChainClient;
use crate::commit::{draw_salt, timelocked_commit_hash, CommittedWeights, HashPreimage};
use crate::encode::{sign_bound, EncodeError};
use crate::keypair::Keypair;
use crate::link::CallError;
use crate::read::Subject;
use crate::runtime::{Runtime, RuntimeError};
use crate::timelock::{self, BeaconKey, TimelockError};

/// Why nothing was signed. Nothing is lost by it: the next block is another occasion.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The pool holds an extrinsic of this account that no block has yet.
    #[error(
        "the endpoint's pool has extrinsics of this hotkey up to nonce {next}, and the block has \
         {nonce}; waiting for them to be included"
    )]
    Pending {
        /// The nonce in the block.
        nonce: u32,
        /// The next one for the pool.
        next: u32,
    },
    /// The endpoint knows less than the block that was read.
    #[error("the endpoint is at nonce {next}, behind the block's {nonce}; waiting for it")]
    EndpointBehind {
        /// The nonce in the block.
        nonce: u32,
        /// The endpoint's.
        next: u32,
    },
    /// The pool could not be asked.
    #[error("cannot ask for what waits in the pool")]
    Call(#[source] CallError),
    /// The runtime of the block cannot be used.
    #[error("cannot use the runtime of block {block}")]
    Runtime {
        /// The block.
        block: BlockHash,
        /// Why.
        #[source]
        source: RuntimeError,
    },
    /// The call cannot be written for this runtime.
    #[error("cannot encode the call for this runtime")]
    Encode(#[source] EncodeError),
    /// The chain's beacon key is of another kind.
    #[error("the beacon's key has {got} bytes; this build knows keys of 96 bytes")]
    BeaconKey {
        /// Its bytes.
        got: usize,
    },
    /// The weights cannot be concealed.
    #[error("cannot conceal the weights")]
    Conceal(#[source] TimelockError),
    /// The task that encrypts died, which is a bug.
    #[error("the encryption died")]
    Died,
}

/// What goes into a call, and what is remembered of it.
enum Concealed {
    Plain,
    Timelocked { commit: Vec<u8>, carries: Carries, round: u64, version: u16 },
    Hashed { hash: node_core::id::Digest, salt: Vec<u16> },
    Reveal { salt: Vec<u16> },
}

impl ChainClient {
    /// Signs weights as the core decided. Nothing is sent, so that the bytes can be made durable
    /// first. Hold the hotkey's [`crate::NonceGuard`] from here until the bytes were sent.
    ///
    /// A timelocked commit is encrypted here and a hash commit's salt drawn here; both are in
    /// [`SignedExtrinsic::carries`], and two signatures of one vector differ in them.
    ///
    /// # Errors
    ///
    /// [`SignError`]; [`SignError::Pending`] while an extrinsic of this hotkey waits in the pool:
    /// look again at the next block.
    pub async fn sign_weights(
        &self,
        weights: &WeightsToSign,
        signer: &Keypair,
    ) -> Result<SignedExtrinsic, SignError> {
        let hotkey = signer.public();
        self.check_pool(&hotkey, weights.binding.nonce).await?;
        let block = weights.binding.head;
        let runtime = self
            .runtimes()
            .at(self.links(), block)
            .await
            .map_err(|source| SignError::Runtime { block, source })?;
        let WeightsToSign { netuid, mechanism, .. } = *weights;
        let index = Subject { netuid, mechanism, ..self.subject() }.index();
        let concealed = conceal(weights, hotkey, index).await?;
        sign_concealed(&runtime, weights, signer, concealed).map_err(SignError::Encode)
    }

    /// Nothing of this hotkey may wait anywhere: it could not be replaced, and a nonce after it
    /// would be another one than the core decided on.
    async fn check_pool(&self, hotkey: &Hotkey, nonce: u32) -> Result<(), SignError> {
        let next = self.next_nonce(hotkey).await.map_err(SignError::Call)?;
        match next.cmp(&nonce) {
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => Err(SignError::Pending { nonce, next }),
            std::cmp::Ordering::Less => Err(SignError::EndpointBehind { nonce, next }),
        }
    }
}

async fn conceal(
    weights: &WeightsToSign,
    hotkey: Hotkey,
    index: u16,
) -> Result<Concealed, SignError> {
    let version_key = weights.version_key;
    Ok(match &weights.form {
        WeightsForm::Plain => Concealed::Plain,
        WeightsForm::Timelocked { commit_version, beacon_key, reveal_round, reveal_epoch } => {
            let key = <[u8; 96]>::try_from(beacon_key.as_slice())
                .map_err(|_| SignError::BeaconKey { got: beacon_key.len() })?;
            let vector = weights.vector.clone();
            let payload = CommittedWeights { hotkey, vector, version_key }.encode();
            let round = *reveal_round;
            let commit = encrypt(BeaconKey(key), round, payload).await?;
            let carries = Carries::Timelocked {
                commit: timelocked_commit_hash(&commit),
                reveal_round: round,
                reveal_epoch: *reveal_epoch,
            };
            Concealed::Timelocked { commit, carries, round, version: *commit_version }
        }
        WeightsForm::Hashed => {
            let salt = draw_salt().map_err(SignError::Conceal)?;
            let (vector, salted) = (&weights.vector, &salt);
            let preimage = HashPreimage { hotkey, index, vector, salt: salted, version_key };
            Concealed::Hashed { hash: preimage.hash(), salt }
        }
        WeightsForm::Reveal { salt } => Concealed::Reveal { salt: salt.clone() },
    })
}

/// Some milliseconds of arithmetic, off the threads that serve sockets.
async fn encrypt(key: BeaconKey, round: u64, payload: Vec<u8>) -> Result<Vec<u8>, SignError> {
    let encrypted = tokio::task::spawn_blocking(move || {
        tested()?;
        timelock::encrypt(&key, round, &payload)
    });
    encrypted.await.map_err(|_| SignError::Died)?.map_err(SignError::Conceal)
}

/// The self-test's answer, once per process.
fn tested() -> Result<(), TimelockError> {
    static TESTED: OnceLock<Result<(), TimelockError>> = OnceLock::new();
    TESTED.get_or_init(timelock::self_test).clone()
}

fn sign_concealed(
    runtime: &Runtime,
    weights: &WeightsToSign,
    signer: &Keypair,
    concealed: Concealed,
) -> Result<SignedExtrinsic, EncodeError> {
    let (vector, version_key) = (weights.vector.as_slice(), weights.version_key);
    let form = match &concealed {
        Concealed::Plain => SubmittedForm::Plain { vector, version_key },
        Concealed::Timelocked { commit, round, version, .. } => SubmittedForm::Timelocked {
            commit,
            reveal_round: *round,
            commit_reveal_version: *version,
        },
        Concealed::Hashed { hash, .. } => SubmittedForm::HashCommit { hash: *hash },
        Concealed::Reveal { salt } => SubmittedForm::HashReveal { vector, salt, version_key },
    };
    let submission =
        WeightsSubmission { netuid: weights.netuid, mechanism: weights.mechanism, form };
    let call = weights_call(runtime, submission)?;
    let carries = match concealed {
        Concealed::Plain => Carries::Plain,
        Concealed::Timelocked { carries, .. } => carries,
        Concealed::Hashed { hash, salt } => Carries::Hashed { commit: hash, salt },
        Concealed::Reveal { .. } => Carries::Reveal,
    };
    let signed = sign_bound(runtime, &call, signer, &weights.binding, carries)?;
    Ok(SignedExtrinsic { vector: weights.vector.clone(), ..signed })
}
