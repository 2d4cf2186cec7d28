//! Where traces go.

use figment::value::Value;

use super::key::{Default, Key, Kind};
use super::reader::{url, Complaint, Reader};
use super::Section;

const COLLECTOR: &str = "http://127.0.0.1:4317";

const ENDPOINT: Key = Key::new("traces.endpoint", Kind::Text, Default::Unset)
    .about(
        "The OpenTelemetry collector that gets a trace of each submission, as OTLP over gRPC: its \
         scheme, host and port. It is reached without TLS: keep it on this host or in a private \
         network. Nothing is traced unless it is set.",
    )
    .example("\"http://127.0.0.1:4317\"");

pub(super) const SECTION: Section = Section {
    name: "traces",
    about: "Where traces of submissions go; nowhere unless an endpoint is set.",
    keys: &[ENDPOINT],
};

/// Where traces go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traces {
    /// The collector's URL; `None` if nothing is traced.
    pub endpoint: Option<String>,
}

impl Traces {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self { endpoint: reader.take_optional(&ENDPOINT, collector)? })
    }
}

/// The URL of a collector: nothing behind host and port, which gRPC would not use, and nobody's
/// credentials.
fn collector(value: &Value) -> Result<String, Complaint> {
    let given = url(value, COLLECTOR)?;
    let hint = format!("write it like `{COLLECTOR}`");
    let parsed: reqwest::Url =
        given.parse().map_err(|_| Complaint::new("not a URL", hint.clone()))?;
    if parsed.scheme() != "http" {
        let hint = format!("run a collector on this host that passes traces on: `{COLLECTOR}`");
        return Err(Complaint::new("a collector is reached without TLS", hint));
    }
    let has_user = !parsed.username().is_empty() || parsed.password().is_some();
    let has_more = parsed.path() != "/" || parsed.query().is_some() || parsed.fragment().is_some();
    if has_user || has_more {
        return Err(Complaint::new("more than the scheme, host and port of a collector", hint));
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_scheme_host_and_port() {
        for given in [COLLECTOR, "http://collector.internal:4317", "http://[::1]:4317/"] {
            assert_eq!(collector(&Value::from(given)), Ok(given.to_owned()));
        }
    }

    #[test]
    fn what_a_collector_cannot_be_reached_by_is_refused_with_what_to_write() {
        for (given, problem) in [
            ("127.0.0.1:4317", "not a URL"),
            ("grpc://127.0.0.1:4317", "not a URL"),
            ("", "empty"),
            ("https://collector.example:4317", "a collector is reached without TLS"),
            ("http://127.0.0.1:4318/v1/traces", "more than the scheme, host and port"),
            ("http://me:word@127.0.0.1:4317", "more than the scheme, host and port"),
            ("http://127.0.0.1:4317?key=0123", "more than the scheme, host and port"),
        ] {
            let complaint = collector(&Value::from(given)).unwrap_err();
            assert!(complaint.problem.starts_with(problem), "{given}: {}", complaint.problem);
            assert!(given.is_empty() || complaint.hint.contains(COLLECTOR), "{}", complaint.hint);
        }
    }
}
