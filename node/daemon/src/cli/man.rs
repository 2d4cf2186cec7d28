//! `assay man`.

use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;

use super::command_tree;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  assay man | man -l -                                the page of assay itself
  assay man weights plan | man -l -                   the page of one command
  sudo assay man --out /usr/local/share/man/man1      all of them, for `man assay-status`";

/// Print the manual page of a command, or write those of all commands.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ManCommand {
    /// The command, as it is typed; without one, assay itself
    #[arg(value_name = "COMMAND", conflicts_with = "out")]
    command: Vec<String>,

    /// Write a page for each command into this directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
enum NoPage {
    #[error("assay has no command `{0}`")]
    NoCommand(String),
    #[error("cannot write `{}`", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl ManCommand {
    /// Prints a page, or writes all.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if there is no such command, or a page cannot be written.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        let mut tree = command_tree().disable_help_subcommand(true);
        tree.build();
        match &self.out {
            Some(out) => {
                let written = write_all(&tree, out).map_err(no_page)?;
                output::print(&format!("{written} pages in {}\n", out.display()))?;
            }
            None => {
                let command = find(&tree, &self.command).map_err(no_page)?;
                output::print(&page(command)?)?;
            }
        }
        Ok(ExitReason::Done)
    }
}

fn no_page(error: NoPage) -> Failure {
    match &error {
        NoPage::NoCommand(_) => {
            Failure::bad_configuration(error).hint("`assay --help` lists the commands")
        }
        NoPage::Write { .. } => Failure::unexpected(error)
            .hint("name a directory that this user can write with `--out`"),
    }
}

fn find<'a>(tree: &'a Command, path: &[String]) -> Result<&'a Command, NoPage> {
    let step = |command: &'a Command, name: &String| command.find_subcommand(name);
    path.iter().try_fold(tree, step).ok_or_else(|| NoPage::NoCommand(path.join(" ")))
}

fn page(command: &Command) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    Man::new(command.clone()).render(&mut bytes).map_err(Failure::unexpected)?;
    String::from_utf8(bytes).map_err(Failure::unexpected)
}

/// Writes the pages of a command and of all below it that are not hidden; how many.
fn write_all(command: &Command, out: &Path) -> Result<usize, NoPage> {
    let failed = |path: &Path, source| NoPage::Write { path: path.to_owned(), source };
    std::fs::create_dir_all(out).map_err(|source| failed(out, source))?;
    let man = Man::new(command.clone());
    let path = out.join(man.get_filename());
    let mut bytes = Vec::new();
    man.render(&mut bytes).map_err(|source| failed(&path, source))?;
    std::fs::write(&path, bytes).map_err(|source| failed(&path, source))?;
    let below = command.get_subcommands().filter(|below| !below.is_hide_set());
    below.into_iter().try_fold(1, |written, below| Ok(written + write_all(below, out)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::told;

    fn built() -> Command {
        let mut tree = command_tree().disable_help_subcommand(true);
        tree.build();
        tree
    }

    #[test]
    fn every_command_has_a_page_under_its_whole_name() {
        let dir = tempfile::tempdir().unwrap();
        let written = write_all(&built(), dir.path()).unwrap();
        let names: Vec<String> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(names.len(), written);
        for name in ["assay.1", "assay-status.1", "assay-weights-plan.1"] {
            assert!(names.iter().any(|known| known == name), "{name}: {names:?}");
        }
        assert!(!names.contains(&"assay-reference.1".to_owned()), "it is hidden: {names:?}");
    }

    #[test]
    fn a_page_is_found_by_what_is_typed_and_tells_the_examples() {
        let tree = built();
        let plan = find(&tree, &["weights".to_owned(), "plan".to_owned()]).unwrap();
        let text = page(plan).unwrap();
        assert!(text.contains(".TH") && text.contains("Examples"), "{text}");
        assert!(matches!(find(&tree, &["wieghts".to_owned()]), Err(NoPage::NoCommand(_))));
    }

    #[test]
    fn each_way_to_get_no_page_says_what_next() {
        let (path, source) = ("/usr/man1".into(), std::io::ErrorKind::PermissionDenied.into());
        let all = [NoPage::NoCommand("wieghts".to_owned()), NoPage::Write { path, source }];
        insta::assert_snapshot!(told(all.map(no_page)), @r"
        64   assay has no command `wieghts`
          -> `assay --help` lists the commands
        1    cannot write `/usr/man1`: permission denied
          -> name a directory that this user can write with `--out`
        ");
    }
}
