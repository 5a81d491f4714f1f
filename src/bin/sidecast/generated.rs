//! Generates the schema of configurations, shell completions, and manual pages.

use std::io::Write;

use clap::{CommandFactory, Subcommand};
use clap_complete::Shell;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print the JSON Schema (draft 2020-12) of a configuration, for editors and other tools
    Schema,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print a manual page: `sidecast man check | man -l -`
    Man {
        /// The command; without one, the page is about the whole tool
        command: Option<String>,
    },
}

/// Prints the generated text. Returns the exit status.
pub(crate) fn run<Tool: CommandFactory>(command: &Command) -> u8 {
    let mut tool = Tool::command();
    let text = match command {
        Command::Schema => format!("{:#}\n", sidecast::config::schema::schema()).into_bytes(),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut tool, "sidecast", &mut script);
            script
        }
        Command::Man { command } => match page(tool, command.as_deref()) {
            Ok(page) => page,
            Err(error) => {
                eprintln!("error: {error}");
                return 2;
            }
        },
    };
    match std::io::stdout().write_all(&text) {
        Ok(()) => 0,
        Err(_) => 2,
    }
}

fn page(mut tool: clap::Command, command: Option<&str>) -> Result<Vec<u8>, String> {
    // Builds the names and usages of subcommands.
    tool.build();
    let about = match command {
        None => tool,
        Some(name) => tool.find_subcommand(name).ok_or_else(|| format!("there is no command {name:?}"))?.clone(),
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(about).render(&mut page).map_err(|error| error.to_string())?;
    Ok(page)
}
