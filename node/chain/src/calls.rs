//! The calls that the node signs, as values: weights in every form, serving, commitments.
//!
//! A call is looked up by name in a runtime's metadata. Each weights call exists twice, with and
//! without a mechanism; the former is preferred, and mechanism 0 falls back on the latter.
//!
//! Not here: encoding and signing (`encode`), and what is sent when.

use std::net::{IpAddr, SocketAddr};

use chain_metadata::call::{self, Call};
use chain_metadata::storage::RAW_BYTES_MAX;
use node_core::id::{Digest, Netuid, Uid};
use subxt::ext::scale_value::{Composite, Value};

use crate::commit::columns;
use crate::encode::EncodeError;
use crate::runtime::Runtime;

/// Version an axon claims; ours speaks none of the protocols that look at it.
const AXON_VERSION: u32 = 1;
const IP_TYPE_V4: u8 = 4;
const IP_TYPE_V6: u8 = 6;

/// Fields that a commitment may have; the chain cannot even decode more.
pub const COMMITMENT_FIELDS_MAX: usize = 3;

/// Longest plain bytes of one field.
pub const COMMITMENT_RAW_BYTES_MAX: usize = 512;

/// Longest timelocked bytes of one field.
pub const COMMITMENT_TIMELOCKED_BYTES_MAX: usize = 1024;

/// Longest certificate: an algorithm's number and a key of 64 bytes. The chain takes longer ones
/// without an error and then does not store them.
pub const CERTIFICATE_BYTES_MAX: usize = 65;

/// A call with its arguments, ready to be encoded for any runtime that has it.
#[derive(Clone, Debug)]
pub(crate) struct CallValue {
    pub(crate) call: &'static Call,
    pub(crate) args: Composite<()>,
}

impl CallValue {
    fn new(call: &'static Call, args: impl IntoIterator<Item = (&'static str, Value)>) -> Self {
        Self { call, args: Composite::named(args) }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.call.name
    }

    pub(crate) fn payload(&self) -> subxt::transactions::DynamicPayload<Composite<()>> {
        subxt::dynamic::tx(self.call.pallet, self.call.name, self.args.clone())
    }
}

/// A vector of weights, for at once.
#[derive(Clone, Copy, Debug)]
pub struct WeightsCall<'a> {
    /// The subnet.
    pub netuid: Netuid,
    /// The mechanism, 0 where the subnet has one only.
    pub mechanism: u8,
    /// Uid and weight, in the order in which the chain will store them.
    pub vector: &'a [(Uid, u16)],
    /// The version key it is signed with.
    pub version_key: u64,
}

/// Weights on their way to the chain, in one of its forms.
#[derive(Clone, Copy, Debug)]
pub struct WeightsSubmission<'a> {
    /// The subnet.
    pub netuid: Netuid,
    /// The mechanism, 0 where the subnet has one only.
    pub mechanism: u8,
    /// In which form.
    pub form: SubmittedForm<'a>,
}

/// How weights are carried.
#[derive(Clone, Copy, Debug)]
pub enum SubmittedForm<'a> {
    /// Open, for at once.
    Plain {
        /// Uid and weight, in the order in which the chain will store them.
        vector: &'a [(Uid, u16)],
        /// The version key it is signed with.
        version_key: u64,
    },
    /// Encrypted to a beacon round; the chain opens it by itself.
    Timelocked {
        /// The ciphertext, [`crate::timelock::encrypt`]'s.
        commit: &'a [u8],
        /// The round that opens it.
        reveal_round: u64,
        /// The subnet's `CommitRevealWeightsVersion`, 4 at present.
        commit_reveal_version: u16,
    },
    /// The hash of weights; they follow in a [`SubmittedForm::HashReveal`].
    HashCommit {
        /// [`crate::commit::HashPreimage::hash`].
        hash: Digest,
    },
    /// What was committed as a hash.
    HashReveal {
        /// Uid and weight, as hashed.
        vector: &'a [(Uid, u16)],
        /// As hashed.
        salt: &'a [u16],
        /// As hashed.
        version_key: u64,
    },
}

impl<'a> From<&WeightsCall<'a>> for WeightsSubmission<'a> {
    fn from(weights: &WeightsCall<'a>) -> Self {
        let WeightsCall { netuid, mechanism, vector, version_key } = *weights;
        Self { netuid, mechanism, form: SubmittedForm::Plain { vector, version_key } }
    }
}

