//! An endpoint's address, and the part of it that may be shown.
//!
//! Providers put keys into every part of a URL but the host: user and password, a segment of the
//! path, the query. So errors, log lines and states carry [`Endpoint::shown`], and what a foreign
//! library or a node says about an endpoint passes [`Endpoint::hide`] on its way in.
//!
//! Not here: a key in the host's own name, which is shown.

use std::error::Error;
use std::fmt;

use url::Url;

use crate::call_error::BoxedError;

/// Shown for an address that is not a WebSocket or HTTP URL: which part of it is secret cannot be
/// told.
const UNREADABLE: &str = "(not a URL)";

/// What stands for a hidden part.
const HIDDEN: &str = "***";

/// Shortest secret looked for in foreign texts. Lower: `ws` in a path would garble every message.
/// Higher: a short password that a foreign text repeats would be shown.
const SECRET_BYTES_MIN: usize = 4;

/// Causes kept of a foreign error. Higher: a cycle of causes would never end.
const CAUSES_MAX: usize = 16;

/// One of the configured endpoints. Prints as its shown form.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    index: usize,
    url: String,
    shown: String,
    secrets: Vec<String>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({} at {})", self.shown, self.index)
    }
}

impl Endpoint {
    /// `index`: its place among the configured ones, from zero.
    pub(crate) fn new(index: usize, url: String) -> Self {
        let parsed = Url::parse(&url).ok();
        let secrets = parsed.as_ref().map(secrets).unwrap_or_default();
        let shown = parsed.as_ref().and_then(shown).unwrap_or_else(|| UNREADABLE.to_owned());
        Self { index, url, shown, secrets }
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// All of it, for connecting only.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// `scheme://host:port`, and `/***` where there was a path or a query.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// The text without this endpoint's secrets.
    pub(crate) fn hide(&self, text: &str) -> String {
        let is_findable = self.url.len() >= SECRET_BYTES_MIN;
        let hidden =
            if is_findable { text.replace(&self.url, &self.shown) } else { text.to_owned() };
        self.secrets.iter().fold(hidden, |text, secret| text.replace(secret.as_str(), HIDDEN))
    }

    /// The error's messages, without this endpoint's secrets and without anything else that its
    /// `Debug` could print.
    pub(crate) fn told(&self, error: &(dyn Error + 'static)) -> BoxedError {
        let causes = std::iter::successors(error.source(), |cause| (**cause).source());
        let texts: Vec<String> =
            causes.take(CAUSES_MAX).map(|cause| self.hide(&cause.to_string())).collect();
        let wrap = |source, text| Some(Box::new(Told { text, source }));
        let source = texts.into_iter().rev().fold(None, wrap);
        Box::new(Told { text: self.hide(&error.to_string()), source })
    }
}

/// What a foreign error said.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Told {
    text: String,
    #[source]
    source: Option<Box<Told>>,
}

fn shown(url: &Url) -> Option<String> {
    let scheme = url.scheme();
    let host = url.host_str().filter(|_| ["ws", "wss", "http", "https"].contains(&scheme))?;
    let port = url.port_or_known_default()?;
    let is_bare = matches!(url.path(), "" | "/") && url.query().is_none();
    let tail = if is_bare { String::new() } else { format!("/{HIDDEN}") };
    Some(format!("{scheme}://{host}:{port}{tail}"))
}

/// The parts that may be keys, the longest first, so that none leaves another's rest behind.
fn secrets(url: &Url) -> Vec<String> {
    let query = url.query().unwrap_or_default();
    let values = query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value));
    let mut parts: Vec<String> = [url.username(), url.password().unwrap_or_default(), query]
        .into_iter()
        .chain(url.fragment())
        .chain(values)
        .chain(url.path().split('/'))
        .filter(|part| part.len() >= SECRET_BYTES_MIN)
        .map(str::to_owned)
        .collect();
    parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Endpoint {
        Endpoint::new(0, url.to_owned())
    }

    #[test]
    fn an_endpoint_is_shown_without_its_secrets() {
        let table = [
            ("ws://127.0.0.1:9944", "ws://127.0.0.1:9944"),
            ("wss://node.example:443", "wss://node.example:443"),
            ("wss://node.example/", "wss://node.example:443"),
            ("ws://user:secret@host", "ws://host:80"),
            ("ws://user:secret@host/?apikey=secret", "ws://host:80/***"),
            ("wss://host:8443/secret", "wss://host:8443/***"),
            ("wss://host#secret", "wss://host:443"),
            ("wss:user:secret@host", "wss://host:443"),
            ("wss://user:se@cret@host", "wss://host:443"),
            ("ws://user:secret@[::1]:9944", "ws://[::1]:9944"),
            ("user:secret@host:9944", UNREADABLE),
            ("ftp://user:secret@host", UNREADABLE),
            ("wss://user:secret@", UNREADABLE),
            ("wss://user:secret@host:99999", UNREADABLE),
            ("", UNREADABLE),
        ];
        for (url, expected) in table {
            assert_eq!(endpoint(url).shown(), expected, "{url}");
            assert!(!format!("{:?}", endpoint(url)).contains("secret"), "{url}");
        }
    }

    #[test]
    fn foreign_texts_lose_the_secrets_and_keep_the_rest() {
        let endpoint = endpoint("wss://someone:secret@host/ws/pathkey?apikey=abcdef&x=y#fragment");
        let text =
            "301 to wss://someone:secret@host/ws/pathkey?apikey=abcdef, key abcdef, fragment";
        assert_eq!(
            endpoint.hide(text),
            "301 to wss://***:***@host/ws/***?apikey=***, key ***, ***"
        );
        assert_eq!(endpoint.hide(endpoint.url()), "wss://host:443/***");
    }

    #[test]
    fn an_address_too_short_to_look_for_garbles_no_text() {
        for url in ["", "a", "ws"] {
            assert_eq!(endpoint(url).hide("a text about ws"), "a text about ws");
        }
    }

    #[test]
    fn a_foreign_error_keeps_its_causes_in_their_order() {
        let inner = Told { text: "key secret is wrong".to_owned(), source: None };
        let outer = Told { text: "refused".to_owned(), source: Some(Box::new(inner)) };
        let told = endpoint("wss://host/secret").told(&outer);
        assert_eq!(told.to_string(), "refused");
        assert_eq!(told.source().unwrap().to_string(), "key *** is wrong");
        assert!(!format!("{told:?}").contains("secret"));
    }
}
