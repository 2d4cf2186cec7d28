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
    let mut compiler = protox::Compiler::new([ROOT])?;
    compiler.include_imports(true).open_files(FILES)?;
    // For reflection: without comments, which are half of it.
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    let descriptors = compiler.include_source_info(true).file_descriptor_set();
    tonic_prost_build::configure().build_transport(false).compile_fds(descriptors)?;
    Ok(())
}