impl SubmittedForm<'_> {
    /// The call that names a mechanism, and the one for mechanism 0.
    fn calls(&self) -> (&'static Call, &'static Call) {
        match self {
            Self::Plain { .. } => (&call::SET_MECHANISM_WEIGHTS, &call::SET_WEIGHTS),
            Self::Timelocked { .. } => {
                (&call::COMMIT_TIMELOCKED_MECHANISM_WEIGHTS, &call::COMMIT_TIMELOCKED_WEIGHTS)
            }
            Self::HashCommit { .. } => (&call::COMMIT_MECHANISM_WEIGHTS, &call::COMMIT_WEIGHTS),
            Self::HashReveal { .. } => (&call::REVEAL_MECHANISM_WEIGHTS, &call::REVEAL_WEIGHTS),
        }
    }

    /// The arguments after subnet and mechanism.
    fn args(&self) -> Vec<(&'static str, Value)> {
        match *self {
            Self::Plain { vector, version_key } => {
                let (uids, weights) = columns(vector);
                let key = ("version_key", number(version_key));
                vec![("dests", list(&uids)), ("weights", list(&weights)), key]
            }
            Self::Timelocked { commit, reveal_round, commit_reveal_version } => vec![
                ("commit", Value::from_bytes(commit)),
                ("reveal_round", number(reveal_round)),
                ("commit_reveal_version", number(commit_reveal_version)),
            ],
            Self::HashCommit { hash } => vec![("commit_hash", Value::from_bytes(hash.0))],
            Self::HashReveal { vector, salt, version_key } => {
                let (uids, values) = columns(vector);
                vec![
                    ("uids", list(&uids)),
                    ("values", list(&values)),
                    ("salt", list(salt)),
                    ("version_key", number(version_key)),
                ]
            }
        }
    }
}

/// The call for weights in any form, as far as the runtime has one that can be signed.
///
/// # Errors
///
/// [`EncodeError::Missing`] if the runtime has neither of the form's two calls, or only the one
/// without a mechanism and `mechanism` is not 0.
pub(crate) fn weights_call<'a>(
    runtime: &Runtime,
    weights: impl Into<WeightsSubmission<'a>>,
) -> Result<CallValue, EncodeError> {
    let shapes = runtime.shapes();
    weights_call_of(|call| shapes.check_call(call).is_ok(), &weights.into())
}

/// [`weights_call`] for a runtime that has the calls for which `has` is true.
pub(crate) fn weights_call_of(
    has: impl Fn(&Call) -> bool,
    weights: &WeightsSubmission<'_>,
) -> Result<CallValue, EncodeError> {
    let (of_mechanism, of_first) = weights.form.calls();
    let mut args = vec![("netuid", number(weights.netuid.0))];
    let call = if has(of_mechanism) {
        args.push(("mecid", number(weights.mechanism)));
        of_mechanism
    } else if weights.mechanism == 0 && has(of_first) {
        of_first
    } else {
        let Call { pallet, name, .. } = *of_mechanism;
        return Err(EncodeError::Missing { pallet, name });
    };
    args.extend(weights.form.args());
    Ok(CallValue::new(call, args))
}

/// `serve_axon`: an IPv4 address is its 32 bits as a number.
pub(crate) fn serve_axon_call(netuid: Netuid, address: SocketAddr) -> CallValue {
    CallValue::new(&call::SERVE_AXON, axon_args(netuid, address))
}

/// `serve_axon_tls`: the same with a certificate.
///
/// # Errors
///
/// [`EncodeError::Argument`] for an empty certificate or one over [`CERTIFICATE_BYTES_MAX`].
pub(crate) fn serve_axon_tls_call(
    netuid: Netuid,
    address: SocketAddr,
    certificate: &[u8],
) -> Result<CallValue, EncodeError> {
    let call = &call::SERVE_AXON_TLS;
    let len = certificate.len();
    if certificate.is_empty() || len > CERTIFICATE_BYTES_MAX {
        let detail = format!("a certificate has 1 to {CERTIFICATE_BYTES_MAX} bytes, not {len}");
        return Err(refused(call, detail));
    }
    let mut args = axon_args(netuid, address);
    args.push(("certificate", Value::from_bytes(certificate)));
    Ok(CallValue::new(call, args))
}

fn axon_args(netuid: Netuid, address: SocketAddr) -> Vec<(&'static str, Value)> {
    let (ip, ip_type) = match address.ip() {
        IpAddr::V4(ip) => (u128::from(u32::from(ip)), IP_TYPE_V4),
        IpAddr::V6(ip) => (u128::from(ip), IP_TYPE_V6),
    };
    vec![
        ("netuid", number(netuid.0)),
        ("version", number(AXON_VERSION)),
        ("ip", Value::u128(ip)),
        ("port", number(address.port())),
        ("ip_type", number(ip_type)),
        ("protocol", number(0u8)),
        ("placeholder1", number(0u8)),
        ("placeholder2", number(0u8)),
    ]
}

