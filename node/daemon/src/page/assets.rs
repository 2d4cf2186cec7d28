//! The stylesheet and the script, from memory.
//!
//! Their address names what is in them, so a browser keeps them for good and asks for others after
//! an upgrade.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{header, StatusCode};
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};

/// A file that pages name.
#[derive(Debug)]
pub(super) struct Asset {
    /// Its name, with the beginning of its digest.
    name: String,
    kind: &'static str,
    text: &'static str,
}

pub(super) static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("css", "text/css", include_str!("../../templates/style.css")));

pub(super) static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("js", "text/javascript", include_str!("../../templates/live.js")));

impl Asset {
    fn new(ending: &str, kind: &'static str, text: &'static str) -> Self {
        let digest = hex::encode(Sha256::digest(text.as_bytes()));
        let name = format!("{}.{ending}", digest.get(..16).unwrap_or_default());
        Self { name, kind, text }
    }

    /// Where it is asked for.
    pub(super) fn address(&self) -> String {
        format!("/assets/{}", self.name)
    }
}

pub(super) async fn asset(Path(name): Path<String>) -> Response {
    let known = [&*STYLE, &*SCRIPT].into_iter().find(|asset| asset.name == name);
    let Some(asset) = known else { return StatusCode::NOT_FOUND.into_response() };
    let kind = format!("{}; charset=utf-8", asset.kind);
    let headers = [
        (header::CONTENT_TYPE, kind.as_str()),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, asset.text).into_response()
}
