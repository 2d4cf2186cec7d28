//! `assay completions`.

use clap::{Args, Command};
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
    generate(shell, &mut shown(&command_tree()), "assay", &mut bytes);
    String::from_utf8(bytes).map_err(Failure::unexpected)
}

/// The commands that help lists. What generates the scripts takes those that are hidden too.
fn shown(tree: &Command) -> Command {
    let below = tree.get_subcommands().filter(|below| !below.is_hide_set()).cloned();
    Command::new("assay")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .args(tree.get_arguments().cloned())
        .subcommands(below)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    /// Whether a script offers a command of `assay`, in the way in which its shell is told.
    fn offers(shell: Shell, script: &str, command: &str) -> bool {
        let told = match shell {
            Shell::Bash => format!("assay,{command})"),
            Shell::Elvish => format!("cand {command} '"),
            Shell::Fish => format!("-a \"{command}\""),
            Shell::PowerShell => format!("'{command}', '{command}',"),
            Shell::Zsh => format!("'{command}:"),
            other => panic!("how does {other} offer a command?"),
        };
        script.contains(&told)
    }

    #[test]
    fn every_shell_gets_the_commands_and_none_that_is_hidden() {
        let tree = command_tree();
        let (hidden, shown): (Vec<&Command>, Vec<&Command>) =
            tree.get_subcommands().partition(|command| command.is_hide_set());
        assert!(!hidden.is_empty() && shown.len() > 10, "{hidden:?}");
        for shell in Shell::value_variants() {
            let script = script(*shell).unwrap();
            for command in shown.iter().map(|command| command.get_name()) {
                assert!(offers(*shell, &script, command), "{shell} lacks {command}");
            }
            for command in hidden.iter().map(|command| command.get_name()) {
                assert!(!offers(*shell, &script, command), "{shell} offers {command}");
            }
            assert!(!script.contains("device-probe"), "{shell} names a hidden command");
        }
    }

    #[test]
    fn only_the_program_itself_hides_commands() {
        fn hides(command: &Command) -> bool {
            command.get_subcommands().any(|below| below.is_hide_set() || hides(below))
        }
        let tree = command_tree();
        let hiding = tree.get_subcommands().find(|command| hides(command));
        assert!(hiding.is_none(), "a script would offer what is hidden below {hiding:?}");
    }
}
