//! No error of this crate shows an endpoint's credentials.

use std::error::Error;
use std::time::Duration;

use node_core::id::{BlockHash, Netuid};
use node_core::unit::BlockNumber;
use subxt_rpcs::UserError;

use crate::call_error::{call_error, CallError, ConnectError, EndpointError, EndpointFailure};
use crate::client::ChainConfig;
use crate::endpoint::Endpoint;
use crate::follow::FollowError;
use crate::link::{Endpoints, Links};
use crate::read::ReadError;
use crate::refusal::SendRefused;
use crate::runtime::RuntimeError;
use crate::sign::SignError;
use crate::submit::SubmitError;
use crate::trace::TraceError;

const SECRETS: [&str; 4] = ["username", "password", "pathkey", "querykey"];

/// A URL with everything in it that may be secret.
fn with_secrets(scheme: &str, address: &str) -> String {
    format!("{scheme}://username:password@{address}/pathkey?apikey=querykey#querykey")
}

fn endpoint() -> Endpoint {
    Endpoint::new(0, with_secrets("wss", "node.example"))
}

/// What the error and all of its causes print, in both forms.
fn printed(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| (**error).source());
    chain.map(|error| format!("{error}\n{error:?}\n{error:#?}\n")).collect()
}

fn assert_hides(error: &(dyn Error + 'static)) {
    let printed = printed(error);
    for secret in SECRETS {
        assert!(!printed.contains(secret), "{secret} in:\n{printed}");
    }
}

/// A foreign error that repeats the whole URL, as a redirection does.
fn foreign() -> subxt_rpcs::Error {
    subxt_rpcs::Error::Client(Box::new(std::io::Error::other(format!(
        "redirected to {}, not /pathkey?apikey=querykey",
        endpoint().url()
    ))))
}

fn refusal() -> subxt_rpcs::Error {
    subxt_rpcs::Error::User(UserError {
        code: -32_000,
        message: "no such key: querykey".to_owned(),
        data: Some(serde_json::value::to_raw_value("pathkey of username").unwrap()),
    })
}

/// Every way in which the call to an endpoint fails, made as the link makes it.
fn call_errors() -> Vec<CallError> {
    let at = endpoint();
    let deadline = CallError::Deadline {
        endpoint: at.shown().to_owned(),
        method: "chain_getHeader",
        after_ms: 1,
    };
    let error = at.told(&foreign());
    let failure = EndpointFailure {
        endpoint: at.shown().to_owned(),
        error: EndpointError::Unreachable(error),
    };
    vec![
        call_error(foreign(), &at, "chain_getHeader"),
        call_error(refusal(), &at, "chain_getHeader"),
        deadline,
        CallError::NoEndpoint(ConnectError::AllFailed(vec![failure])),
    ]
}

#[test]
fn a_failed_call_shows_no_credentials_whatever_quotes_it() {
    let wrap: [fn(CallError) -> Box<dyn Error>; 9] = [
        |source| Box::new(source),
        |source| Box::new(FollowError::Call(source)),
        |source| Box::new(TraceError::Call(source)),
        |source| Box::new(SendRefused::Unreachable(source)),
        |source| Box::new(SubmitError::Call { call: "serve_axon", source }),
        |source| Box::new(SignError::Call(source)),
        |source| Box::new(ReadError::Height { number: BlockNumber(1), source: Box::new(source) }),
        |source| {
            let block = BlockHash([1; 32]);
            Box::new(ReadError::Call { what: "the header", block, source: Box::new(source) })
        },
        |source| {
            let block = BlockHash([1; 32]);
            Box::new(RuntimeError::Call { block, source: Box::new(source) })
        },
    ];
    for wrap in wrap {
        for error in call_errors() {
            let error = wrap(error);
            assert_hides(error.as_ref());
            assert!(printed(error.as_ref()).contains("wss://node.example:443/***"), "{error}");
        }
    }
    let CallError::Refused { source, .. } = call_error(refusal(), &endpoint(), "x") else {
        panic!("a refusal is one")
    };
    assert_hides(&SendRefused::Other(source));
}

/// Really connects: to a port where nobody listens, unencrypted, and to what is no URL.
#[tokio::test]
async fn a_failed_connection_shows_no_credentials() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let urls = [
        with_secrets("ws", &address),
        with_secrets("wss", &address),
        with_secrets("ws", "192.0.2.1:9"),
        with_secrets("wss", "node.example:99999"),
        "username:password@node.example".to_owned(),
    ];
    let config = ChainConfig::new(urls.to_vec(), Netuid(1));
    let shown = format!("{config:?}");
    assert!(shown.contains(&address) && shown.contains("silence_max"), "{shown}");
    let list = urls.into_iter().enumerate().map(|(index, url)| Endpoint::new(index, url));
    let endpoints = Endpoints {
        list: list.collect(),
        allow_insecure: false,
        call_timeout: Duration::from_secs(10),
    };
    let debug = format!("{endpoints:?}");
    for secret in SECRETS {
        assert!(!shown.contains(secret) && !debug.contains(secret), "{shown}\n{debug}");
    }
    let error = Links::new(endpoints, None).connect().await.unwrap_err();
    assert_hides(&error);
    assert!(error.to_string().contains(&format!("`ws://{address}/***`")), "{error}");
    let ConnectError::AllFailed(failures) = error else { panic!("{error}") };
    assert_eq!(failures.len(), 5);
    for failure in &failures {
        assert_hides(&failure.error);
        assert!(!format!("{failure:?}").contains("password"));
    }
}
