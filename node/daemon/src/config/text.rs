//! How values are written for people: one line, quoted like TOML, without credentials.

use figment::value::Value;

/// Parts of a key's name that say that its value is nobody's business.
const SECRET_WORDS: &[&str] =
    &["password", "secret", "seed", "phrase", "mnemonic", "private", "token", "credential"];

/// `value` as it would stand in a file. Credentials in URLs are hidden, as is everything under an
/// unknown key whose name sounds like a secret; no known key holds one.
pub(super) fn show(path: &str, value: &Value) -> String {
    let name = path.to_lowercase();
    let is_known = super::keys().any(|key| key.covers(path));
    if !is_known && SECRET_WORDS.iter().any(|word| name.contains(word)) {
        return "(hidden)".to_owned();
    }
    show_value(value)
}

fn show_value(value: &Value) -> String {
    written(value, &hide_credentials)
}

/// `value` as it has to stand in a file to be read again, credentials and all. Not for people.
pub(super) fn whole(value: &Value) -> String {
    written(value, &str::to_owned)
}

/// - `said`: what of a text is written.
fn written(value: &Value, said: &dyn Fn(&str) -> String) -> String {
    match value {
        Value::String(_, text) => quote(&said(text)),
        Value::Char(_, letter) => quote(&letter.to_string()),
        Value::Bool(_, truth) => truth.to_string(),
        Value::Num(_, number) => number
            .to_u128()
            .map(|number| number.to_string())
            .or_else(|| number.to_i128().map(|number| number.to_string()))
            .or_else(|| number.to_f64().map(|number| number.to_string()))
            .unwrap_or_default(),
        Value::Empty(..) => "(nothing)".to_owned(),
        Value::Array(_, values) => {
            let values = values.iter().map(|value| written(value, said));
            format!("[{}]", values.collect::<Vec<_>>().join(", "))
        }
        Value::Dict(_, entries) => {
            let entries = entries.iter().map(|(name, value)| {
                format!("{} = {}", bare_or_quoted(name), written(value, said))
            });
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

/// Whether a value has a user, a password or a key in one of its URLs, as far as that can be told:
/// of the chain's endpoints, whose providers put keys into path and query, any of these counts.
pub(super) fn holds_credentials(path: &str, value: &Value) -> bool {
    let is_secret = |text: &str| match path {
        "chain.network" | "chain.endpoints" => hide_credentials(text) != text,
        _ => text.parse::<reqwest::Url>().is_ok_and(|url| {
            let has_user = !url.username().is_empty();
            has_user || url.password().is_some() || url.query().is_some()
        }),
    };
    match value {
        Value::String(_, text) => is_secret(text),
        Value::Array(_, values) => values.iter().any(|value| holds_credentials(path, value)),
        Value::Dict(_, entries) => entries.values().any(|value| holds_credentials(path, value)),
        Value::Char(..) | Value::Bool(..) | Value::Num(..) | Value::Empty(..) => false,
    }
}

/// `text` in quotes, with control characters escaped.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            letter if letter.is_control() => {
                out.push_str(&format!("\\u{:04X}", u32::from(letter)));
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

fn bare_or_quoted(name: &str) -> String {
    let is_bare = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    if !name.is_empty() && name.chars().all(is_bare) {
        name.to_owned()
    } else {
        quote(name)
    }
}

/// `text` with user, path and query of every network URL in it replaced: providers put access keys
/// in each of them.
#[must_use]
pub fn hide_credentials(text: &str) -> String {
    let ends_url = |letter: char| {
        letter.is_whitespace() || matches!(letter, '`' | '"' | '\'' | '<' | '>' | ')')
    };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, from_colon) = rest.split_at(at);
        let scheme_at = before
            .char_indices()
            .rev()
            .take_while(|(_, letter)| letter.is_ascii_alphanumeric())
            .last()
            .map_or(at, |(index, _)| index);
        let (before, scheme) = before.split_at(scheme_at);
        let (url, after) =
            from_colon.split_at(from_colon.find(ends_url).unwrap_or(from_colon.len()));
        out.push_str(before);
        out.push_str(&hide_in_url(scheme, url.trim_start_matches("://")));
        rest = after;
    }
    out.push_str(rest);
    out
}

fn hide_in_url(scheme: &str, rest: &str) -> String {
    if !["ws", "wss", "http", "https", "tcp"].contains(&scheme) {
        return format!("{scheme}://{rest}");
    }
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = match authority.rsplit_once('@') {
        Some((_, host)) => format!("***@{host}"),
        None => authority.to_owned(),
    };
    let tail = if tail.is_empty() || tail == "/" { tail } else { "/***" };
    format!("{scheme}://{host}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_urls_are_hidden_and_hosts_are_not() {
        for (given, shown) in [
            ("wss://entrypoint.example:443", "wss://entrypoint.example:443"),
            ("wss://entrypoint.example:443/", "wss://entrypoint.example:443/"),
            ("wss://user:pass@node.example", "wss://***@node.example"),
            ("wss://node.example/v1/0123abc", "wss://node.example/***"),
            ("https://node.example?key=0123", "https://node.example/***"),
            ("unix:///var/run/docker.sock", "unix:///var/run/docker.sock"),
            ("plain", "plain"),
            ("at `wss://h/key` and wss://u:p@h: gone", "at `wss://h/***` and wss://***@h: gone"),
            ("://", "://"),
        ] {
            assert_eq!(hide_credentials(given), shown);
        }
    }

    #[test]
    fn an_unknown_key_that_sounds_secret_never_shows_its_value() {
        assert_eq!(show("wallet.password", &Value::from("hunter2")), "(hidden)");
        assert_eq!(show("wallet.name", &Value::from("default")), "\"default\"");
    }

    #[test]
    fn a_file_gets_values_whole_and_is_told_of_those_that_hold_a_key() {
        let url = Value::from("https://llm.example/v1/chat");
        assert_eq!(whole(&url), "\"https://llm.example/v1/chat\"");
        assert!(!holds_credentials("review.endpoint", &url));
        for secret in ["https://me:word@llm.example", "https://llm.example/v1?key=0123"] {
            assert!(holds_credentials("review.endpoint", &Value::from(secret)), "{secret}");
        }
        let keyed = Value::from(vec!["ws://127.0.0.1:9944", "wss://node.example/v1/0123abc"]);
        assert!(holds_credentials("chain.endpoints", &keyed));
        let plain = Value::from(vec!["ws://127.0.0.1:9944", "wss://node.example:443/"]);
        assert!(!holds_credentials("chain.endpoints", &plain));
    }

    #[test]
    fn values_read_like_toml() {
        assert_eq!(show("x", &Value::from(vec!["a", "b\"c"])), r#"["a", "b\"c"]"#);
        assert_eq!(show("x", &Value::from(-3)), "-3");
        assert_eq!(show("x", &Value::from(3u16)), "3");
        assert_eq!(show("x", &Value::from("bell\u{7}")), r#""bell\u0007""#);
    }
}
