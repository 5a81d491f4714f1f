//! `sidecast init`: writes a commented beginning of a configuration.

mod text;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use sidecast::config::names::{ClusterName, TargetName};

/// The most targets of a configuration.
const MAX_TARGETS: usize = 32;

/// Write a commented configuration to start from
///
/// It contains what most configurations need first. Further settings are commented out, each with its meaning, unit and default. Their lines start with `#`
/// and no space: remove the `#` to use one.
///
/// Exit status: 0 written, 2 the file exists or cannot be written, or an argument is invalid.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The file to write, which must not exist; without it, standard output
    file: Option<PathBuf>,
    /// A target and the Envoy cluster that gets its copies; can be repeated
    #[arg(long = "target", short, value_name = "NAME=CLUSTER")]
    targets: Vec<Target>,
    /// What the targets are for
    #[arg(long = "for", value_enum, value_name = "PURPOSE", default_value_t)]
    purpose: Purpose,
}

/// What targets are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Purpose {
    /// A copy of every request
    #[default]
    Mirror,
    /// A record of every change that the primary accepted, with retries
    Audit,
    /// A new version of the primary that gets a part of its traffic, with its responses compared
    Shadow,
    /// A service with state, which gets the changes of one key one after the other
    Order,
}

/// A target of the command line.
#[derive(Clone, Debug)]
struct Target {
    name: String,
    cluster: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, cluster) = text.split_once('=').ok_or("expected NAME=CLUSTER")?;
        let TargetName(name) = name.parse().map_err(|error| format!("{error}"))?;
        let ClusterName(cluster) = cluster.parse().map_err(|error| format!("{error}"))?;
        Ok(Self { name, cluster })
    }
}

impl Purpose {
    /// The target of a configuration for which none is given.
    fn target(self) -> Target {
        let name = match self {
            Self::Mirror => "mirror",
            Self::Audit => "audit",
            Self::Shadow => "shadow",
            Self::Order => "ledger",
        };
        Target { name: name.to_owned(), cluster: name.to_owned() }
    }
}

/// Writes the configuration. Returns the exit status.
pub(crate) fn run(arguments: &Arguments) -> u8 {
    match arguments.write() {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("error: {error}");
            2
        }
    }
}

impl Arguments {
    fn write(&self) -> Result<(), String> {
        let mut names: Vec<&str> = self.targets.iter().map(|target| target.name.as_str()).collect();
        names.sort_unstable();
        if let Some(name) = names.windows(2).find_map(|pair| pair.first().filter(|name| Some(*name) == pair.last())) {
            return Err(format!("--target: expected a different name for each target, found {name} twice"));
        }
        if names.len() > MAX_TARGETS {
            return Err(format!("--target: expected at most {MAX_TARGETS} targets, found {}", names.len()));
        }
        let targets = if self.targets.is_empty() { vec![self.purpose.target()] } else { self.targets.clone() };
        let text = text::configuration(self.purpose, &targets);
        let Some(file) = &self.file else {
            // A reader that stops early, such as `head`, has what it wants.
            let _ = std::io::stdout().write_all(text.as_bytes());
            return Ok(());
        };
        let name = file.display();
        let opened = OpenOptions::new().write(true).create_new(true).open(file);
        opened.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| format!("{name}: {error}"))?;
        eprintln!("Wrote {name}. Next: put in your clusters and rules, then run `sidecast check {name}`.");
        Ok(())
    }
}
