//! Whether a project defines what the challenge calls, and what that is.
//!
//! An architecture defines `build_model(ctx)`. A training file keeps one of two contracts: the loop
//! (`train(ctx)`), or the hooks (`get_recipe(ctx)` and any other of [`Hook::ALL`]). A file that
//! defines both keeps the loop contract, and its hooks are not called.
//!
//! A name counts as defined if the module binds it at its top level, also under a condition: by
//! `def`, `class`, an assignment or an import by name. Whether the binding works when called is
//! found out in the container.

use std::collections::BTreeSet;

use node_core::admission::{Rejection, Rule};

use crate::archive::{rejection, Archive};
use crate::manifest::{Manifest, NamedEntry};
use crate::project::{
    EntryPoint, Hook, Project, ProjectKind, Training, TrainingContract, ARCHITECTURE_FILE,
    TRAINING_FILE,
};
use crate::source::names::{imports, targets};
use crate::source::{Field, Kind, Source};

/// What an architecture defines unless its manifest names another function.
const BUILD_MODEL: &str = "build_model";

/// What the loop contract calls unless the manifest names another function.
const TRAIN: &str = "train";

/// What makes a training file one of the hook contract.
const GET_RECIPE: &str = "get_recipe";

/// The files that a project's entry points are in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EntryFiles {
    architecture: Option<NamedEntry>,
    training: Option<NamedEntry>,
}

/// Finds the files of the entry points.
///
/// # Errors
///
/// [`Rule::ContractFile`] if one is missing, [`Rule::ContractManifest`] if both are one file.
pub(crate) fn entry_files(archive: &Archive, manifest: &Manifest) -> Result<EntryFiles, Rejection> {
    let is_there = |file: &str| archive.files.contains_key(file);
    let architecture = match (&manifest.architecture, manifest.kind) {
        (Some(named), _) => Some(named.clone()),
        (None, ProjectKind::TrainingForArch) if !is_there(ARCHITECTURE_FILE) => None,
        (None, _) => Some(default_file(ARCHITECTURE_FILE)),
    };
    let training = match (&manifest.training, manifest.kind) {
        (_, ProjectKind::ArchitectureOnly) => None,
        (Some(named), _) => Some(named.clone()),
        (None, _) => Some(default_file(TRAINING_FILE)),
    };
    for entry in [&architecture, &training].into_iter().flatten() {
        if !is_there(&entry.file) {
            let detail = format!("the archive has no `{}`: add it at the top", entry.file);
            return Err(rejection(Rule::ContractFile, Some(&entry.file), detail));
        }
    }
    if let (Some(model), Some(loops)) = (&architecture, &training) {
        if model.file == loops.file {
            let detail = format!(
                "`{}` is both the architecture and the training: divide it into two files",
                model.file
            );
            return Err(rejection(Rule::ContractManifest, manifest.path, detail));
        }
    }
    Ok(EntryFiles { architecture, training })
}

fn default_file(file: &str) -> NamedEntry {
    NamedEntry { file: file.to_owned(), symbol: None }
}

/// Finds what the entry points define.
///
/// # Errors
///
/// [`Rule::ContractSymbol`] if a file does not define its function.
pub(crate) fn check_symbols(
    sources: &[Source],
    manifest: &Manifest,
    files: EntryFiles,
) -> Result<Project, Rejection> {
    let defined_in = |file: &str| {
        let source = sources.iter().find(|source| source.path == file);
        source.map(top_level_names).unwrap_or_default()
    };
    let architecture = match files.architecture {
        Some(NamedEntry { file, symbol }) => {
            let symbol = symbol.unwrap_or_else(|| BUILD_MODEL.to_owned());
            if !defined_in(&file).contains(symbol.as_str()) {
                return Err(undefined(&file, &format!("`{symbol}(ctx)`")));
            }
            Some(EntryPoint { file, symbol })
        }
        None => None,
    };
    let training = match files.training {
        Some(NamedEntry { file, symbol }) => {
            let contract = training_contract(&file, symbol, &defined_in(&file))?;
            Some(Training { file, contract })
        }
        None => None,
    };
    Ok(Project {
        kind: manifest.kind,
        architecture_id: manifest.architecture_id.clone(),
        architecture,
        training,
        tokenizer: manifest.tokenizer.clone(),
    })
}

