//! `sidecast check`: reports the problems that the filter would report about a configuration, and warns about unwise settings.
//!
//! Only the filter's own parser decides what is legal. This module finds configurations in files, and the lines of their problems.

mod files;
mod find;
mod fix;
mod hint;
mod level;
mod locate;
mod report;
pub(crate) mod text;
pub(crate) mod tree;
mod walk;
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
pub(crate) use self::warn::{is_secret, Wanted};

/// Check configuration files for mistakes
///
/// Prints errors that make the filter reject the configuration, and warnings about settings that are probably mistakes, with file, line and column. Needs no
/// Envoy and no network.
///
/// A file is YAML or JSON: a Sidecast configuration by itself, an Envoy bootstrap or a part of one, the config_dump of an admin interface, or a
/// Kubernetes object with the configuration (Istio, Envoy Gateway, Gloo, Higress, a ConfigMap, a kustomize patch). A Wasm filter counts
/// as Sidecast if one of its names or its module's address contains "sidecast", or if its configuration has `targets` with a `cluster`.
///
/// In a directory, all *.yaml, *.yml and *.json files are checked, including subdirectories. Files without Sidecast are skipped.
///
/// Exit status: 0 no errors, 1 errors (with --deny-warnings also warnings), 2 a file cannot be read or an argument is invalid.
#[derive(Debug, clap::Args)]
#[command(after_help = "`sidecast check --help` lists the codes of all warnings.", after_long_help = Code::list())]
pub(crate) struct Arguments {
    /// Files and directories to check; `-` reads standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Exit 1 on warnings too
    #[arg(long)]
    deny_warnings: bool,
    /// Hide the warnings with this code; can be repeated
    #[arg(long, value_name = "CODE", value_enum, hide_possible_values = true)]
    allow: Vec<Code>,
    /// Skip files that have nothing to do with Sidecast; without this they are errors
    #[arg(long)]
    skip_unrelated: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Checks the files. Returns the exit status.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let mut run = Run { arguments, out: anstream::stdout(), unwritten: None, totals: Totals::default() };
    arguments.files.iter().for_each(|file| if file.is_dir() { run.directory(file) } else { run.file(file, false) });
    let flushed = run.out.flush().err();
    // A reader that stops early, such as `head`, has what it wants. The exit status is about all files all the same.
    let unwritten = run.unwritten.or(flushed).filter(|error| error.kind() != io::ErrorKind::BrokenPipe);
    let totals = run.totals;
    if let Some(error) = &unwritten {
        eprintln!("cannot write the findings: {error}");
    }
    // If no file could be read, there is nothing to sum up.
    if arguments.format == Format::Text && totals.read > 0 {
        eprintln!("{}", totals.summary());
    }
    ExitCode::from(match totals {
        _ if unwritten.is_some() => 2,
        Totals { unreadable: 1.., .. } => 2,
        Totals { errors: 1.., .. } => 1,
        Totals { warnings: 1.., .. } if arguments.deny_warnings => 1,
        _ => 0,
    })
}

/// A run over all files.
struct Run<'a> {
    arguments: &'a Arguments,
    out: anstream::AutoStream<io::Stdout>,
    /// Why nothing more is written.
    unwritten: Option<io::Error>,
    totals: Totals,
}

impl Run<'_> {
    /// Checks a file. One that was found in a directory may be unrelated.
    fn file(&mut self, file: &Path, is_found: bool) {
        let name = file.display().to_string();
        let bytes = match read(file) {
            Ok(bytes) => bytes,
            Err(error) => {
                return self.unreadable(file, &error);
            }
        };
        let Checked { mut findings, configurations, none, .. } =
            if is_found { files::check_found(&name, &bytes) } else { files::check(&name, &bytes) };
        findings.extend(none.filter(|_| !is_found && !self.arguments.skip_unrelated));
        self.totals.read += 1;
        self.totals.configurations += configurations;
        self.tell(findings);
    }

    fn directory(&mut self, directory: &Path) {
        let walked = walk::walk(directory);
        walked.unreadable.iter().for_each(|(path, error)| self.unreadable(path, error));
        let (configurations, errors) = (self.totals.configurations, self.totals.errors);
        walked.files.iter().for_each(|file| self.file(file, true));
        let has_none = self.totals.configurations == configurations && self.totals.errors == errors;
        if has_none && walked.unreadable.is_empty() && !self.arguments.skip_unrelated {
            self.totals.read += 1;
            let message = format!("no Sidecast configuration found in {} files", walked.files.len());
            self.tell(vec![Finding::error(&directory.display().to_string(), &message)]);
        }
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) {
        self.totals.unreadable += 1;
        eprintln!("{}: {error}", path.display());
    }

    fn tell(&mut self, mut findings: Vec<Finding>) {
        findings.retain(|finding| self.arguments.allow.iter().all(|code| finding.code != Some(code.name())));
        self.totals.add(&findings);
        if self.unwritten.is_none() {
            let written = findings.iter().try_for_each(|finding| finding.write(self.arguments.format, &mut self.out));
            self.unwritten = written.err();
        }
    }
}

/// Loads the configurations in a file.
///
/// # Errors
/// Returns an error if the file cannot be read, or contains no configuration.
pub(crate) fn load(file: &Path) -> Result<Vec<Loaded>, String> {
    let bytes = read(file).map_err(|error| error.to_string())?;
    let Checked { findings, none, loaded, .. } = files::check(&file.display().to_string(), &bytes);
    match findings.into_iter().chain(none).find(|finding| finding.severity == Severity::Error) {
        Some(error) if loaded.is_empty() => Err(error.message),
        _ => Ok(loaded),
    }
}

/// Loads the configurations in a file, all of which the filter would take.
///
/// # Errors
/// Returns every error as `check` tells it, or why the file cannot be read.
pub(crate) fn load_valid(file: &Path) -> Result<Vec<Loaded>, Vec<String>> {
    let name = file.display().to_string();
    let bytes = read(file).map_err(|error| vec![format!("{name}: {error}")])?;
    let Checked { mut findings, none, loaded, .. } = files::check(&name, &bytes);
    findings.extend(none);
    findings.retain(|finding| finding.severity == Severity::Error);
    if findings.is_empty() {
        return Ok(loaded);
    }
    let lines = findings.iter().map(|finding| {
        let mut line = Vec::new();
        // Writing to memory cannot fail.
        let _ = finding.write(Format::Text, &mut anstream::StripStream::new(&mut line));
        String::from_utf8_lossy(line.trim_ascii_end()).into_owned()
    });
    Err(lines.collect())
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
    /// Files that were read.
    read: usize,
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
