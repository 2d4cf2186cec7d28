//! The container engine.

use figment::value::Value;

use super::key::{Default, Key, Kind};
use super::reader::{text, Complaint, Reader};
use super::Section;

const HOST: Key = Key::new(
    "engine.host",
    Kind::Text,
    Default::Derived("`DOCKER_HOST`, else the usual sockets of Docker"),
)
.about("Where the Docker-compatible engine listens.")
.example("\"unix:///run/user/1000/docker.sock\"");

const RUNTIME: Key = Key::new("engine.runtime", Kind::Text, Default::Unset)
    .about(
        "The OCI runtime for evaluations, by the name the engine knows it; `runc` if unset. `runsc` puts a second wall around submissions on CPU hosts; it reaches the node's socket and pipe only with its own options `--host-uds=open` and `--host-fifo=open`.",
    )
    .example("\"runsc\"");

pub(super) const SECTION: Section =
    Section { name: "engine", about: "The container engine.", keys: &[HOST, RUNTIME] };

/// The container engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    /// Its address: `unix://` and an absolute path, `tcp://` or `http://` and a host. `None`: the
    /// runner looks in the usual places.
    pub host: Option<String>,
    /// The OCI runtime, if another than `runc`.
    pub runtime: Option<String>,
}

impl Engine {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let host = reader.take_optional(&HOST, host);
        let runtime = reader.take_optional(&RUNTIME, text);
        Some(Self { host: host?, runtime: runtime? })
    }
}

fn host(value: &Value) -> Result<String, Complaint> {
    let host = text(value)?;
    let is_socket = host.strip_prefix("unix://").is_some_and(|path| path.starts_with('/'));
    let is_remote = ["tcp://", "http://"]
        .iter()
        .filter_map(|scheme| host.strip_prefix(scheme))
        .any(|rest| !rest.is_empty());
    if is_socket || is_remote {
        Ok(host)
    } else {
        Err(Complaint::new(
            "not the address of an engine",
            "write it like `unix:///var/run/docker.sock` or `tcp://127.0.0.1:2375`",
        ))
    }
}
