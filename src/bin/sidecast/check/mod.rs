//! `sidecast check`: reports the problems that the filter would report about a configuration, and warns about unwise settings.
//!
//! Only the filter's own parser decides what is legal. This module finds configurations in files, and the lines of their problems.

mod files;
mod find;
mod hint;
mod level;
mod locate;
mod report;
pub(crate) mod text;
pub(crate) mod tree;
mod warn;
mod yaml;

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use self::files::Checked;
pub(crate) use self::files::{read as parse, Loaded, Place};
pub(crate) use self::report::visible;
use self::report::{Finding, Format, Severity};
use self::tree::Node;
pub(crate) use self::warn::capabilities::least as least_capabilities;
use self::warn::Code;

/// Tells every problem of the configurations in files, with its line, and what is unwise about them
///
/// A file is YAML (one document or several) or JSON: a configuration by itself; Envoy's bootstrap, a listener or a part of one; Istio's WasmPlugin or
/// EnvoyFilter; Envoy Gateway's EnvoyExtensionPolicy; or a ConfigMap that holds such files. A Wasm filter is taken for Sidecast if a name, an id or
/// the module's address has "sidecast" in it, or if its configuration has `targets` with a `cluster`. A file without any is a problem, unless
/// --skip-unrelated is given.
///
/// Exit status: 0 no problem, 1 problems (or warnings, with --deny-warnings), 2 a file cannot be read, or wrong arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Files to check; `-` is the standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Warnings are as bad as problems; notes are not
    #[arg(long)]
    deny_warnings: bool,
    /// Says nothing of this kind; may be given several times
    #[arg(long, value_name = "CODE", value_enum)]
    allow: Vec<Code>,
    /// Passes over files that can be read and have no configuration of Sidecast
    #[arg(long)]
    skip_unrelated: bool,
    /// How findings are told, on the standard output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Checks the files. Returns the exit status.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let mut out = anstream::stdout();
    let mut totals = Totals::default();
    for file in &arguments.files {
        let name = file.display().to_string();
        match read(file) {
            Ok(bytes) => {
                let Checked { mut findings, configurations, is_unrelated, .. } = files::check(&name, &bytes);
                if is_unrelated && arguments.skip_unrelated {
                    continue;
                }
                findings.retain(|finding| arguments.allow.iter().all(|code| finding.code != Some(code.name())));
                totals.configurations += configurations;
                totals.add(&findings);
                // A reader that stops early, such as `head`, has what it wants.
                if findings.iter().try_for_each(|finding| finding.write(arguments.format, &mut out)).is_err() {
                    break;
                }
            }
            Err(error) => {
                totals.unreadable += 1;
                eprintln!("{name}: {error}");
            }
        }
    }
    let _ = out.flush();
    // If no file could be read, there is nothing to sum up.
    if arguments.format == Format::Text && totals.unreadable < arguments.files.len() {
        eprintln!("{}", totals.summary());
    }
    ExitCode::from(match totals {
        Totals { unreadable: 1.., .. } => 2,
        Totals { errors: 1.., .. } => 1,
        Totals { warnings: 1.., .. } if arguments.deny_warnings => 1,
        _ => 0,
    })
}

/// Loads the configurations in a file.
///
/// # Errors
/// Returns an error if the file cannot be read, or contains no configuration.
pub(crate) fn load(file: &Path) -> Result<Vec<Loaded>, String> {
    let bytes = read(file).map_err(|error| error.to_string())?;
    let Checked { findings, loaded, .. } = files::check(&file.display().to_string(), &bytes);
    match findings.into_iter().find(|finding| finding.severity == Severity::Error) {
        Some(error) if loaded.is_empty() => Err(error.message),
        _ => Ok(loaded),
    }
}

/// Reads a file; `-` is the standard input.
pub(crate) fn read(file: &Path) -> io::Result<Vec<u8>> {
    if file == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    std::fs::read(file)
}

/// Parses JSON, or all documents of YAML.
fn documents(text: &str) -> Result<Vec<Node>, (usize, String)> {
    match tree::from_json(text) {
        Some(document) => Ok(vec![document]),
        None => yaml::read(text),
    }
}

/// The totals of a run.
#[derive(Debug, Default)]
struct Totals {
    configurations: usize,
    errors: usize,
    warnings: usize,
    unreadable: usize,
}

impl Totals {
    fn add(&mut self, findings: &[Finding]) {
        let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
        self.errors += count(Severity::Error);
        self.warnings += count(Severity::Warning);
    }

    fn summary(&self) -> String {
        let count = |number: usize, word: &str| format!("{number} {word}{}", if number == 1 { "" } else { "s" });
        let (errors, warnings) = (count(self.errors, "error"), count(self.warnings, "warning"));
        format!("{}: {errors}, {warnings}", count(self.configurations, "configuration"))
    }
}

#[cfg(test)]
mod tests;