fn training_contract(
    file: &str,
    named: Option<String>,
    defined: &BTreeSet<&str>,
) -> Result<TrainingContract, Rejection> {
    let hooks = || Hook::ALL.into_iter().filter(|hook| defined.contains(hook.name())).collect();
    match named {
        Some(symbol) if !defined.contains(symbol.as_str()) => {
            Err(undefined(file, &format!("`{symbol}(ctx)`")))
        }
        Some(symbol) if symbol == GET_RECIPE => {
            Ok(TrainingContract::Hooks { symbol, hooks: hooks() })
        }
        Some(symbol) => Ok(TrainingContract::Loop { symbol }),
        None if defined.contains(TRAIN) => Ok(TrainingContract::Loop { symbol: TRAIN.to_owned() }),
        None if defined.contains(GET_RECIPE) => {
            Ok(TrainingContract::Hooks { symbol: GET_RECIPE.to_owned(), hooks: hooks() })
        }
        None => Err(undefined(file, "`train(ctx)`, or `get_recipe(ctx)` and hooks,")),
    }
}

fn undefined(file: &str, what: &str) -> Rejection {
    let detail = format!("the file does not define {what} at its top level");
    rejection(Rule::ContractSymbol, Some(file), detail)
}

/// Names that a module binds at its top level, also under conditions.
fn top_level_names(source: &Source) -> BTreeSet<&str> {
    let tree = &source.tree;
    let mut names = BTreeSet::new();
    let mut id = 0;
    while id < tree.ids().end {
        match tree.kind(id) {
            // What is within belongs to it.
            Kind::Function | Kind::Class | Kind::Lambda => {
                names.extend(tree.child(id, Field::Name).map(|name| source.text_of(name)));
                id = tree.node(id).after;
                continue;
            }
            Kind::Import | Kind::ImportFrom => {
                names.extend(imports(source, id).into_iter().map(|imported| imported.name));
            }
            Kind::Assignment if tree.child(id, Field::Right).is_some() => {
                names.extend(targets(source, id).into_iter().map(|name| source.text_of(name)));
            }
            _ => {}
        }
        id += 1;
    }
    names
}

#[cfg(test)]
mod tests {
    use node_core::policy::AdmissionRules;

    use super::*;
    use crate::source::read_sources;

    fn read(files: &[(&str, &str)]) -> Archive {
        let owned = |(path, text): &(&str, &str)| ((*path).to_owned(), text.as_bytes().to_vec());
        Archive { files: files.iter().map(owned).collect() }
    }

    fn defines(text: &str, symbol: &str) -> bool {
        let archive = read(&[("training.py", text)]);
        let Ok(sources) = read_sources(&archive, &AdmissionRules::strict()) else { return false };
        top_level_names(&sources[0]).contains(symbol)
    }

    #[test]
    fn a_name_counts_as_defined_only_where_the_module_binds_it() {
        let cases = [
            ("def train(ctx):\n    pass\n", true),
            ("@torch.no_grad()\ndef train(ctx):\n    pass\n", true),
            ("async def train(ctx): pass\n", true),
            ("class train: pass\n", true),
            ("train = make_trainer()\n", true),
            ("train: object = make_trainer()\n", true),
            ("train, other = make_trainers()\n", true),
            ("from loop import train\n", true),
            ("from loop import run as train\n", true),
            ("from loop import (\n    step,  # first\n    train,\n)\n", true),
            ("try:\n    from fast import train\nexcept ImportError:\n    x = 1\n", true),
            ("if True:\n    if True:\n        def train(ctx): pass\n", true),
            ("def a():\n    pass\nif True:\n\tdef train(ctx): pass\n", true),
            ("x = 1; train = x\n", true),
            ("x = rb'''\n'''\ndef \\\n  train(ctx): pass", true),
            ("x = 'it\\'s'; y = \"#\"\r\ndef train(ctx): pass\r\n", true),
            ("", false),
            ("def trainer(ctx): pass\n", false),
            ("# def train(ctx): pass\n", false),
            ("# a lone carriage return ends a comment\rdef train(ctx): pass\n", true),
            ("'''\ndef train(ctx):\n    pass\n'''\n", false),
            ("x = (\ntrain, train)\n", false),
            ("class Loop:\n    def train(self, ctx): pass\n", false),
            ("def outer():\n    def train(ctx): pass\n", false),
            ("def outer():\n    x = 1\n    def train(ctx): pass\n", false),
            ("from train import loop\n", false),
            ("import loop.train\n", false),
            ("import loop.train as train\n", true),
            ("from loop import train as run\n", false),
            ("train == 1\n", false),
            ("train(1)\n", false),
            ("\u{0}\u{1}((((", false),
        ];
        for (source, expected) in cases {
            assert_eq!(defines(source, "train"), expected, "{source}");
        }
    }

