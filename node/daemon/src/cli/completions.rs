//! `assay completions`.

use clap::Args;
use clap_complete::{generate, Shell};

use super::command_tree;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  source <(assay completions bash)                                    for this shell
  assay completions bash > ~/.local/share/bash-completion/completions/assay
  assay completions zsh > ~/.zfunc/_assay                             with ~/.zfunc in $fpath
  assay completions fish > ~/.config/fish/completions/assay.fish";

/// Print what a shell needs to complete commands and flags with the tab key.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CompletionsCommand {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

impl CompletionsCommand {
    /// Prints a script for the shell.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if nobody can be told.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        output::print(&script(self.shell)?)?;
        Ok(ExitReason::Done)
    }
}

fn script(shell: Shell) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    generate(shell, &mut command_tree(), "assay", &mut bytes);
    String::from_utf8(bytes).map_err(Failure::unexpected)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_shell_gets_the_commands_and_none_that_is_hidden() {
        for shell in Shell::value_variants() {
            let script = script(*shell).unwrap();
            for command in ["status", "doctor", "weights"] {
                assert!(script.contains(command), "{shell} lacks {command}");
            }
        }
    }
}
