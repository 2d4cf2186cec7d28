//! A drand beacon of one's own, and opening what was sealed for its rounds.
//!
//! Same scheme as quicknet, `bls-unchained-g1-rfc9380`: the public key lies in G2, a round's
//! signature in G1, and the message is the SHA-256 of the round as 64 bits, big end first. What is
//! sealed for a round opens with its signature, so one crate holds both sides.
//!
//! The secret is derived from a constant that everybody can read: this beacon is for local chains
//! and proves nothing. Its crate is its own so that it can be compiled with optimisation while
//! the runtime around it is not; without, checking a pulse takes 42 ms instead of 4.
//!
//! Not here: keeping pulses (the runtime's `drand`), and when to publish them (`localnet`).

mod seal;

pub use seal::{open, seal, OpenError, SealError};

use ark_bls12_381::{Bls12_381, Fr, G1Affine, G1Projective, G2Affine, G2Projective};
use ark_ec::{hashing::HashToCurve, pairing::Pairing, AffineRepr, CurveGroup, PrimeGroup};
use ark_ff::{PrimeField, Zero};
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
use sha2::{Digest, Sha256};
use thiserror::Error;
use timelock::engines::{drand::TinyBLS381, EngineBLS};

/// Bytes of a public key: a compressed point of G2.
pub const PUBLIC_KEY_BYTES: usize = 96;
/// Bytes of a signature: a compressed point of G1.
pub const SIGNATURE_BYTES: usize = 48;

/// What the secret of every local beacon is derived from.
const SECRET_SEED: &[u8] = b"a local chain's beacon, known to all";

/// Why a pulse could not be looked at.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum BeaconError {
    /// Not a point of G2.
    #[error("the beacon's public key is not a point of G2")]
    PublicKey,
    /// Not a point of G1.
    #[error("the signature is not a point of G1")]
    Signature,
    /// The hash has no point; this does not happen with the real hash function.
    #[error("the round cannot be hashed to a point of G1")]
    Message,
}

/// A beacon that whoever has this value can sign for.
#[derive(Clone)]
pub struct LocalBeacon {
    secret: Fr,
    genesis_s: u32,
    period_s: u32,
}

impl std::fmt::Debug for LocalBeacon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalBeacon")
            .field("genesis_s", &self.genesis_s)
            .field("period_s", &self.period_s)
            .finish_non_exhaustive()
    }
}

impl LocalBeacon {
    /// The beacon whose round 1 is published at `genesis_s` (Unix time) and the next ones every
    /// `period_s` seconds (at least 1). All local beacons have the same key.
    pub fn new(genesis_s: u32, period_s: u32) -> Self {
        let secret = Fr::from_be_bytes_mod_order(&Sha256::digest(SECRET_SEED));
        Self { secret, genesis_s, period_s: period_s.max(1) }
    }

    /// Publication of round 1, Unix time in seconds.
    pub fn genesis_s(&self) -> u32 {
        self.genesis_s
    }

    /// Seconds between rounds.
    pub fn period_s(&self) -> u32 {
        self.period_s
    }

    /// The public key, a compressed point of G2.
    pub fn public_key(&self) -> [u8; PUBLIC_KEY_BYTES] {
        let point = (G2Projective::generator() * self.secret).into_affine();
        compressed(&point)
    }

    /// The signature of a round, a compressed point of G1. The same round gives the same bytes.
    ///
    /// # Errors
    ///
    /// [`BeaconError::Message`], which does not happen.
    pub fn sign(&self, round: u64) -> Result<[u8; SIGNATURE_BYTES], BeaconError> {
        let point: G1Projective = message_point(round)? * self.secret;
        Ok(compressed(&point.into_affine()))
    }

    /// When a round is published, Unix time in milliseconds.
    pub fn published_ms(&self, round: u64) -> u64 {
        let since = round.saturating_sub(1).saturating_mul(u64::from(self.period_s));
        u64::from(self.genesis_s).saturating_add(since).saturating_mul(1_000)
    }

    /// The newest round published at `now_ms`, Unix time in milliseconds; 0 before the first.
    pub fn newest_round(&self, now_ms: u64) -> u64 {
        let genesis_ms = u64::from(self.genesis_s) * 1_000;
        now_ms
            .checked_sub(genesis_ms)
            .map_or(0, |since| since / (u64::from(self.period_s) * 1_000) + 1)
    }
}

/// What drand calls a pulse's randomness: the SHA-256 of its signature.
pub fn randomness(signature: &[u8]) -> [u8; 32] {
    Sha256::digest(signature).into()
}

/// Whether a signature is that of a round under a public key. One product of pairings, about four
/// milliseconds.
///
/// # Errors
///
/// [`BeaconError`] if key or signature are not points of their groups.
pub fn verify(public_key: &[u8], round: u64, signature: &[u8]) -> Result<bool, BeaconError> {
    let key = G2Affine::deserialize_compressed(public_key).map_err(|_| BeaconError::PublicKey)?;
    let signature =
        G1Affine::deserialize_compressed(signature).map_err(|_| BeaconError::Signature)?;
    let minus_message = -message_point(round)?;
    // e(signature, g) = e(message, key), as one product.
    let product =
        Bls12_381::multi_pairing([signature, minus_message], [G2Affine::generator(), key]);
    Ok(product.is_zero())
}

/// What is signed: also the identity for which is sealed.
fn message(round: u64) -> [u8; 32] {
    Sha256::digest(round.to_be_bytes()).into()
}

