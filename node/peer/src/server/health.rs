//! The standard services beside ours: `grpc.health.v1`, whose status is the node's readiness, and
//! reflection. Both are served inside of TLS, and neither needs a signed call.

use tokio::sync::watch;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::HealthReporter;
use tonic_health::ServingStatus;
use tonic_reflection::server::v1::{ServerReflection, ServerReflectionServer};

use proto::v1;

/// Bytes of a request: a service's or a symbol's name.
const REQUEST_BYTES_MAX: usize = 1 << 10;

/// What has a status: the server as a whole (the empty name), and each service of ours.
const NAMES: [&str; 5] = [
    "",
    v1::leases_server::SERVICE_NAME,
    v1::receipts_server::SERVICE_NAME,
    v1::contents_server::SERVICE_NAME,
    v1::node_server::SERVICE_NAME,
];

/// The health service, not serving until [`follow`] is run.
pub(super) fn service() -> (HealthReporter, HealthServer<impl Health>) {
    let (reporter, service) = tonic_health::server::health_reporter();
    (reporter, service.max_decoding_message_size(REQUEST_BYTES_MAX))
}

/// Makes the status follow `ready`, for ever; not ready once its sender is gone.
pub(super) async fn follow(reporter: HealthReporter, mut ready: watch::Receiver<bool>) {
    loop {
        let is_ready = *ready.borrow_and_update();
        let status = if is_ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in NAMES {
            reporter.set_service_status(name, status).await;
        }
        if ready.changed().await.is_err() {
            break;
        }
    }
    for name in NAMES {
        reporter.set_service_status(name, ServingStatus::NotServing).await;
    }
    std::future::pending().await
}

/// What the services and messages are, from the descriptors that they were made of.
pub(super) fn reflection(
) -> Result<ServerReflectionServer<impl ServerReflection>, tonic_reflection::server::Error> {
    let service = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    Ok(service.max_decoding_message_size(REQUEST_BYTES_MAX))
}
