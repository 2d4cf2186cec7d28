//! What keeps a page from being used against its reader.
//!
//! - A name that somebody else owns can be made to point at this machine, and a browser would then
//!   hand that somebody what is read here. A listener on loopback therefore answers only to
//!   addresses and to `localhost`.
//! - Nothing but our own stylesheet and script is loaded or run, whatever a foreign text contains.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::PageState;

/// What a browser may do with a page: nothing from elsewhere, nothing inline, no frames, no forms.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
                                 connect-src 'self'; img-src 'self' data:; base-uri 'none'; \
                                 form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 3] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// Puts the headers on every answer.
pub(super) async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // What is shown is of this moment, and a shared browser should not remember it.
    let no_store = HeaderValue::from_static("no-store");
    headers.entry(header::CACHE_CONTROL).or_insert(no_store);
    response
}

/// Refuses a request under a name that is not this machine's, where only this machine asks.
pub(super) async fn only_by_address(
    State(state): State<PageState>,
    request: Request,
    next: Next,
) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if !state.is_loopback || host.is_some_and(is_own_name) {
        return next.run(request).await;
    }
    let message = "this page answers only to an address, such as 127.0.0.1, or to `localhost`\n";
    (StatusCode::MISDIRECTED_REQUEST, message).into_response()
}

/// Whether a `Host` header names an address or `localhost`, with or without a port.
fn is_own_name(host: &str) -> bool {
    if let Some(bracketed) = host.strip_prefix('[') {
        let address = bracketed.split_once(']').map(|(address, port)| (address, is_port(port)));
        return address
            .is_some_and(|(address, is_port)| is_port && address.parse::<Ipv6Addr>().is_ok());
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok()
}

/// Nothing, or a colon and digits.
fn is_port(text: &str) -> bool {
    let digits = text.strip_prefix(':');
    text.is_empty() || digits.is_some_and(|digits| digits.bytes().all(|one| one.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_localhost_are_own_names_and_nothing_else_is() {
        for own in
            ["127.0.0.1", "127.0.0.1:9100", "[::1]", "[::1]:9100", "localhost:9100", "LocalHost"]
        {
            assert!(is_own_name(own), "{own}");
        }
        for foreign in [
            "",
            "evil.example",
            "evil.example:9100",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "[::1].evil.example",
            "[::1",
            "[evil.example]:80",
            "0x7f000001",
        ] {
            assert!(!is_own_name(foreign), "{foreign}");
        }
    }
}
