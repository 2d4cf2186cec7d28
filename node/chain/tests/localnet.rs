//! The chain client against a real local chain: a FRAME runtime behind JSON-RPC, in this process.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

#[path = "localnet_tests/proxy.rs"]
mod proxy;
#[path = "localnet_tests/support.rs"]
mod support;

#[path = "localnet_tests/certificate.rs"]
mod certificate;
#[path = "localnet_tests/connect.rs"]
mod connect;
#[path = "localnet_tests/credentials.rs"]
mod credentials;
#[path = "localnet_tests/endpoints.rs"]
mod endpoints;
#[path = "localnet_tests/shape.rs"]
mod shape;
#[path = "localnet_tests/signing.rs"]
mod signing;
#[path = "localnet_tests/submit.rs"]
mod submit;
#[path = "localnet_tests/view.rs"]
mod view;
#[path = "localnet_tests/view_changes.rs"]
mod view_changes;
#[path = "localnet_tests/view_commits.rs"]
mod view_commits;
#[path = "localnet_tests/view_fallbacks.rs"]
mod view_fallbacks;
