//! Which chain and which subnet.

use std::fmt;
use std::time::Duration;

use figment::value::Value;
use node_core::id::{BlockHash, Netuid};

use super::key::{Default, Key, Kind};
use super::reader::{boolean, duration, integer, text, texts, Complaint, Reader};
use super::text::hide_credentials;
use super::Section;

const ENDPOINTS: Key = Key::new(
    "chain.endpoints",
    Kind::List,
    Default::Derived("the public endpoint of `chain.network`"),
)
.about(
    "Where the chain is asked, the preferred endpoint first; the next one is taken when one \
     fails. Overrides the endpoint of `chain.network`, unless the network was set closer to the \
     command line.",
)
.example("[\"wss://node.example:443\", \"wss://entrypoint-finney.opentensor.ai:443\"]")
.flag("--subtensor.chain_endpoint")
.bittensor("BT_SUBTENSOR_CHAIN_ENDPOINT");

const NETWORK: Key = Key::new("chain.network", Kind::Text, Default::Value("finney"))
    .about(
        "The chain, by the name Bittensor gives it: `finney`, `test`, `archive`, `local`, or the \
         URL of an endpoint.",
    )
    .example("\"finney\"")
    .flag("--subtensor.network")
    .bittensor("BT_SUBTENSOR_NETWORK");

const NETUID: Key = Key::new("chain.netuid", Kind::Integer, Default::Required)
    .about("The subnet that is validated.")
    .example("3")
    .flag("--netuid")
    .bittensor("BT_NETUID");

const GENESIS: Key =
    Key::new("chain.genesis", Kind::Text, Default::Derived("known for `finney` and `archive`"))
        .about(
            "Hash of the chain's block 0. The node refuses an endpoint of another chain. Where it \
             is not known, the first endpoint's answer is taken.",
        )
        .example("\"0x2f0555cc76fc2840a25a6ea3b9637146806f1f44b090c175ffde2a7e5ab36c03\"");

const ALLOW_INSECURE: Key =
    Key::new("chain.allow_insecure", Kind::Boolean, Default::Value("false"))
        .about(
            "Whether `ws://` endpoints on other machines are accepted. Without TLS, anyone on the \
             way can invent blocks.",
        )
        .example("true");

const CALL_TIMEOUT: Key = Key::new("chain.call_timeout", Kind::Text, Default::Value("30s"))
    .about(
        "How long an endpoint may take to answer before the connection is given up and the next \
         one is asked.",
    )
    .example("\"10s\"");

const SILENCE_MAX: Key = Key::new("chain.silence_max", Kind::Text, Default::Value("60s"))
    .about(
        "How long an endpoint may bring no newer block before it is left: some five blocks of the \
         chain.",
    )
    .example("\"5s\"");

const COMPARE_EVERY: Key = Key::new("chain.compare_every", Kind::Text, Default::Value("60s"))
    .about(
        "How often, about, the other endpoints are asked how far they are. One that lags is not \
         used while another does not.",
    )
    .example("\"5m\"");

pub(super) const SECTION: Section = Section {
    name: "chain",
    about: "Which chain and which subnet.",
    keys: &[
        NETUID,
        NETWORK,
        ENDPOINTS,
        GENESIS,
        ALLOW_INSECURE,
        CALL_TIMEOUT,
        SILENCE_MAX,
        COMPARE_EVERY,
    ],
};

/// The genesis hash of the main network.
const FINNEY_GENESIS: BlockHash = BlockHash([
    0x2f, 0x05, 0x55, 0xcc, 0x76, 0xfc, 0x28, 0x40, 0xa2, 0x5a, 0x6e, 0xa3, 0xb9, 0x63, 0x71, 0x46,
    0x80, 0x6f, 0x1f, 0x44, 0xb0, 0x90, 0xc1, 0x75, 0xff, 0xde, 0x2a, 0x7e, 0x5a, 0xb3, 0x6c, 0x03,
]);

/// Networks that Bittensor names: endpoint and, where it never changes, genesis hash.
const NETWORKS: &[(&str, &str, Option<BlockHash>)] = &[
    ("finney", "wss://entrypoint-finney.opentensor.ai:443", Some(FINNEY_GENESIS)),
    ("archive", "wss://archive.chain.opentensor.ai:443", Some(FINNEY_GENESIS)),
    ("test", "wss://test.finney.opentensor.ai:443", None),
    ("local", "ws://127.0.0.1:9944", None),
];

/// Which chain and which subnet.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Where the chain is asked, the preferred one first; at least one.
    pub endpoints: Vec<Endpoint>,
    /// Its name, or the URL of an endpoint without credentials.
    pub network: String,
    /// The subnet.
    pub netuid: Netuid,
    /// Hash of block 0, where it is known beforehand.
    pub genesis: Option<BlockHash>,
    /// Whether `ws://` to other machines is accepted.
    pub allow_insecure: bool,
    /// How long an endpoint may take to answer.
    pub call_timeout: Duration,
    /// How long it may bring no newer block.
    pub silence_max: Duration,
    /// How often endpoints are compared.
    pub compare_every: Duration,
}

