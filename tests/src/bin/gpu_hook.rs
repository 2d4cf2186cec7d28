//! Plays NVIDIA's hook for container engines, with the fake driver in place of the real one.
//!
//! An engine that finds a program of this name when it starts has GPUs to give: it starts it for
//! each container with a request for some, before anything in the container runs, and names them
//! in the container's environment. The real one puts the driver's libraries and these GPUs into
//! the container; this one the fake driver's libraries, with a script that lists these GPUs and no
//! others. See [`assay_tests::gpu_engine`].

use std::io::Read as _;
use std::path::Path;

use anyhow::{ensure, Context as _};
use assay_tests::gpu_engine::{shown_instead, DRIVER_VARIABLE};
use fake_driver::install::{put, read_script};
use serde_json::Value;

/// How the engine names the GPUs: their UUIDs with commas between.
const ASKED: &str = "NVIDIA_VISIBLE_DEVICES=";

/// Where the loader of the image, a Debian for x86-64, looks for libraries.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

fn main() -> anyhow::Result<()> {
    let mut state = String::new();
    std::io::stdin().read_to_string(&mut state)?;
    let state: Value = serde_json::from_str(&state).context("the container's state")?;
    let bundle = Path::new(state["bundle"].as_str().context("the state names no bundle")?);
    let config = std::fs::read(bundle.join("config.json"))?;
    let config: Value = serde_json::from_slice(&config).context("the container's settings")?;

    let environment = config["process"]["env"].as_array().context("no environment")?;
    let mut variables = environment.iter().filter_map(Value::as_str);
    let asked = variables.find_map(|variable| variable.strip_prefix(ASKED));
    let asked: Vec<String> =
        asked.context("no GPU is asked for")?.split(',').map(String::from).collect();

    let driver = std::env::var_os(DRIVER_VARIABLE).context("no driver to give")?;
    let mut script = read_script(Path::new(&driver))?;
    for uuid in &asked {
        ensure!(script.devices.iter().any(|gpu| gpu.uuid == *uuid), "unknown device {uuid}");
    }
    let shown = shown_instead(Path::new(&driver), &asked)?.unwrap_or(asked);
    script.devices.retain(|gpu| shown.contains(&gpu.uuid));
    let root = config["root"]["path"].as_str().context("no root file system")?;
    put(&bundle.join(root).join(LIBRARIES), &script).context("writing into the container")
}
