//! What a commitment is made of, in the real chain's bytes and type description.
//!
//! A field is one leading byte and what follows it: `0` nothing, `1..=129` raw bytes of the length
//! byte - 1, `130..=133` a hash, `134` a timelocked blob, `135` the bonds reset flag, `136` up to
//! 512 raw bytes. The metadata describes each raw length as a variant of its own (`Raw0` to
//! `Raw128`), which derives cannot express, so codec and type description are written by hand.

use codec::{Decode, DecodeWithMemTracking, Encode, EncodeLike, Error, Input, Output};
use frame_support::{traits::ConstU32, BoundedVec};
use scale_info::{
    build::{Fields, Variants},
    Path, Type, TypeInfo,
};

/// Fields of one commitment.
pub const FIELDS_MAX: u32 = 3;
/// Bytes of a `Raw` field.
pub const RAW_BYTES_MAX: u32 = 128;
/// Bytes of a `BigRaw` field.
pub const BIG_RAW_BYTES_MAX: u32 = 512;
/// Bytes of a timelocked field.
pub const TIMELOCK_BYTES_MAX: u32 = 1024;

const TAG_RAW_LAST: u8 = 129;
const TAG_BLAKE_TWO_256: u8 = 130;
const TAG_SHA_256: u8 = 131;
const TAG_KECCAK_256: u8 = 132;
const TAG_SHA_THREE_256: u8 = 133;
const TAG_TIMELOCK_ENCRYPTED: u8 = 134;
const TAG_RESET_BONDS_FLAG: u8 = 135;
const TAG_BIG_RAW: u8 = 136;

/// One field of a commitment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Data {
    /// Nothing.
    #[default]
    None,
    /// Bytes as they are, up to 128.
    Raw(BoundedVec<u8, ConstU32<RAW_BYTES_MAX>>),
    /// Hash of something kept elsewhere.
    BlakeTwo256([u8; 32]),
    /// Hash of something kept elsewhere.
    Sha256([u8; 32]),
    /// Hash of something kept elsewhere.
    Keccak256([u8; 32]),
    /// Hash of something kept elsewhere.
    ShaThree256([u8; 32]),
    /// A blob that opens with the beacon's signature of a round.
    TimelockEncrypted {
        /// The ciphertext.
        encrypted: BoundedVec<u8, ConstU32<TIMELOCK_BYTES_MAX>>,
        /// The round whose signature opens it.
        reveal_round: u64,
    },
    /// Asks for the bonds of the subnet to be reset.
    ResetBondsFlag,
    /// Bytes as they are, up to 512.
    BigRaw(BoundedVec<u8, ConstU32<BIG_RAW_BYTES_MAX>>),
}

impl Data {
    /// Bytes that count against the quota.
    pub fn charged_bytes(&self) -> u64 {
        let bytes = match self {
            Self::None | Self::ResetBondsFlag => 0,
            Self::Raw(bytes) => bytes.len(),
            Self::BlakeTwo256(hash)
            | Self::Sha256(hash)
            | Self::Keccak256(hash)
            | Self::ShaThree256(hash) => hash.len(),
            Self::TimelockEncrypted { encrypted, .. } => encrypted.len(),
            Self::BigRaw(bytes) => bytes.len(),
        };
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

impl Encode for Data {
    fn encode_to<O: Output + ?Sized>(&self, out: &mut O) {
        match self {
            Self::None => out.push_byte(0),
            Self::Raw(bytes) => {
                // The bound keeps the length below the first hash tag.
                out.push_byte(u8::try_from(bytes.len() + 1).unwrap_or(TAG_RAW_LAST));
                out.write(bytes);
            }
            Self::BlakeTwo256(hash) => tagged(out, TAG_BLAKE_TWO_256, hash),
            Self::Sha256(hash) => tagged(out, TAG_SHA_256, hash),
            Self::Keccak256(hash) => tagged(out, TAG_KECCAK_256, hash),
            Self::ShaThree256(hash) => tagged(out, TAG_SHA_THREE_256, hash),
            Self::TimelockEncrypted { encrypted, reveal_round } => {
                tagged(out, TAG_TIMELOCK_ENCRYPTED, &(encrypted, reveal_round));
            }
            Self::ResetBondsFlag => out.push_byte(TAG_RESET_BONDS_FLAG),
            Self::BigRaw(bytes) => tagged(out, TAG_BIG_RAW, bytes),
        }
    }
}

impl EncodeLike for Data {}

fn tagged<O: Output + ?Sized>(out: &mut O, tag: u8, value: &impl Encode) {
    out.push_byte(tag);
    value.encode_to(out);
}

impl Decode for Data {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        Ok(match input.read_byte()? {
            0 => Self::None,
            tag @ 1..=TAG_RAW_LAST => {
                let mut bytes = vec![0; usize::from(tag - 1)];
                input.read(&mut bytes)?;
                Self::Raw(bytes.try_into().map_err(|_| Error::from("raw field too long"))?)
            }
            TAG_BLAKE_TWO_256 => Self::BlakeTwo256(Decode::decode(input)?),
            TAG_SHA_256 => Self::Sha256(Decode::decode(input)?),
            TAG_KECCAK_256 => Self::Keccak256(Decode::decode(input)?),
            TAG_SHA_THREE_256 => Self::ShaThree256(Decode::decode(input)?),
            TAG_TIMELOCK_ENCRYPTED => {
                let (encrypted, reveal_round) = Decode::decode(input)?;
                Self::TimelockEncrypted { encrypted, reveal_round }
            }
            TAG_RESET_BONDS_FLAG => Self::ResetBondsFlag,
            TAG_BIG_RAW => Self::BigRaw(Decode::decode(input)?),
            _ => return Err(Error::from("unknown kind of commitment field")),
        })
    }
}

impl DecodeWithMemTracking for Data {}

/// Adds the variants `Raw<n>` with index n + 1 and one field `[u8; n]`.
macro_rules! with_raw_variants {
    ($variants:expr; $($length:literal)*) => {
        $variants$(.variant(concat!("Raw", stringify!($length)), |variant| {
            variant
                .index($length + 1)
                .fields(Fields::unnamed().field(|field| field.ty::<[u8; $length]>()))
        }))*
    };
}

impl TypeInfo for Data {
    type Identity = Self;