fn message_point(round: u64) -> Result<G1Affine, BeaconError> {
    TinyBLS381::hash_to_curve_map().hash(&message(round)).map_err(|_| BeaconError::Message)
}

/// A point in its compressed form. Points have a fixed length, so nothing is cut off.
fn compressed<const BYTES: usize>(point: &impl CanonicalSerialize) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    // Writing to memory of the right length cannot fail; a wrong length would leave zeros, which
    // are no point, and every test of this crate would see it.
    let _written = point.serialize_compressed(&mut bytes[..]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICKNET_KEY: &str = "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a";
    const ROUND_1000: &str = "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39";
    /// A commitment that the official wheel made for quicknet's round 1000.
    const WHEEL_CIPHERTEXT: &str = "ad538777db9ec643df9184b9293c74ef4899783c5898f961a7655f6b526e4ea43bf0e7c1b63f74d1bafc2dd6bed1dd220fd52a1bf50a7a361029b27505d71b2cfa224aa937a935d620110066c02846666aa3437aa5d4d8f662f02dae9a9d9d942000000000000000c96b5ed6562ec4e068106255bb67edb4a70a882792d7adba36512b030f531c632000000000000000f874709153db388251a48abdcec843b2aa635566465bdd57a8ea6d9c005feb1b63000000000000004700000000000000b345da1a76d908cf2463b349d2cd8b7bd3da7364a1d73e160a53a499dc1d00aeb9092db08458080a1d53f84fc73425fb615e21d3227f6f0d46cc269c05d70c5dae4053789285090c00000000000000930e681f8983d9d4335c9ab308000000000000004145535f47434d5f";
    const WHEEL_PLAINTEXT: &str = "80d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d0c0000010002000cffff00800100f8dc0c0000000000";

    fn bytes(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    fn local() -> LocalBeacon {
        LocalBeacon::new(0, 3)
    }

    #[test]
    fn quicknets_signature_of_round_1000_is_genuine_and_no_other_rounds() {
        let (key, signature) = (bytes(QUICKNET_KEY), bytes(ROUND_1000));
        assert_eq!(verify(&key, 1000, &signature), Ok(true));
        assert_eq!(verify(&key, 1001, &signature), Ok(false));
        assert_eq!(verify(&local().public_key(), 1000, &signature), Ok(false));
    }

    #[test]
    fn a_local_pulse_verifies_under_the_local_key_only() {
        let signature = local().sign(7).unwrap();
        assert_eq!(verify(&local().public_key(), 7, &signature), Ok(true));
        assert_eq!(verify(&local().public_key(), 8, &signature), Ok(false));
        assert_eq!(verify(&bytes(QUICKNET_KEY), 7, &signature), Ok(false));
        assert_eq!(verify(&signature, 7, &signature), Err(BeaconError::PublicKey));
        assert_eq!(verify(&local().public_key(), 7, &[7; 48]), Err(BeaconError::Signature));
    }

    #[test]
    fn rounds_are_published_one_period_apart_beginning_at_genesis() {
        let beacon = LocalBeacon::new(100, 3);
        assert_eq!(beacon.newest_round(99_999), 0);
        for round in 1..5 {
            let at = beacon.published_ms(round);
            assert_eq!(beacon.newest_round(at), round);
            assert_eq!(beacon.newest_round(at - 1), round - 1);
        }
        assert_eq!(beacon.published_ms(2), 103_000);
    }

    #[test]
    fn what_the_official_wheel_sealed_opens_with_quicknets_signature() {
        let opened = open(&bytes(WHEEL_CIPHERTEXT), &bytes(ROUND_1000));
        assert_eq!(opened, Ok(bytes(WHEEL_PLAINTEXT)));
    }

    #[test]
    fn what_is_sealed_opens_with_its_rounds_signature_and_no_other() {
        let beacon = local();
        let sealed = seal(&beacon.public_key(), 12, b"weights", [1; 32]).unwrap();
        assert_eq!(sealed.len(), b"weights".len() + seal::OVERHEAD_BYTES);
        let signature = |round| beacon.sign(round).unwrap();
        assert_eq!(open(&sealed, &signature(12)), Ok(b"weights".to_vec()));
        assert_eq!(open(&sealed, &signature(13)), Err(OpenError::WrongRound));
        assert_eq!(open(&sealed, &[0; 48]), Err(OpenError::Signature));
    }

    #[test]
    fn a_ciphertext_with_any_length_byte_changed_is_refused_and_aborts_nothing() {
        let signature = bytes(ROUND_1000);
        let good = bytes(WHEEL_CIPHERTEXT);
        let nonce_length = good.len() - 8 - 8 - 12 - 8;
        let prefixes = [96, 136, 176, 184, nonce_length];
        for at in prefixes.into_iter().flat_map(|start| start..start + 8) {
            for value in [0, 0x7f, 0xff] {
                let mut hostile = good.clone();
                if hostile[at] == value {
                    continue;
                }
                hostile[at] = value;
                assert!(open(&hostile, &signature).is_err(), "byte {at} = {value}");
            }
        }
    }

    #[test]
    fn a_ciphertext_cut_short_anywhere_is_refused() {
        let signature = bytes(ROUND_1000);
        let good = bytes(WHEEL_CIPHERTEXT);
        for length in 0..good.len() {
            assert_eq!(open(&good[..length], &signature), Err(OpenError::Frame), "{length} bytes");
        }
    }
}
