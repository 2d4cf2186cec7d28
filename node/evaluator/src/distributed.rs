//! The contract of projects that train in several processes, one for each device of one host.
//!
//! A project that uses none of `torch.distributed` and of torch's parallel wrappers, and names no
//! second device, is left alone: it runs in one process on one device. For the others:
//!
//! - one host, and at most [`DEVICES_MAX`] devices of it;
//! - `init_process_group` is called;
//! - each process takes the device of its local rank;
//! - each process trains on its own part of the data, by rank and world size;
//! - files are written by rank 0 alone.
//!
//! Reading only, and lint like the static rules: whether the processes stay equal is measured.

use std::collections::BTreeSet;

use node_core::admission::{Rejection, Rule};

use crate::source::names::{text_value, Names};
use crate::source::{Field, Finding, Kind, NodeId, Source};

/// Devices of one host.
pub(crate) const DEVICES_MAX: u32 = 8;

/// Unguarded writes that are looked for. Each may cost as much as its block is long.
const FOUND_MAX: usize = 1_000;

/// What only asks whether there is a process group.
const QUESTIONS: [&str; 4] =
    ["is_available", "is_initialized", "is_gloo_available", "is_nccl_available"];

/// Names of a process's number.
const RANKS: [&str; 6] = ["rank", "RANK", "get_rank", "global_rank", "is_main", "is_master"];

/// Names of a process's number on its host, and of the device that the context gives to it.
const LOCAL_RANKS: [&str; 4] =
    ["local_rank", "LOCAL_RANK", "get_local_rank", "get_node_local_rank"];

/// Names of the number of processes.
const WORLD_SIZES: [&str; 5] =
    ["world_size", "WORLD_SIZE", "get_world_size", "num_replicas", "world"];

/// Calls that bind a process to a device.
const BINDERS: [&str; 5] = ["set_device", "device", "to", "cuda", "to_empty"];

/// Names that only a run on several hosts needs.
const SEVERAL_HOSTS: [&str; 5] = ["node_rank", "nnodes", "num_nodes", "GROUP_RANK", "MASTER_ADDR"];

/// Checks a project that works on several devices; another has no findings.
///
/// - Result: broken rules in the order of [`Rule::ALL`]. What is missing is told of the first use.
pub(crate) fn check(sources: &[Source], findings_max: usize) -> Vec<Rejection> {
    let mut facts = Facts::default();
    for (file, source) in sources.iter().enumerate() {
        let names = Names::new(source);
        for id in source.tree.ids() {
            facts.read(sources, (file, id), &names);
        }
    }
    let Some((file, at)) = facts.first_use else { return Vec::new() };
    let first =
        |rule: Rule, detail: &str| (file, sources[file].finding(rule, at, detail.to_owned()));
    let mut found = std::mem::take(&mut facts.found);
    if !facts.has_group {
        let detail = "several processes need a group: call `torch.distributed.init_process_group`";
        found.push(first(Rule::DistributedGroup, detail));
    }
    if !facts.has_device {
        let detail = "each process needs a device of its own: use `ctx.device`, or \
                      `torch.cuda.set_device(ctx.local_rank)`";
        found.push(first(Rule::DistributedDevice, detail));
    }
    if !facts.has_sharding() {
        let detail = "each process needs its own part of the data: divide it by `ctx.rank` and \
                      `ctx.world_size`";
        found.push(first(Rule::DistributedSharding, detail));
    }
    found.sort_by_key(|(file, found)| (found.rule, *file, found.line));
    found.dedup_by_key(|(file, found)| (found.rule, *file, found.line));
    found.truncate(findings_max);
    found.into_iter().map(|(file, found)| sources[file].evidence(found)).collect()
}

/// What a project does, wherever it does it.
#[derive(Debug, Default)]
struct Facts {
    /// The file's number and the node.
    first_use: Option<(usize, NodeId)>,
    has_group: bool,
    has_device: bool,
    has_sampler: bool,
    has_rank: bool,
    has_world_size: bool,
    /// With the file's number.
    found: Vec<(usize, Finding)>,
}

impl Facts {
    fn has_sharding(&self) -> bool {
        self.has_sampler || (self.has_rank && self.has_world_size)
    }

    fn read(&mut self, sources: &[Source], at: (usize, NodeId), names: &Names<'_>) {
        let (file, id) = at;
        let Some(source) = sources.get(file) else { return };
        match source.tree.kind(id) {
            Kind::Identifier => self.name(source, at, names),
            Kind::Attribute => self.path(source, at, names),
            Kind::Call => self.call(source, at, names),
            Kind::StringLiteral => self.text(source, at),
            Kind::KeywordArgument => self.argument(source, at),
            _ => {}
        }
    }

    fn name(&mut self, source: &Source, at: (usize, NodeId), names: &Names<'_>) {
        let name = source.text_of(at.1);
        self.has_rank |= RANKS.contains(&name);
        self.has_world_size |= WORLD_SIZES.contains(&name);
        self.has_sampler |= name == "DistributedSampler";
        self.has_group |= name == "init_process_group";
        if name == "MASTER_ADDR" || name == "node_rank" {
            self.several_hosts(source, at, name);
        }
        let tree = &source.tree;
        let parent = tree.kind(tree.node(at.1).parent);
        if !matches!(parent, Kind::Attribute | Kind::DottedName) {
            self.path(source, at, names);
        }
    }

