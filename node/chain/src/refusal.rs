//! Why the pool did not take an extrinsic, by name.
//!
//! Nodes say it with a JSON-RPC code and, for most of them, a text in the error's data. Texts are
//! matched without regard to case; what is not recognised is passed on as it came.

use chain_metadata::refusal as known;
use node_core::unit::BlockNumber;

use crate::link::{CallError, RpcRefusal};

/// The pool has the extrinsic. That is not yet "landed".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendAccepted {
    /// It was new to the pool.
    New,
    /// The pool had it already: an earlier send of the same bytes arrived.
    Known,
}

/// Why the pool does not have the extrinsic, and what the node does about it.
///
/// While a signature of weights may still land nothing else is signed; its bytes are offered again
/// every few blocks, and a new one is made when its era is over.
#[derive(Debug, thiserror::Error)]
pub enum SendRefused {
    /// The nonce was used by an included extrinsic, possibly this one.
    #[error("the nonce was already used; the node looks for what used it in finalized blocks")]
    StaleNonce,
    /// The era is over: these bytes can never land any more.
    #[error("the era ended at block {era_end}, and the chain is at {best}; the node signs anew")]
    EraOver {
        /// First block in which it was no longer valid.
        era_end: BlockNumber,
        /// The chain's best block.
        best: BlockNumber,
    },
    /// The signature does not fit: another chain, another runtime, or an era that is over.
    #[error(
        "the signature does not fit, as after a runtime upgrade; the node reads the runtime again \
         and signs anew when these bytes can no longer land"
    )]
    BadSignature,
    /// The account cannot pay the fee.
    #[error("the hotkey cannot pay the fee of this call; transfer a little TAO to it")]
    CannotPay,
    /// The block has no room; later ones may.
    #[error("the block has no room for it; the node offers the same bytes again")]
    Exhausts,
    /// One of the chain's own reasons.
    #[error("the chain refuses: {name} ({code}); {}", next_step(*.code))]
    Custom {
        /// The chain's number for it.
        code: u8,
        /// Its name, `unknown` for a number that this build does not know.
        name: &'static str,
    },
    /// Invalid for a reason not known here.
    #[error("the extrinsic is invalid: {detail}; the node offers it again until its era is over")]
    Invalid {
        /// The node's words.
        detail: String,
    },
    /// The runtime could not tell whether it is valid.
    #[error("the runtime could not validate the extrinsic: {detail}; the node offers it again")]
    UnknownValidity {
        /// The node's words.
        detail: String,
    },
    /// These bytes were included or refused a moment ago; the node will not look at them again
    /// for a while.
    #[error(
        "these bytes were included or refused a moment ago; the node looks for them in finalized \
         blocks, and signs anew when they can no longer land"
    )]
    Banned,
    /// Another extrinsic with this nonce is pending; it cannot be replaced.
    #[error("another extrinsic of this hotkey is pending; the node waits for what becomes of it")]
    NonceTaken,
    /// The pool is full.
    #[error("the endpoint's pool is full; the node offers the same bytes again")]
    PoolFull,
    /// The node cannot decode the bytes: another runtime.
    #[error("the endpoint cannot decode the extrinsic: {detail}; see `assay chain check`")]
    Undecodable {
        /// The node's words.
        detail: String,
    },
    /// Another answer.
    #[error("the endpoint refused the extrinsic; the node offers it again")]
    Other(#[source] RpcRefusal),
    /// No endpoint took the bytes. One of them may have received them all the same.
    #[error("no endpoint could be reached; the node offers the same bytes again")]
    Unreachable(#[source] CallError),
}

/// What is done about one of the chain's own reasons.
fn next_step(code: u8) -> &'static str {
    match code {
        0 | 21 => "a coldkey swap was announced: if it was not you, act now",
        1 => "the hotkey needs more stake; nothing is signed below the threshold",
        3 => "the subnet is gone; check `chain.netuid`",
        6 => "something else updated this hotkey, or too soon; the node waits for the rate limit",
        10 | 19 => "the hotkey is not registered; register it again",
        11 | 13 => "set an address and a port that the chain takes",
        12 => "the address was published a moment ago; the node waits",
        15 => "the chain's clock went on; the node signs anew with a later round",
        16 | 17 => "no commit of ours is open now; the node looks at the next block",
        _ => "the node looks again at the next block",
    }
}

