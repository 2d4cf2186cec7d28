//! Status, readiness and metrics over HTTP.

use std::net::SocketAddr;

use super::key::{Default, Key, Kind};
use super::reader::{address, Reader};
use super::Section;

const LISTEN: Key = Key::new("admin.listen", Kind::Text, Default::Value("127.0.0.1:9464"))
    .about(
        "Where `/livez`, `/readyz`, `/metrics` and `/status` answer. There is no authentication: \
         keep it on loopback or behind a firewall. Port 0 lets the host choose; `assay status` \
         finds it all the same.",
    )
    .example("\"127.0.0.1:9464\"");

pub(super) const SECTION: Section =
    Section { name: "admin", about: "Status, readiness and metrics over HTTP.", keys: &[LISTEN] };

/// Where the admin listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Address and port; port 0 lets the host choose.
    pub listen: SocketAddr,
}

impl Admin {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self { listen: reader.take(&LISTEN, address)? })
    }
}
