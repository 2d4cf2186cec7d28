//! The standard services beside ours, as their own clients see them.
#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

mod common;

use std::collections::BTreeSet;

use common::wire::{self, soon};
use common::{DevKey, Node};
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::HealthCheckRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::ServerReflectionRequest;

const SERVICES: [&str; 4] =
    ["assay.v1.Contents", "assay.v1.Leases", "assay.v1.Node", "assay.v1.Receipts"];

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test]
async fn health_needs_no_signature_and_follows_readiness() {
    let bob = DevKey::named("Bob");
    let node = Node::start("Alice", &[&bob], 8).await;
    let mut health = HealthClient::new(wire::channel(node.address(), &bob).await);
    let mut watched = health.watch(of("")).await.unwrap().into_inner();
    for is_ready in [true, false, true] {
        node.ready.send_replace(is_ready);
        let wanted = if is_ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        while soon(watched.message()).await.unwrap().unwrap().status() != wanted {}
        for service in SERVICES {
            while health.check(of(service)).await.unwrap().into_inner().status() != wanted {
                tokio::task::yield_now().await;
            }
        }
    }
    let unknown = health.check(of("assay.v1.Nothing")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let long = health.check(of(&"a".repeat(2_000))).await.unwrap_err();
    assert_eq!(long.code(), Code::OutOfRange);
}

#[tokio::test]
async fn a_node_that_is_going_is_not_ready() {
    let bob = DevKey::named("Bob");
    let node = Node::start("Alice", &[&bob], 8).await;
    let mut health = HealthClient::new(wire::channel(node.address(), &bob).await);
    let mut watched = health.watch(of("")).await.unwrap().into_inner();
    drop(node.ready);
    while soon(watched.message()).await.unwrap().unwrap().status() != ServingStatus::NotServing {}
}

#[tokio::test]
async fn reflection_names_the_services_and_describes_them() {
    let bob = DevKey::named("Bob");
    let node = Node::start("Alice", &[&bob], 8).await;
    let mut client = ServerReflectionClient::new(wire::channel(node.address(), &bob).await);
    let mut ask = async |message_request| {
        let request =
            ServerReflectionRequest { host: String::new(), message_request: Some(message_request) };
        let requests = futures_util::stream::iter([request]);
        let mut answers = client.server_reflection_info(requests).await.unwrap().into_inner();
        answers.message().await.unwrap().unwrap().message_response.unwrap()
    };
    let listed = ask(MessageRequest::ListServices(String::new())).await;
    let MessageResponse::ListServicesResponse(listed) = listed else { panic!("{listed:?}") };
    let names: BTreeSet<String> = listed.service.into_iter().map(|service| service.name).collect();
    let standard = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"];
    let wanted: BTreeSet<String> =
        SERVICES.iter().chain(&standard).map(|name| (*name).to_owned()).collect();
    assert_eq!(names, wanted);
    let described = ask(MessageRequest::FileContainingSymbol("assay.v1.Leases".to_owned())).await;
    let MessageResponse::FileDescriptorResponse(files) = described else { panic!("{described:?}") };
    let file = files.file_descriptor_proto.concat();
    assert!(file.windows(7).any(|bytes| bytes == b"Acquire"));
}
