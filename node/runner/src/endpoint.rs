//! Where the engine listens: a setting, `DOCKER_HOST`, or one of the usual sockets.

use std::path::{Path, PathBuf};

use crate::EngineError;

/// The socket of an engine that runs as root.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// One place to look for the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A socket on this host.
    Unix(PathBuf),
    /// `host:port`, plain HTTP.
    Tcp(String),
}

impl Endpoint {
    /// Reads `unix://`, `tcp://` and `http://` addresses, and bare absolute paths.
    pub(crate) fn parse(text: &str) -> Result<Self, EngineError> {
        let unsupported = || EngineError::UnsupportedEndpoint { endpoint: text.to_owned() };
        if let Some(path) = text.strip_prefix("unix://") {
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        if text.starts_with('/') {
            return Ok(Self::Unix(PathBuf::from(text)));
        }
        let address = text
            .strip_prefix("tcp://")
            .or_else(|| text.strip_prefix("http://"))
            .map(|address| address.trim_end_matches('/'))
            .ok_or_else(unsupported)?;
        if address.is_empty() {
            return Err(unsupported());
        }
        Ok(Self::Tcp(address.to_owned()))
    }

    /// The socket, if it is one.
    pub(crate) fn socket(&self) -> Option<&Path> {
        match self {
            Self::Unix(path) => Some(path),
            Self::Tcp(_) => None,
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

/// What the environment says about where to look.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    /// `DOCKER_HOST`.
    pub(crate) docker_host: Option<String>,
    /// `XDG_RUNTIME_DIR`, where a rootless engine has its socket.
    pub(crate) runtime_dir: Option<PathBuf>,
}

impl Surroundings {
    pub(crate) fn of_process() -> Self {
        let text = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            docker_host: text("DOCKER_HOST"),
            runtime_dir: text("XDG_RUNTIME_DIR").map(PathBuf::from),
        }
    }
}

/// The places to look, best first. A named one is the only one.
pub(crate) fn candidates(
    setting: Option<&str>,
    around: &Surroundings,
) -> Result<Vec<Endpoint>, EngineError> {
    if let Some(named) = setting.or(around.docker_host.as_deref()) {
        return Ok(vec![Endpoint::parse(named)?]);
    }
    let rootless = around.runtime_dir.as_ref().map(|dir| dir.join("docker.sock"));
    let sockets = std::iter::once(PathBuf::from(DEFAULT_SOCKET)).chain(rootless);
    Ok(sockets.map(Endpoint::Unix).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(docker_host: Option<&str>) -> Surroundings {
        Surroundings {
            docker_host: docker_host.map(str::to_owned),
            runtime_dir: Some(PathBuf::from("/run/user/7")),
        }
    }

    fn texts(setting: Option<&str>, docker_host: Option<&str>) -> Vec<String> {
        let found = candidates(setting, &around(docker_host)).unwrap();
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_setting_is_the_only_place_and_docker_host_comes_second() {
        assert_eq!(texts(Some("unix:///a.sock"), Some("tcp://b:1")), ["unix:///a.sock"]);
        assert_eq!(texts(None, Some("tcp://b:1")), ["tcp://b:1"]);
    }

    #[test]
    fn without_a_setting_the_default_socket_comes_before_the_rootless_one() {
        let wanted = ["unix:///var/run/docker.sock", "unix:///run/user/7/docker.sock"];
        assert_eq!(texts(None, None), wanted);
    }

    #[test]
    fn an_endpoint_we_cannot_speak_to_is_refused_by_name() {
        for text in ["ssh://host", "npipe://x", "tcp://", "host:2375"] {
            let refused = Endpoint::parse(text).unwrap_err();
            assert!(refused.to_string().contains(text), "{refused}");
        }
    }
}
