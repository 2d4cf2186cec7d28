//! What miners and the public reach over HTTP.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::key::{Default, Key, Kind};
use super::reader::{address, boolean, integer, Reader};
use super::Section;

const LISTEN: Key = Key::new("api.listen", Kind::Text, Default::Unset)
    .about(
        "Where miners and the public ask about submissions, and leave archives, over HTTP. Nothing \
         listens unless it is set. Put a proxy with TLS in front of it.",
    )
    .example("\"0.0.0.0:8000\"");

const TOKEN_FILE: Key = Key::new("api.token_file", Kind::Path, Default::Unset)
    .about(
        "File with the token that `GET /internal/v1/get_weights` asks for. Without it that route \
         refuses everybody.",
    )
    .example("\"/etc/assay/api.token\"");

const REQUESTS_PER_MINUTE: Key =
    Key::new("api.requests_per_minute", Kind::Integer, Default::Value("120"))
        .about("Requests that one address may make per minute; an upload counts as ten.")
        .example("600");

const BEHIND_PROXY: Key = Key::new("api.behind_proxy", Kind::Boolean, Default::Value("false"))
    .about(
        "Whether a proxy of yours is in front: then the last address of `X-Forwarded-For` is whose \
         requests are counted. Without a proxy anybody could write there what they like.",
    )
    .example("true");

pub(super) const SECTION: Section = Section {
    name: "api",
    about: "What miners and the public reach over HTTP.",
    keys: &[LISTEN, TOKEN_FILE, REQUESTS_PER_MINUTE, BEHIND_PROXY],
};

/// The public HTTP interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// Where it listens; `None` if nowhere.
    pub listen: Option<SocketAddr>,
    /// File with the token for weights, absolute.
    pub token_file: Option<PathBuf>,
    /// Requests of one address per minute.
    pub requests_per_minute: u32,
    /// Whether a trusted proxy names the address.
    pub behind_proxy: bool,
}

impl Api {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let surroundings = reader.surroundings().clone();
        let listen = reader.take_optional(&LISTEN, address);
        let token_file =
            reader.take_optional(&TOKEN_FILE, |value| super::reader::path(value, &surroundings));
        let requests_per_minute = reader.take(&REQUESTS_PER_MINUTE, integer(1, 1_000_000));
        let behind_proxy = reader.take(&BEHIND_PROXY, boolean);
        Some(Self {
            listen: listen?,
            token_file: token_file?,
            requests_per_minute: u32::try_from(requests_per_minute?).unwrap_or(u32::MAX),
            behind_proxy: behind_proxy?,
        })
    }
}
