//! The command-line tool.

#[path = "sidecast/check/mod.rs"]
mod check;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tools for configurations of the Sidecast filter.
#[derive(Parser)]
#[command(name = "sidecast", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Check(check::Arguments),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Check(arguments) => check::run(&arguments),
    }
}
