//! The command-line tool, as the binary that is built.

// Not all of what they can do is of use here.
#[allow(dead_code)]
#[path = "../fuzz/choices.rs"]
mod choices;
#[path = "../fuzz/documents.rs"]
mod documents;
#[path = "../support/mod.rs"]
#[allow(dead_code)] // Shared with other tests; these use a part.
mod support;

mod admin;
mod broken;
mod cancelling;
mod chains;
mod completions;
mod convert;
mod diff;
mod directories;
mod envoy;
mod explain;
mod explain_chains;
mod found;
mod hints;
mod http2;
mod init;
mod kinds;
mod names;
mod never_matches;
mod output;
mod places;
mod reference;
mod render;
mod render_whole;
mod replay;
mod schema;
mod schema_rules;
mod shipped;
mod status;
mod status_envoy;
mod tool;
mod warnings;

use std::path::{Path, PathBuf};

use serde_json::Value;

use tool::sidecast_reading;

/// The findings about a text.
fn check(input: &str) -> Vec<Value> {
    sidecast_reading(&["check", "--format", "json", "-"], input).findings()
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
