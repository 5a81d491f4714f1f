//! The command-line tool: predicts what the filter says about a configuration, and what it does with a request, without an Envoy.

// Nothing that ships may panic. Tests and benchmarks may.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unreachable,
    clippy::todo,
    clippy::unimplemented
)]

#[path = "sidecast/check/mod.rs"]
mod check;
#[path = "sidecast/convert/mod.rs"]
mod convert;
#[path = "sidecast/explain.rs"]
mod explain;
#[path = "sidecast/generated.rs"]
mod generated;
#[path = "sidecast/render.rs"]
mod render;

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
    Convert(convert::Arguments),
    Explain(Box<explain::Arguments>),
    Render(render::Arguments),
    #[command(flatten)]
    Generated(generated::Command),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Check(arguments) => check::run(&arguments),
        Command::Convert(arguments) => ExitCode::from(convert::run(&arguments)),
        Command::Explain(arguments) => ExitCode::from(explain::run(&arguments)),
        Command::Render(arguments) => ExitCode::from(render::run(&arguments)),
        Command::Generated(command) => ExitCode::from(generated::run::<Arguments>(&command)),
    }
}
