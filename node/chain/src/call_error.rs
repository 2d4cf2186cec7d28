//! Why the chain did not answer: the failures of calls and of connections.
//!
//! Errors name an endpoint by its shown form, without credentials (`endpoint`); what a node or the
//! transport says passes [`Endpoint::hide`] here, and nowhere later.

use std::time::Duration;

use node_core::id::BlockHash;

use crate::endpoint::Endpoint;

/// An error of the transport: its messages, without the credentials of the endpoint.
pub type BoxedError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Codes with which public nodes say that they do no more work for us.
const CODES_THROTTLED: [i32; 2] = [-32_004, -32_005];

/// What they say with other codes.
const TEXTS_THROTTLED: [&str; 3] = ["too many requests", "rate limit", "request limit"];

/// What the transport says when the handshake was answered with "forbidden" or "too many".
const TEXTS_TURNED_AWAY: [&str; 2] = ["status code: 429", "status code: 403"];

/// What the transport says when something answers that does not speak WebSocket: a web server, or
/// a server of TLS where none was expected, and the other way round.
const TEXTS_OTHER_SERVICE: [&str; 8] = [
    "http version was not 1.1",
    "http parser error",
    "invalidcontenttype",
    "status code: 200",
    "status code: 400",
    "status code: 404",
    "status code: 405",
    "status code: 426",
];

fn in_brackets(data: Option<&str>) -> String {
    data.map(|data| format!(" ({data})")).unwrap_or_default()
}

/// What a node answered instead of a result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node answered {code}: {message}{}", in_brackets(.data.as_deref()))]
pub struct RpcRefusal {
    /// JSON-RPC error code.
    pub code: i32,
    /// Its message.
    pub message: String,
    /// Its data as text; the reason is often only here.
    pub data: Option<String>,
}

/// Whether the node limits how much it answers, rather than what was asked.
fn is_throttling(code: i32, message: &str) -> bool {
    let message = message.to_lowercase();
    CODES_THROTTLED.contains(&code) || TEXTS_THROTTLED.iter().any(|text| message.contains(text))
}

/// Why a call to the chain has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No endpoint could be connected to.
    #[error("no endpoint can be used")]
    NoEndpoint(#[source] ConnectError),
    /// The endpoint did not answer in time.
    #[error("`{endpoint}` did not answer `{method}` within {after_ms} ms")]
    Deadline {
        /// The endpoint, without credentials.
        endpoint: String,
        /// The RPC method.
        method: &'static str,
        /// The deadline.
        after_ms: u64,
    },
    /// The connection broke, or the answer was not one.
    #[error("the call `{method}` to `{endpoint}` failed")]
    Transport {
        /// The endpoint, without credentials.
        endpoint: String,
        /// The RPC method.
        method: &'static str,
        /// Why.
        #[source]
        source: BoxedError,
    },
    /// The endpoint limits how much it answers; it is left alone for a while.
    #[error("`{endpoint}` limits how much it answers, and refused `{method}`; it is left alone")]
    Throttled {
        /// The endpoint, without credentials.
        endpoint: String,
        /// The RPC method.
        method: &'static str,
        /// Its answer.
        #[source]
        source: RpcRefusal,
    },
    /// The node refused the call.
    #[error("`{endpoint}` refused `{method}`")]
    Refused {
        /// The endpoint, without credentials.
        endpoint: String,
        /// The RPC method.
        method: &'static str,
        /// Its answer.
        #[source]
        source: RpcRefusal,
    },
}

impl CallError {
    /// Whether another endpoint, or the same one later, may answer the same call.
    #[must_use]
    pub fn is_on_the_way(&self) -> bool {
        matches!(self, Self::Deadline { .. } | Self::Transport { .. } | Self::Throttled { .. })
    }
}

/// Why no endpoint can be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// None was configured.
    #[error("no endpoint is configured")]
    NoneConfigured,
    /// Each one failed; the reasons in the order tried.
    #[error("{}{}", none_of(.0.len()), list(.0))]
    AllFailed(Vec<EndpointFailure>),
}

impl ConnectError {
    /// Whether no endpoint can be used before the configuration changes.
    #[must_use]
    pub fn is_for_good(&self) -> bool {
        match self {
            Self::NoneConfigured => true,
            Self::AllFailed(failures) => failures.iter().all(|failure| failure.error.is_for_good()),
        }
    }
}

/// An endpoint and why it cannot be used.
#[derive(Debug)]
pub struct EndpointFailure {
    /// The endpoint, without credentials.
    pub endpoint: String,
    /// Why.
    pub error: EndpointError,
}