    fn path(&mut self, source: &Source, at: (usize, NodeId), names: &Names<'_>) {
        let is_parallel = |path: &String| {
            let last = path.rsplit('.').next().unwrap_or_default();
            let is_group = path.starts_with("torch.distributed.") && !QUESTIONS.contains(&last);
            is_group
                || path.starts_with("torch.nn.parallel.")
                || path.starts_with("torch.nn.DataParallel")
        };
        // The longest chain says all that its beginnings say.
        let tree = &source.tree;
        let is_inner = tree.node(at.1).field == Field::Object
            && tree.kind(tree.node(at.1).parent) == Kind::Attribute;
        if self.first_use.is_none() && !is_inner {
            let is_use = names.paths_of(at.1).iter().any(is_parallel);
            self.first_use = is_use.then_some(at);
        }
        let name = source.tree.child(at.1, Field::Attribute).map(|name| source.text_of(name));
        let object = source.tree.child(at.1, Field::Object).map(|object| source.text_of(object));
        self.has_device |= name == Some("device") && object == Some("ctx");
    }

    fn call(&mut self, source: &Source, at: (usize, NodeId), names: &Names<'_>) {
        let (tree, id) = (&source.tree, at.1);
        let Some(function) = tree.child(id, Field::Function) else { return };
        let called = source.text_of(function).rsplit('.').next().unwrap_or_default().trim();
        let is_wrapped = called.ends_with("DistributedDataParallel") || called == "DDP";
        if BINDERS.contains(&called) || is_wrapped {
            let words = words_below(source, tree.child(id, Field::Arguments).unwrap_or(id));
            self.has_device |= LOCAL_RANKS.iter().any(|name| words.contains(name));
        }
        let paths = names.paths_of(function);
        let is_full = self.found.len() >= FOUND_MAX;
        let writes = !is_full
            && paths
                .iter()
                .any(|path| ["torch.save", "numpy.save", "numpy.savez"].contains(&path.as_str()));
        if writes && !is_guarded(source, id) {
            let detail = "every process would write this file: write it only `if ctx.rank == 0`";
            self.push(source, at, Rule::DistributedWrites, detail.to_owned());
        }
    }

    fn text(&mut self, source: &Source, at: (usize, NodeId)) {
        let Some(text) = text_value(source, at.1) else { return };
        self.has_rank |= text == "RANK";
        self.has_world_size |= text == "WORLD_SIZE";
        if let Some(number) = text.strip_prefix("cuda:").and_then(|n| n.parse::<u32>().ok()) {
            if number > 0 && self.first_use.is_none() {
                self.first_use = Some(at);
            }
            self.devices(source, at, number.saturating_add(1));
        }
        let is_local = |text: &str| {
            ["localhost", "127.0.0.1", "[::1]"].iter().any(|host| text.starts_with(host))
        };
        let is_elsewhere = text.strip_prefix("tcp://").is_some_and(|host| !is_local(host));
        if is_elsewhere || SEVERAL_HOSTS.contains(&text.as_str()) {
            self.several_hosts(source, at, &text);
        }
    }

    fn argument(&mut self, source: &Source, at: (usize, NodeId)) {
        let tree = &source.tree;
        let (Some(name), Some(value)) =
            (tree.child(at.1, Field::Name), tree.child(at.1, Field::Value))
        else {
            return;
        };
        let number = source.text_of(value).parse::<u32>().ok();
        match (source.text_of(name), number) {
            ("world_size" | "num_replicas" | "nproc_per_node", Some(number)) => {
                self.devices(source, at, number);
            }
            ("nnodes" | "num_nodes", Some(2..)) => {
                self.several_hosts(source, at, source.text_of(at.1));
            }
            _ => {}
        }
    }

    fn devices(&mut self, source: &Source, at: (usize, NodeId), number: u32) {
        if number > DEVICES_MAX {
            let detail =
                format!("{number} devices are asked for: a host has {DEVICES_MAX} at most");
            self.push(source, at, Rule::DistributedCount, detail);
        }
    }

    fn several_hosts(&mut self, source: &Source, at: (usize, NodeId), what: &str) {
        let detail = format!("`{what}` is for several hosts: a run has one");
        self.push(source, at, Rule::DistributedNode, detail);
    }

    fn push(&mut self, source: &Source, at: (usize, NodeId), rule: Rule, detail: String) {
        self.found.push((at.0, source.finding(rule, at.1, detail)));
    }
}

/// Names below a node, and texts that are written out.
fn words_below(source: &Source, id: NodeId) -> BTreeSet<&str> {
    let tree = &source.tree;
    let is_word = |id: &NodeId| matches!(tree.kind(*id), Kind::Identifier | Kind::StringContent);
    (id..tree.node(id).after).filter(is_word).map(|id| source.text_of(id)).collect()
}

/// Whether a statement is reached by one rank only: below a condition on the rank, or after a
/// return of the others.
fn is_guarded(source: &Source, id: NodeId) -> bool {
    let tree = &source.tree;
    let is_rank = |id: NodeId| {
        let words = words_below(source, id);
        RANKS.iter().chain(&LOCAL_RANKS).any(|name| words.contains(name))
    };
    let asks_rank = |id: NodeId| tree.child(id, Field::Condition).is_some_and(is_rank);
    let leaves =
        |id: NodeId| (id..tree.node(id).after).any(|below| tree.kind(below) == Kind::Return);
    let mut below = id;
    for above in tree.ancestors(id) {
        match tree.kind(above) {
            Kind::If | Kind::Elif if asks_rank(above) => return true,
            Kind::ConditionalExpression if is_rank(above) => return true,
            Kind::Block => {
                let mut earlier = tree.children(above).take_while(|child| *child < below);
                if earlier.any(|id| tree.kind(id) == Kind::If && asks_rank(id) && leaves(id)) {
                    return true;
                }
            }
            _ => {}
        }
        below = above;
    }
    false
}