/// A field of a commitment, of the kinds that may be sent.
///
/// Left out on purpose: the empty field, the flag that resets the hotkey's bonds, and the mark
/// that only the chain itself sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitmentField {
    /// Plain bytes: the chain's `Raw0` to `Raw128` by their length, `BigRaw` above.
    Raw(Vec<u8>),
    /// A Blake2-256 hash.
    BlakeTwo256([u8; 32]),
    /// A SHA-256 hash.
    Sha256([u8; 32]),
    /// A Keccak-256 hash.
    Keccak256([u8; 32]),
    /// A SHA3-256 hash.
    ShaThree256([u8; 32]),
    /// Bytes that the chain opens with a beacon round.
    TimelockEncrypted {
        /// The ciphertext, [`crate::timelock::encrypt`]'s.
        encrypted: Vec<u8>,
        /// The round that opens it.
        reveal_round: u64,
    },
}

impl CommitmentField {
    /// The field as the chain names it, or what is wrong with it.
    fn value(&self) -> Result<Value, String> {
        let hash = |name: &str, hash: &[u8; 32]| variant(name, Value::from_bytes(hash));
        Ok(match self {
            Self::Raw(bytes) if bytes.len() <= RAW_BYTES_MAX => {
                variant(format!("Raw{}", bytes.len()), Value::from_bytes(bytes))
            }
            Self::Raw(bytes) => {
                check_len("plain bytes", bytes, COMMITMENT_RAW_BYTES_MAX)?;
                variant("BigRaw", Value::from_bytes(bytes))
            }
            Self::BlakeTwo256(bytes) => hash("BlakeTwo256", bytes),
            Self::Sha256(bytes) => hash("Sha256", bytes),
            Self::Keccak256(bytes) => hash("Keccak256", bytes),
            Self::ShaThree256(bytes) => hash("ShaThree256", bytes),
            Self::TimelockEncrypted { encrypted, reveal_round } => {
                check_len("timelocked bytes", encrypted, COMMITMENT_TIMELOCKED_BYTES_MAX)?;
                let bytes = ("encrypted", Value::from_bytes(encrypted));
                let round = ("reveal_round", number(*reveal_round));
                Value::named_variant("TimelockEncrypted", [bytes, round])
            }
        })
    }
}

fn check_len(what: &str, bytes: &[u8], max: usize) -> Result<(), String> {
    if bytes.len() <= max {
        return Ok(());
    }
    Err(format!("a field holds at most {max} {what}, not {}", bytes.len()))
}

/// `set_commitment` with these fields; none of them clears the commitment.
///
/// # Errors
///
/// [`EncodeError::Argument`] for more than [`COMMITMENT_FIELDS_MAX`] fields or a field too long.
pub(crate) fn commitment_call(
    netuid: Netuid,
    fields: &[CommitmentField],
) -> Result<CallValue, EncodeError> {
    let call = &call::SET_COMMITMENT;
    if fields.len() > COMMITMENT_FIELDS_MAX {
        let got = fields.len();
        let detail = format!("a commitment has at most {COMMITMENT_FIELDS_MAX} fields, not {got}");
        return Err(refused(call, detail));
    }
    let fields: Result<Vec<Value>, String> = fields.iter().map(CommitmentField::value).collect();
    let fields = Value::unnamed_composite(fields.map_err(|detail| refused(call, detail))?);
    let info = Value::named_composite([("fields", fields)]);
    Ok(CallValue::new(call, [("netuid", number(netuid.0)), ("info", info)]))
}

/// `set_commitment` with one raw field; `None` for more than [`RAW_BYTES_MAX`] bytes.
pub(crate) fn set_commitment_call(netuid: Netuid, bytes: &[u8]) -> Option<CallValue> {
    if bytes.len() > RAW_BYTES_MAX {
        return None;
    }
    commitment_call(netuid, &[CommitmentField::Raw(bytes.to_vec())]).ok()
}

fn refused(call: &'static Call, detail: String) -> EncodeError {
    EncodeError::Argument { pallet: call.pallet, name: call.name, detail }
}

fn variant(name: impl Into<String>, value: Value) -> Value {
    Value::unnamed_variant(name, [value])
}

fn list(values: &[u16]) -> Value {
    Value::unnamed_composite(values.iter().map(|value| number(*value)))
}

fn number(value: impl Into<u128>) -> Value {
    Value::u128(value.into())
}