    fn type_info() -> Type {
        let variants = with_raw_variants!(Variants::new().variant("None", |v| v.index(0));
            0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
            32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59
            60 61 62 63 64 65 66 67 68 69 70 71 72 73 74 75 76 77 78 79 80 81 82 83 84 85 86 87
            88 89 90 91 92 93 94 95 96 97 98 99 100 101 102 103 104 105 106 107 108 109 110 111
            112 113 114 115 116 117 118 119 120 121 122 123 124 125 126 127 128);
        let variants = [
            ("BlakeTwo256", TAG_BLAKE_TWO_256),
            ("Sha256", TAG_SHA_256),
            ("Keccak256", TAG_KECCAK_256),
            ("ShaThree256", TAG_SHA_THREE_256),
        ]
        .into_iter()
        .fold(variants, |variants, (name, tag)| {
            variants.variant(name, |variant| {
                variant.index(tag).fields(Fields::unnamed().field(|field| field.ty::<[u8; 32]>()))
            })
        });
        let variants = variants
            .variant("TimelockEncrypted", |variant| {
                let fields = Fields::named()
                    .field(|field| {
                        field.name("encrypted").ty::<BoundedVec<u8, ConstU32<TIMELOCK_BYTES_MAX>>>()
                    })
                    .field(|field| field.name("reveal_round").ty::<u64>());
                variant.index(TAG_TIMELOCK_ENCRYPTED).fields(fields)
            })
            .variant("ResetBondsFlag", |variant| variant.index(TAG_RESET_BONDS_FLAG))
            .variant("BigRaw", |variant| {
                variant.index(TAG_BIG_RAW).fields(
                    Fields::unnamed()
                        .field(|field| field.ty::<BoundedVec<u8, ConstU32<BIG_RAW_BYTES_MAX>>>()),
                )
            });
        Type::builder().path(Path::new("Data", module_path!())).variant(variants)
    }
}

/// The fields of a commitment.
#[derive(Clone, Debug, Decode, DecodeWithMemTracking, Default, Encode, Eq, PartialEq, TypeInfo)]
pub struct CommitmentInfo {
    /// Up to three.
    pub fields: BoundedVec<Data, ConstU32<FIELDS_MAX>>,
}

/// A stored commitment.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq, TypeInfo)]
pub struct Registration {
    /// Always 0: commitments are free.
    pub deposit: u64,
    /// Block it was written in.
    pub block: u32,
    /// What was committed.
    pub info: CommitmentInfo,
}

/// How much of its quota a hotkey has used.
#[derive(Clone, Debug, Decode, Default, Encode, Eq, PartialEq, TypeInfo)]
pub struct UsageTracker {
    /// The epoch counted.
    pub last_epoch: u64,
    /// Bytes charged in it.
    pub used_space: u64,
}