/// Why an endpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The address is not a URL.
    #[error("not a URL")]
    NotAUrl(#[source] BoxedError),
    /// The connection would be readable and changeable on the way.
    #[error(
        "not encrypted: use `wss://`, or a loopback address, or allow it \
             (`chain.allow_insecure`)"
    )]
    Insecure,
    /// It did not answer in time.
    #[error("no answer within {after_ms} ms")]
    Deadline {
        /// The deadline.
        after_ms: u64,
    },
    /// It cannot be reached, or does not speak JSON-RPC.
    #[error("cannot be reached: {}", root_cause(.0.as_ref()))]
    Unreachable(#[source] BoxedError),
    /// Something answers, and not as a chain's node does.
    #[error(
        "something else than a chain's node answers there ({}); the port of a node's JSON-RPC is \
         meant",
        root_cause(.0.as_ref())
    )]
    OtherService(#[source] BoxedError),
    /// It limits how much it answers, and does not answer us at present.
    #[error("turns us away for now: {}", root_cause(.0.as_ref()))]
    Throttled(#[source] BoxedError),
    /// It limited how much it answers a moment ago, and is left alone.
    #[error("left alone for another {for_ms} ms, as it limits how much it answers")]
    LeftAlone {
        /// How much longer.
        for_ms: u64,
    },
    /// It has no block 0 yet.
    #[error("does not know its own block 0")]
    NoGenesis,
    /// It serves another chain.
    #[error("serves the chain {got}, not {expected}; not used until restart")]
    WrongGenesis {
        /// The genesis expected.
        expected: BlockHash,
        /// The genesis found.
        got: BlockHash,
    },
}

impl EndpointError {
    fn is_for_good(&self) -> bool {
        matches!(self, Self::NotAUrl(_) | Self::Insecure | Self::WrongGenesis { .. })
    }
}

/// What stands before the endpoints' reasons, if there are several.
fn none_of(count: usize) -> String {
    match count {
        1 => String::new(),
        count => format!("none of {count} endpoints can be used: "),
    }
}

fn list(failures: &[EndpointFailure]) -> String {
    let line = |failure: &EndpointFailure| format!("`{}`: {}", failure.endpoint, failure.error);
    failures.iter().map(line).collect::<Vec<_>>().join("; ")
}

fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// The error with all its causes, for one line of a log or of `status`.
pub(crate) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| (**error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// What became of a call, from what the transport says.
pub(crate) fn call_error(
    error: subxt_rpcs::Error,
    at: &Endpoint,
    method: &'static str,
) -> CallError {
    let endpoint = at.shown().to_owned();
    match error {
        subxt_rpcs::Error::User(user) => {
            let source = RpcRefusal {
                code: user.code,
                message: at.hide(&user.message),
                data: user.data.map(|data| at.hide(&plain_text(data.get()))),
            };
            if is_throttling(source.code, &source.message) {
                CallError::Throttled { endpoint, method, source }
            } else {
                CallError::Refused { endpoint, method, source }
            }
        }
        other => CallError::Transport { endpoint, method, source: at.told(&other) },
    }
}

/// Why a connection was not made, from what the transport says.
pub(crate) fn endpoint_error(error: &subxt_rpcs::Error, at: &Endpoint) -> EndpointError {
    let told = at.told(error);
    if let subxt_rpcs::Error::User(user) = error {
        return if is_throttling(user.code, &user.message) {
            EndpointError::Throttled(told)
        } else {
            EndpointError::Unreachable(told)
        };
    }
    let text = with_causes(error).to_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    if says(&TEXTS_TURNED_AWAY) {
        EndpointError::Throttled(told)
    } else if says(&TEXTS_OTHER_SERVICE) {
        EndpointError::OtherService(told)
    } else {
        EndpointError::Unreachable(told)
    }
}

/// A JSON string without its quotes; other JSON as it is.
fn plain_text(json: &str) -> String {
    serde_json::from_str::<String>(json).unwrap_or_else(|_| json.to_owned())
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_limits_its_work_is_told_from_one_that_refuses_a_question() {
        let table = [
            (-32_005, "storage work limit", true),
            (-32_004, "limit", true),
            (-32_000, "Too Many Requests", true),
            (429, "rate limit exceeded", true),
            (-32_601, "Method not found", false),
            (1010, "Invalid Transaction", false),
        ];
        for (code, message, expected) in table {
            assert_eq!(is_throttling(code, message), expected, "{code} {message}");
        }
    }

    #[test]
    fn a_handshake_answered_with_429_or_403_is_throttling() {
        let at = Endpoint::new(0, "wss://node.example/key".to_owned());
        let error = |text: &str| {
            let inner = std::io::Error::other(text.to_owned());
            endpoint_error(&subxt_rpcs::Error::Client(Box::new(inner)), &at)
        };
        for status in [429, 403] {
            let error = error(&format!("Connection rejected with status code: {status}"));
            assert!(matches!(error, EndpointError::Throttled(_)), "{error}");
        }
        let error = error("Connection rejected with status code: 502");
        assert!(matches!(error, EndpointError::Unreachable(_)), "{error}");
    }

    #[test]
    fn a_web_server_and_a_server_of_tls_are_told_from_a_chain_that_is_away() {
        let at = Endpoint::new(0, "ws://127.0.0.1:9464".to_owned());
        let error = |text: &str| {
            let inner = std::io::Error::other(text.to_owned());
            endpoint_error(&subxt_rpcs::Error::Client(Box::new(inner)), &at)
        };
        for text in [
            "http version was not 1.1",
            "http parser error: invalid HTTP version",
            "Connection rejected with status code: 404",
            "received corrupt message of type InvalidContentType",
        ] {
            let error = error(text);
            assert!(matches!(error, EndpointError::OtherService(_)), "{error}");
            assert!(error.to_string().contains("JSON-RPC is meant"), "{error}");
        }
        let error = error("Connection refused (os error 111)");
        assert!(matches!(error, EndpointError::Unreachable(_)), "{error}");
    }

    #[test]
    fn one_endpoint_is_told_without_a_count() {
        let failure = |endpoint: &str| EndpointFailure {
            endpoint: endpoint.to_owned(),
            error: EndpointError::NoGenesis,
        };
        let told = |failures| ConnectError::AllFailed(failures).to_string();
        assert_eq!(told(vec![failure("ws://a")]), "`ws://a`: does not know its own block 0");
        let both = told(vec![failure("ws://a"), failure("ws://b")]);
        assert!(both.starts_with("none of 2 endpoints can be used: `ws://a`: "), "{both}");
    }
}
