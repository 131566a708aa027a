//! `edgeio completions`: for shells.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::failure::Failure;
use crate::output;

/// Prints what a shell needs to complete commands.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edgeio completions bash > ~/.local/share/bash-completion/completions/edgeio
  edgeio completions zsh > ~/.zfunc/_edgeio
  edgeio completions fish > ~/.config/fish/completions/edgeio.fish")]
pub(crate) struct Options {
    /// Which shell.
    #[arg(value_name = "SHELL", value_parser = ["bash", "zsh", "fish"])]
    shell: String,
}

/// Prints it.
pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let shell = match options.shell.as_str() {
        "zsh" => Shell::Zsh,
        "fish" => Shell::Fish,
        _ => Shell::Bash,
    };
    let mut text = Vec::new();
    let mut command = crate::options::Options::command();
    clap_complete::generate(shell, &mut command, "edgeio", &mut text);
    output::raw(&text)
}
