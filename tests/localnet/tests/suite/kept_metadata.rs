//! The local chain's metadata that is kept in the repository, for `chain-metadata` and the node.

use crate::world::World;
use localnet::{chain::metadata, Flavour, GenesisSpec};
use std::path::Path;

#[test]
fn the_metadata_kept_in_the_repository_is_current() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../chain-metadata/metadata");
    for (name, flavour) in [("primitive", Flavour::Primitive), ("newtype", Flavour::Newtype)] {
        let file = dir.join(format!("local-{name}.scale"));
        let kept = std::fs::read(&file).unwrap_or_default();
        assert!(
            kept == served(flavour),
            "{} is not what the chain serves; write it anew with\n  \
             cargo run -p localnet -- metadata --flavour {name} {}",
            file.display(),
            format_args!("chain-metadata/metadata/local-{name}.scale"),
        );
    }
}

fn served(flavour: Flavour) -> Vec<u8> {
    let genesis = GenesisSpec { flavour, ..GenesisSpec::default() };
    metadata(&World::new(genesis).chain, 16).unwrap()
}