/// Sorts a node's answer to `author_submitExtrinsic`.
pub(crate) fn classify(refusal: RpcRefusal) -> Result<SendAccepted, SendRefused> {
    let detail = refusal.data.clone().unwrap_or_else(|| refusal.message.clone());
    Err(match refusal.code {
        known::CODE_ALREADY_IMPORTED => return Ok(SendAccepted::Known),
        known::CODE_INVALID => invalid(detail),
        known::CODE_UNKNOWN_VALIDITY => SendRefused::UnknownValidity { detail },
        known::CODE_BANNED => SendRefused::Banned,
        known::CODE_PRIORITY_TOO_LOW => SendRefused::NonceTaken,
        known::CODE_DROPPED => SendRefused::PoolFull,
        known::CODE_UNDECODABLE => SendRefused::Undecodable { detail },
        _ => SendRefused::Other(refusal),
    })
}

fn invalid(detail: String) -> SendRefused {
    let text = detail.to_lowercase();
    if let Some(code) = custom_code(&text) {
        let name = known::custom_name(code).unwrap_or("unknown");
        return SendRefused::Custom { code, name };
    }
    let says = |phrase: &str| text.contains(phrase);
    if says(known::TEXT_STALE) {
        SendRefused::StaleNonce
    } else if says(known::TEXT_BAD_SIGNATURE) || says(known::TEXT_ANCIENT) {
        SendRefused::BadSignature
    } else if says(known::TEXT_CANNOT_PAY) {
        SendRefused::CannotPay
    } else if says(known::TEXT_EXHAUSTS) {
        SendRefused::Exhausts
    } else {
        SendRefused::Invalid { detail }
    }
}

fn custom_code(text: &str) -> Option<u8> {
    let (_, rest) = text.split_once(known::TEXT_CUSTOM)?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: i32, data: Option<&str>) -> String {
        let refusal = RpcRefusal {
            code,
            message: "Invalid Transaction".to_owned(),
            data: data.map(str::to_owned),
        };
        match classify(refusal) {
            Ok(accepted) => format!("{accepted:?}"),
            Err(refused) => format!("{refused:?}"),
        }
    }

    #[test]
    fn each_refusal_says_what_happens_next() {
        let custom = |code| SendRefused::Custom { code, name: "x" }.to_string();
        assert!(custom(6).contains("waits for the rate limit"));
        assert!(custom(15).contains("later round"));
        assert!(custom(200).contains("next block"));
        assert!(SendRefused::BadSignature.to_string().contains("reads the runtime again"));
    }

    #[test]
    fn each_answer_of_a_node_has_its_name() {
        let table = [
            (1010, Some("Transaction is outdated"), "StaleNonce"),
            (1010, Some("Transaction has a bad signature"), "BadSignature"),
            (1010, Some("Transaction has an ancient birth block"), "BadSignature"),
            (1010, Some("Transaction would exhaust the block limits"), "Exhausts"),
            (1010, Some("Inability to pay some fees (e.g. account balance too low)"), "CannotPay"),
            (1010, Some("Custom error: 6"), r#"Custom { code: 6, name: "RateLimitExceeded" }"#),
            (1010, Some("Custom error: 255"), r#"Custom { code: 255, name: "BadRequest" }"#),
            (1010, Some("Custom error: 99"), r#"Custom { code: 99, name: "unknown" }"#),
            (1010, Some("Custom error: 300"), r#"Invalid { detail: "Custom error: 300" }"#),
            (1010, Some("Transaction call is not expected"), "Invalid {"),
            (1010, None, r#"Invalid { detail: "Invalid Transaction" }"#),
            (1011, Some("Could not lookup"), "UnknownValidity {"),
            (1012, None, "Banned"),
            (1013, None, "Known"),
            (1014, None, "NonceTaken"),
            (1016, None, "PoolFull"),
            (1002, Some("Could not decode"), "Undecodable {"),
            (-32_000, Some("something"), "Other(RpcRefusal { code: -32000"),
        ];
        for (code, data, expected) in table {
            let got = answer(code, data);
            assert!(got.starts_with(expected), "{code} {data:?}: {got}");
        }
    }
}
