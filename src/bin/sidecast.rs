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
#[path = "sidecast/client.rs"]
#[allow(dead_code)]
mod client;
#[path = "sidecast/diff/mod.rs"]
mod diff;
#[path = "sidecast/explain.rs"]
mod explain;
#[path = "sidecast/generated.rs"]
mod generated;
#[path = "sidecast/init/mod.rs"]
mod init;
#[path = "sidecast/render.rs"]
mod render;
#[path = "sidecast/status/mod.rs"]
mod status;

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
    Diff(diff::Arguments),
    Explain(Box<explain::Arguments>),
    Init(init::Arguments),
    Render(render::Arguments),
    Status(status::Arguments),
    #[command(flatten)]
    Generated(generated::Command),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Check(arguments) => check::run(&arguments),
        Command::Diff(arguments) => ExitCode::from(diff::run(&arguments)),
        Command::Explain(arguments) => ExitCode::from(explain::run(&arguments)),
        Command::Init(arguments) => ExitCode::from(init::run(&arguments)),
        Command::Status(arguments) => ExitCode::from(status::run(&arguments)),
        Command::Render(arguments) => ExitCode::from(render::run(&arguments)),
        Command::Generated(command) => ExitCode::from(generated::run::<Arguments>(&command)),
    }
}