    fn project(files: &[(&str, &str)]) -> Result<Project, Rejection> {
        let archive = read(files);
        let manifest = crate::manifest::read_manifest(&archive)?;
        let entries = entry_files(&archive, &manifest)?;
        let sources = read_sources(&archive, &AdmissionRules::strict())?;
        check_symbols(&sources, &manifest, entries)
    }

    const MODEL: (&str, &str) = ("architecture.py", "def build_model(ctx): pass\n");

    #[test]
    fn a_training_file_keeps_the_loop_contract_or_that_of_hooks() {
        let contract = |text: &str| {
            project(&[MODEL, ("training.py", text)]).map(|project| project.training.unwrap())
        };
        let kept = contract("def train(ctx): pass\ndef get_recipe(ctx): pass\n").unwrap();
        assert_eq!(kept.contract, TrainingContract::Loop { symbol: "train".to_owned() });
        let hooks = "def infer(m, b, c): 0\ndef get_recipe(ctx): 0\ncompute_loss = infer\n";
        let kept = contract(hooks).unwrap();
        let hooks = vec![Hook::GetRecipe, Hook::ComputeLoss, Hook::Infer];
        let symbol = "get_recipe".to_owned();
        assert_eq!(kept.contract, TrainingContract::Hooks { symbol, hooks });
        let missing = contract("def compute_loss(m, b, c): pass\n").unwrap_err();
        assert_eq!(missing.rule, Rule::ContractSymbol);
    }

    #[test]
    fn a_manifest_names_files_and_functions_and_they_are_taken_exactly() {
        let manifest = "architecture: {entrypoint: m/a.py::make}\n\
                        training: {entrypoint: m/t.py::fit}\n";
        let model = ("m/a.py", "def make(ctx): 0\n");
        let found =
            project(&[("prism.yaml", manifest), model, ("m/t.py", "def fit(c): 0\n")]).unwrap();
        let entry = EntryPoint { file: "m/a.py".to_owned(), symbol: "make".to_owned() };
        assert_eq!(found.architecture, Some(entry));
        let contract = TrainingContract::Loop { symbol: "fit".to_owned() };
        assert_eq!(found.training, Some(Training { file: "m/t.py".to_owned(), contract }));
        // The default names do not step in for what is named.
        let other = [("prism.yaml", manifest), model, MODEL, ("m/t.py", "def train(c): 0\n")];
        assert_eq!(project(&other).unwrap_err().rule, Rule::ContractSymbol);
        let same = "training: {entrypoint: architecture.py::build_model}\n";
        let refused = project(&[("prism.yaml", same), MODEL]).unwrap_err();
        assert_eq!(refused.rule, Rule::ContractManifest);
    }

    #[test]
    fn the_kinds_ask_for_their_own_files_only() {
        let only = [("prism.yaml", "kind: architecture_only\n"), MODEL];
        let found = project(&only).unwrap();
        assert!(found.training.is_none() && found.architecture.is_some());
        let manifest = "kind: training_for_arch\narchitecture_id: ssm\n";
        let recipe = ("training.py", "def get_recipe(ctx): 0\n");
        let found = project(&[("prism.yaml", manifest), recipe]).unwrap();
        assert!(found.architecture.is_none());
        assert_eq!(found.architecture_id.as_deref(), Some("ssm"));
        assert_eq!(project(&[MODEL]).unwrap_err().rule, Rule::ContractFile);
    }
}
