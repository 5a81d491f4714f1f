//! The command-line tool: writes, checks and explains configurations without an Envoy, shows how running Envoys are, and sends dead letters again.

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
mod client;
#[path = "sidecast/convert/mod.rs"]
mod convert;
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
#[path = "sidecast/replay/mod.rs"]
mod replay;
#[path = "sidecast/status/mod.rs"]
mod status;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The command-line tool of Sidecast, the filter that mirrors requests in Envoy
#[derive(Parser)]
#[command(name = "sidecast", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Init(init::Arguments),
    Check(check::Arguments),
    Explain(Box<explain::Arguments>),
    Diff(diff::Arguments),
    Convert(convert::Arguments),
    Render(render::Arguments),
    Status(status::Arguments),
    Replay(Box<replay::Arguments>),
    #[command(flatten)]
    Generated(generated::Command),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Init(arguments) => ExitCode::from(init::run(&arguments)),
        Command::Check(arguments) => check::run(&arguments),
        Command::Explain(arguments) => ExitCode::from(explain::run(&arguments)),
        Command::Diff(arguments) => ExitCode::from(diff::run(&arguments)),
        Command::Convert(arguments) => ExitCode::from(convert::run(&arguments)),
        Command::Render(arguments) => ExitCode::from(render::run(&arguments)),
        Command::Status(arguments) => ExitCode::from(status::run(&arguments)),
        Command::Replay(arguments) => ExitCode::from(replay::run(&arguments)),
        Command::Generated(command) => ExitCode::from(generated::run::<Arguments>(&command)),
    }
}
