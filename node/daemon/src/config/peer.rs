//! Exchange of leases and receipts with other validators.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use figment::value::Value;
use node_core::id::Hotkey;

use super::key::{Default, Key, Kind};
use super::reader::{address, boolean, Complaint, Reader};
use super::Section;

const LISTEN: Key = Key::new("peer.listen", Kind::Text, Default::Value("0.0.0.0:8091"))
    .about("Where other validators reach this node by gRPC.")
    .example("\"0.0.0.0:8091\"");

const ADVERTISE: Key = Key::new("peer.advertise", Kind::Text, Default::Unset)
    .about("The public address to publish on chain, when it is published.")
    .example("\"203.0.113.7:8091\"");

const PUBLISH_AXON: Key = Key::new("peer.publish_axon", Kind::Boolean, Default::Value("false"))
    .about(
        "Whether to publish `peer.advertise` on chain, so that peers find it, and with it the key \
         of this node's connections, so that they take no other (`serve_axon_tls`).",
    )
    .example("true");

const ENDPOINTS: Key = Key::new("peer.endpoints", Kind::Map, Default::Unset)
    .about(
        "Addresses of validators by hotkey, instead of those on chain; for private networks and \
         for one machine with several nodes.",
    )
    .example("{ 5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY = \"127.0.0.1:8092\" }");

pub(super) const SECTION: Section = Section {
    name: "peer",
    about: "Exchange of leases and receipts with other validators.",
    keys: &[LISTEN, ADVERTISE, PUBLISH_AXON, ENDPOINTS],
};

/// How peers find this node, and how it finds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where to listen; port 0 lets the host choose.
    pub listen: SocketAddr,
    /// The address to publish on chain; set whenever `publish_axon` is.
    pub advertise: Option<SocketAddr>,
    /// Whether to publish it, and the key of connections with it.
    pub publish_axon: bool,
    /// Addresses that take precedence over those on chain.
    pub endpoints: BTreeMap<Hotkey, SocketAddr>,
}

impl Peer {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let listen = reader.take(&LISTEN, address);
        let advertise = reader.take_optional(&ADVERTISE, public_address);
        let publish_axon = reader.take(&PUBLISH_AXON, boolean);
        let endpoints = read_endpoints(reader);
        let (advertise, publish_axon) = (advertise?, publish_axon?);
        if publish_axon && advertise.is_none() {
            reader.reject(
                &PUBLISH_AXON,
                Complaint::new(
                    "there is no address to publish",
                    "set `peer.advertise` to the public address of `peer.listen`",
                ),
            );
            return None;
        }
        let (listen, endpoints) = (listen?, endpoints?);
        Some(Self { listen, advertise, publish_axon, endpoints })
    }
}

/// An address others can use. Loopback is left to the chain: real ones refuse it, a local one
/// with several nodes on one machine needs it.
fn public_address(value: &Value) -> Result<SocketAddr, Complaint> {
    let address = address(value)?;
    if address.ip().is_unspecified() || address.port() == 0 {
        return Err(Complaint::new(
            "an address that nobody else can reach",
            "write the public IP address and the port that is forwarded to `peer.listen`",
        ));
    }
    Ok(address)
}

/// Every entry, also behind a wrong one, so that all errors are found.
fn read_endpoints(reader: &mut Reader<'_>) -> Option<BTreeMap<Hotkey, SocketAddr>> {
    let entries = reader.take_optional(&ENDPOINTS, |value| {
        value.as_dict().cloned().ok_or_else(|| {
            Complaint::new("not a table", "write it like `{ <hotkey> = \"<ip>:<port>\" }`")
        })
    })?;
    let entries = entries.unwrap_or_default();
    let mut endpoints = BTreeMap::new();
    for (name, value) in &entries {
        let path = format!("{}.{name}", ENDPOINTS.path);
        let entry = name
            .parse::<Hotkey>()
            .map_err(|error| Complaint::new(error.to_string(), "the key is an SS58 hotkey"))
            .and_then(|hotkey| Ok((hotkey, address(value)?)));
        match entry {
            Ok((hotkey, address)) => {
                endpoints.insert(hotkey, address);
            }
            Err(complaint) => reader.complain(&path, Some(value), complaint),
        }
    }
    (endpoints.len() == entries.len()).then_some(endpoints)
}
