//! Exchange of leases and receipts with other validators.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::Path;

use figment::value::Value;
use node_chain::CERTIFICATE_BYTES_MAX;
use node_core::id::Hotkey;

use super::key::{Default, Key, Kind};
use super::reader::{address, boolean, path, Complaint, Reader};
use super::Section;

const LISTEN: Key = Key::new("peer.listen", Kind::Text, Default::Value("0.0.0.0:8091"))
    .about("Where other validators reach this node by gRPC.")
    .example("\"0.0.0.0:8091\"");

const ADVERTISE: Key = Key::new("peer.advertise", Kind::Text, Default::Unset)
    .about("The public address to publish on chain, when it is published.")
    .example("\"203.0.113.7:8091\"");

const PUBLISH_AXON: Key = Key::new("peer.publish_axon", Kind::Boolean, Default::Value("false"))
    .about("Whether to publish `peer.advertise` on chain (`serve_axon`), so that peers find it.")
    .example("true");

const CERTIFICATE_FILE: Key = Key::new("peer.certificate_file", Kind::Text, Default::Unset)
    .about(
        "A file with the certificate to publish beside `peer.advertise` (`serve_axon_tls`), as the \
         chain keeps it: a byte for the algorithm, then the public key, 65 bytes at most; or the \
         same in hex.",
    )
    .example("\"/etc/assay/certificate\"");

/// Longest such file: the hex digits of the longest certificate, `0x`, and some white space.
const CERTIFICATE_FILE_BYTES_MAX: usize = 2 * CERTIFICATE_BYTES_MAX + 16;

const ENDPOINTS: Key = Key::new("peer.endpoints", Kind::Map, Default::Unset)
    .about(
        "Addresses of validators by hotkey, instead of those on chain; for private networks and \
         for one machine with several nodes.",
    )
    .example("{ 5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY = \"127.0.0.1:8092\" }");

pub(super) const SECTION: Section = Section {
    name: "peer",
    about: "Exchange of leases and receipts with other validators.",
    keys: &[LISTEN, ADVERTISE, PUBLISH_AXON, CERTIFICATE_FILE, ENDPOINTS],
};

/// How peers find this node, and how it finds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where to listen; port 0 lets the host choose.
    pub listen: SocketAddr,
    /// The address to publish on chain; set whenever `publish_axon` is.
    pub advertise: Option<SocketAddr>,
    /// Whether to publish it.
    pub publish_axon: bool,
    /// What to publish with it: a number for the algorithm, then the public key.
    pub certificate: Option<Vec<u8>>,
    /// Addresses that take precedence over those on chain.
    pub endpoints: BTreeMap<Hotkey, SocketAddr>,
}

impl Peer {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let listen = reader.take(&LISTEN, address);
        let advertise = reader.take_optional(&ADVERTISE, public_address);
        let publish_axon = reader.take(&PUBLISH_AXON, boolean);
        let surroundings = reader.surroundings().clone();
        let certificate = reader.take_optional(&CERTIFICATE_FILE, |value| {
            let path = path(value, &surroundings)?;
            read_certificate(&path)
        });
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
        let (listen, certificate, endpoints) = (listen?, certificate?, endpoints?);
        Some(Self { listen, advertise, publish_axon, certificate, endpoints })
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

/// Reads a certificate; a file that consists of hex digits is the hex of one.
fn read_certificate(path: &Path) -> Result<Vec<u8>, Complaint> {
    let unreadable = |error: std::io::Error| {
        Complaint::new(
            format!("cannot read {}: {error}", path.display()),
            "write the certificate there, readable for the node's user; or leave the key out",
        )
    };
    // Checked first: opening a pipe would wait for whoever writes to it.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(unreadable(std::io::Error::other("not a file")));
    }
    let file = File::open(path).map_err(unreadable)?;
    let limit = u64::try_from(CERTIFICATE_FILE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut content = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut content).map_err(unreadable)?;
    parse_certificate(content)
}

fn parse_certificate(content: Vec<u8>) -> Result<Vec<u8>, Complaint> {
    let is_whole = content.len() <= CERTIFICATE_FILE_BYTES_MAX;
    let trimmed = content.trim_ascii();
    let digits = trimmed.strip_prefix(b"0x").unwrap_or(trimmed);
    let certificate = match hex::decode(digits) {
        Ok(decoded) => decoded,
        Err(_) => content,
    };
    if is_whole && (1..=CERTIFICATE_BYTES_MAX).contains(&certificate.len()) {
        return Ok(certificate);
    }
    let got = if is_whole { certificate.len().to_string() } else { "more".to_owned() };
    Err(Complaint::new(
        format!("the file holds no certificate of 1 to {CERTIFICATE_BYTES_MAX} bytes, but {got}"),
        "write a byte for the algorithm and the public key, raw or in hex; PEM files and X.509 \
         certificates are too long for the chain, and a private key has no business there",
    ))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_read_raw_and_in_hex() {
        let key = [&[1][..], &[0xab; 64]].concat();
        let digits = hex::encode(&key);
        let forms =
            [digits.clone(), digits.to_uppercase(), format!("0x{digits}\n"), digits + " \n"];
        for form in forms {
            assert_eq!(parse_certificate(form.clone().into_bytes()), Ok(key.clone()), "{form}");
        }
        assert_eq!(parse_certificate(key.clone()), Ok(key));
        let odd = vec![1, b'\n'];
        assert_eq!(parse_certificate(odd.clone()), Ok(odd), "raw bytes are taken as they are");
        assert_eq!(parse_certificate(b"01".to_vec()), Ok(vec![1]));
    }

    #[test]
    fn an_empty_or_long_certificate_is_refused_with_the_limit() {
        let hex_of_66 = hex::encode([1; 66]).into_bytes();
        for wrong in [vec![], b"0x\n".to_vec(), b" \n".to_vec(), vec![1; 66], hex_of_66] {
            let complaint = parse_certificate(wrong).unwrap_err();
            assert!(complaint.problem.contains("1 to 65 bytes"), "{}", complaint.problem);
        }
        let pem = b"-----BEGIN CERTIFICATE-----".repeat(100);
        let complaint = parse_certificate(pem).unwrap_err();
        assert!(complaint.problem.ends_with("but more"), "{}", complaint.problem);
        assert!(complaint.hint.contains("PEM"), "{}", complaint.hint);
    }

    #[test]
    fn what_is_no_file_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path().to_owned(), dir.path().join("none")] {
            let complaint = read_certificate(&path).unwrap_err();
            assert!(complaint.problem.contains(&path.display().to_string()));
        }
        let path = dir.path().join("certificate");
        std::fs::write(&path, "0107\n").unwrap();
        assert_eq!(read_certificate(&path), Ok(vec![1, 7]));
    }
}
