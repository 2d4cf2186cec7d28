//! Everything decided before training, as one verdict with its evidence.
//!
//! In this order, the first failure ends it: the archive, the committed digest, the contract.
//! Pure: the same bytes under the same policy give the same verdict on every machine, so a
//! miner's `check` and a validator's admission are one function.

use node_core::admission::{Rejection, Rule, Verdict};
use node_core::id::ContentDigest;
use node_core::policy::Policy;

use crate::archive::{content_digest, read_archive, rejection, Archive};
use crate::contract::check_contract;

/// Decides whether `bytes` are the content that was committed, and follow the rules of `policy`.
///
/// - `expected`: the digest on chain.
/// - Result: the verdict, and the files if they were admitted.
#[must_use]
pub fn admit(
    bytes: &[u8],
    expected: &ContentDigest,
    policy: &Policy,
) -> (Verdict, Option<Archive>) {
    match checked(bytes, expected, policy) {
        Ok(archive) => {
            let files = u32::try_from(archive.files.len()).unwrap_or(u32::MAX);
            let unpacked_bytes = archive.unpacked_bytes();
            (Verdict::Admitted { files, unpacked_bytes }, Some(archive))
        }
        Err(rejection) => (Verdict::Rejected { rejection }, None),
    }
}

fn checked(bytes: &[u8], expected: &ContentDigest, policy: &Policy) -> Result<Archive, Rejection> {
    let archive = read_archive(bytes, &policy.archive)?;
    let got = content_digest(&archive.files);
    if got != *expected {
        let detail = format!("the content has the digest {got}, the commitment names {expected}");
        return Err(rejection(Rule::ContentDigest, None, detail));
    }
    check_contract(&archive)?;
    Ok(archive)
}