/// A WebSocket URL; may hold an access key, so only [`Self::url`] shows all of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(String);

impl Endpoint {
    /// The URL as it was given. Not for logs.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let is_url = ["ws://", "wss://"]
            .iter()
            .filter_map(|scheme| text.strip_prefix(scheme))
            .any(|rest| !rest.is_empty() && !rest.starts_with('/') && !rest.contains(' '));
        if is_url {
            return Ok(Self(text.to_owned()));
        }
        let hint = if text.starts_with("http://") || text.starts_with("https://") {
            "chains are asked over WebSockets: `ws://` for `http://`, `wss://` for `https://`"
        } else {
            "write it like `wss://host:443` or `ws://127.0.0.1:9944`"
        };
        let problem = format!("`{}` is not a WebSocket URL", hide_credentials(text));
        Err(Complaint::new(problem, hint))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hide_credentials(&self.0))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

/// What a network's name stands for.
struct Network {
    endpoint: Endpoint,
    genesis: Option<BlockHash>,
}

impl Chain {
    /// Reads this section alone; for [`super::Settings::section`].
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let netuid = reader.take(&NETUID, integer(0, u64::from(u16::MAX)));
        let name = reader.take(&NETWORK, text);
        let network = reader.take(&NETWORK, network);
        let endpoints = reader.take_optional(&ENDPOINTS, endpoints);
        let genesis = reader.take_optional(&GENESIS, genesis);
        let allow_insecure = reader.take(&ALLOW_INSECURE, boolean);
        let call_timeout = reader.take(&CALL_TIMEOUT, duration);
        let silence_max = reader.take(&SILENCE_MAX, duration);
        let compare_every = reader.take(&COMPARE_EVERY, duration);

        let (network, given) = (network?, endpoints?);
        let network_wins = reader.origin(&NETWORK).rank() > reader.origin(&ENDPOINTS).rank();
        // Nobody chose the default network when only an endpoint was given.
        let network_is_chosen = network_wins || reader.origin(&NETWORK).rank() > 0;
        let endpoints = match given {
            Some(endpoints) if !network_wins => endpoints,
            _ => {
                reader.derive(&ENDPOINTS, vec![network.endpoint.url()], NETWORK.path);
                vec![network.endpoint.clone()]
            }
        };
        let is_endpoint_given = reader.origin(&ENDPOINTS).rank() > 0;
        let genesis = match (genesis?, network.genesis) {
            (Some(genesis), _) => Some(genesis),
            (None, Some(known)) if network_is_chosen || !is_endpoint_given => {
                reader.derive(&GENESIS, format!("0x{known}"), NETWORK.path);
                Some(known)
            }
            (None, _) => None,
        };
        Some(Self {
            endpoints,
            network: hide_credentials(&name?),
            netuid: Netuid(u16::try_from(netuid?).ok()?),
            genesis,
            allow_insecure: allow_insecure?,
            call_timeout: call_timeout?,
            silence_max: silence_max?,
            compare_every: compare_every?,
        })
    }

    /// How an endpoint is named in status: its place in the list, counted from one, and its URL
    /// without credentials.
    #[must_use]
    pub fn shown(&self, url: &str) -> (u32, String) {
        let index = self.endpoints.iter().position(|endpoint| endpoint.url() == url);
        let place = index.and_then(|index| u32::try_from(index + 1).ok()).unwrap_or(0);
        (place, hide_credentials(url))
    }
}

fn network(value: &Value) -> Result<Network, Complaint> {
    let name = text(value)?;
    if let Some((_, url, genesis)) = NETWORKS.iter().find(|(known, ..)| *known == name) {
        return Ok(Network { endpoint: Endpoint((*url).to_owned()), genesis: *genesis });
    }
    let endpoint = Endpoint::parse(&name).map_err(|_| {
        let known: Vec<String> = NETWORKS.iter().map(|(name, ..)| format!("`{name}`")).collect();
        Complaint::new(
            "not a known network",
            format!("one of {}, or the URL of an endpoint", known.join(", ")),
        )
    })?;
    Ok(Network { endpoint, genesis: None })
}

fn endpoints(value: &Value) -> Result<Vec<Endpoint>, Complaint> {
    let endpoints: Vec<Endpoint> =
        texts(value)?.iter().map(|text| Endpoint::parse(text)).collect::<Result<_, _>>()?;
    if endpoints.is_empty() {
        return Err(Complaint::new("an empty list", "leave the key out to use `chain.network`"));
    }
    Ok(endpoints)
}

fn genesis(value: &Value) -> Result<BlockHash, Complaint> {
    text(value)?
        .parse()
        .map_err(|_| Complaint::new("not a block hash", "write 32 bytes of hex, `0x` in front"))
}
