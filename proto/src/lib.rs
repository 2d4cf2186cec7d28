//! The messages and services that validators speak with each other, as generated from
//! `assay/v1/*.proto`. Known by `node-peer` alone; everybody else speaks core types.
//!
//! Not here: what a message means, its limits and its conversion (`node-peer`, `convert`), and
//! the signature around every call (`node-peer`, `auth`; `docs/protocol.md`).

/// Package `assay.v1`.
pub mod v1 {
    #![allow(
        unreachable_pub,
        missing_debug_implementations,
        clippy::all,
        clippy::missing_errors_doc,
        clippy::allow_attributes_without_reason,
        clippy::too_many_lines,
        reason = "generated code; its comments are those of the .proto files"
    )]
    tonic::include_proto!("assay.v1");
}

/// The encoded `FileDescriptorSet` of the `.proto` files, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
