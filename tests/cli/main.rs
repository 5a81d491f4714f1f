//! The command-line tool, as the binary that is built.

#![allow(clippy::unwrap_used, clippy::panic, clippy::string_slice, clippy::indexing_slicing)]

mod broken;
mod envoy;
mod kinds;
mod output;
mod shipped;
mod warnings;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// What a run of the tool gave.
#[derive(Debug)]
struct Run {
    status: i32,
    out: String,
    err: String,
}

impl Run {
    /// The findings, if they are asked for as JSON.
    fn findings(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }
}

/// Runs the tool in the repository's directory.
fn sidecast(arguments: &[&str], input: &str) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sidecast"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("CLICOLOR_FORCE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A run that does not read its input may be over before.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { status: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// The findings about a text.
fn check(input: &str) -> Vec<Value> {
    sidecast(&["check", "--format", "json", "-"], input).findings()
}

/// The files of a directory beside this one, sorted.
fn fixtures(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new("tests/cli").join(directory);
    let entries = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(&directory)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| directory.join(entry.unwrap().file_name())).collect();
    files.sort();
    assert!(!files.is_empty(), "{}", directory.display());
    files
}

/// The line and column, from 1, of a byte of a text.
fn position(text: &str, at: usize) -> (u64, u64) {
    let before = &text[..at];
    let line = before.rfind('\n').map_or(0, |index| index + 1);
    (before.matches('\n').count() as u64 + 1, before[line..].chars().count() as u64 + 1)
}

/// The line and column that a finding tells.
fn position_of(finding: &Value) -> (u64, u64) {
    (finding["line"].as_u64().unwrap(), finding["column"].as_u64().unwrap())
}
