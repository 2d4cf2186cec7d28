//! Types that several answers share, in the real chain's shape.

use codec::{Compact, Decode, Encode};
use scale_info::TypeInfo;

/// Text as the real chain sends it: each byte compact-coded by itself.
pub(crate) type Text = Vec<Compact<u8>>;

/// `bytes`, each compact-coded.
pub(crate) fn text(bytes: &[u8]) -> Text {
    bytes.iter().copied().map(Compact).collect()
}

/// Numbers, each compact-coded.
pub(crate) fn compact<T>(values: Vec<T>) -> Vec<Compact<T>> {
    values.into_iter().map(Compact).collect()
}

/// A fixed-point number; the answer's documentation says how many bits are the fraction.
#[derive(Clone, Copy, Debug, Decode, Default, Encode, Eq, PartialEq, TypeInfo)]
pub struct FixedI64 {
    /// The number times 2 to the fractional bits.
    pub bits: i64,
}

/// See [`FixedI64`].
#[derive(Clone, Copy, Debug, Decode, Default, Encode, Eq, PartialEq, TypeInfo)]
pub struct FixedI128 {
    /// The number times 2 to the fractional bits.
    pub bits: i128,
}

/// See [`FixedI64`].
#[derive(Clone, Copy, Debug, Decode, Default, Encode, Eq, PartialEq, TypeInfo)]
pub struct FixedU128 {
    /// The number times 2 to the fractional bits.
    pub bits: u128,
}

/// Where a neuron publishes its measurements. Nobody does here: all zeros.
#[derive(Clone, Copy, Debug, Decode, Default, Encode, Eq, PartialEq, TypeInfo)]
pub struct PrometheusInfo {
    /// Block of the call that published it.
    pub block: u64,
    /// Version the neuron claims.
    pub version: u32,
    /// Address as a number.
    pub ip: u128,
    /// Port.
    pub port: u16,
    /// 4 or 6.
    pub ip_type: u8,
}

/// What a subnet's owner says about it.
#[derive(Clone, Debug, Decode, Default, Encode, Eq, PartialEq, TypeInfo)]
pub struct SubnetIdentityV3 {
    /// Name.
    pub subnet_name: Vec<u8>,
    /// Repository.
    pub github_repo: Vec<u8>,
    /// Whom to write to.
    pub subnet_contact: Vec<u8>,
    /// Page.
    pub subnet_url: Vec<u8>,
    /// Chat.
    pub discord: Vec<u8>,
    /// What it is for.
    pub description: Vec<u8>,
    /// Picture.
    pub logo_url: Vec<u8>,
    /// Anything else.
    pub additional: Vec<u8>,
}

/// What a coldkey says about itself.
#[derive(Clone, Debug, Decode, Default, Encode, Eq, PartialEq, TypeInfo)]
pub struct ChainIdentityV2 {
    /// Name.
    pub name: Vec<u8>,
    /// Page.
    pub url: Vec<u8>,
    /// Repository.
    pub github_repo: Vec<u8>,
    /// Picture.
    pub image: Vec<u8>,
    /// Chat.
    pub discord: Vec<u8>,
    /// What it does.
    pub description: Vec<u8>,
    /// Anything else.
    pub additional: Vec<u8>,
}
