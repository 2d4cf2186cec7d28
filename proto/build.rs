//! Turns the `.proto` files into Rust, without `protoc`: `protox` is a compiler of its own.

use std::error::Error;

const ROOT: &str = ".";
const FILES: [&str; 5] = [
    "assay/v1/evidence.proto",
    "assay/v1/leases.proto",
    "assay/v1/receipts.proto",
    "assay/v1/contents.proto",
    "assay/v1/node.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    // Without protoc, nobody tells Cargo which files were read.
    println!("cargo:rerun-if-changed=assay");
    let descriptors = protox::compile(FILES, [ROOT])?;
    tonic_prost_build::configure().build_transport(false).compile_fds(descriptors)?;
    Ok(())
}
