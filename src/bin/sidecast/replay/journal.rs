//! The journal: which letters were delivered. A replay that is begun again passes over them.

use std::collections::HashSet;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::durable::Lines;
use super::envelope::Key;

/// The first line, so that no other file is taken for a journal.
const HEAD: &str = r#"{"journal_of":"sidecast replay","version":1}"#;

/// The journal of this replay and of those before it.
pub(super) struct Journal {
    /// `None` if nothing is sent.
    lines: Option<Lines>,
    delivered: HashSet<Key>,
}

#[derive(Deserialize, Serialize)]
struct Entry {
    #[serde(flatten)]
    key: Key,
    delivered_at: String,
}

impl Journal {
    /// Opens the journal, or begins one.
    ///
    /// # Errors
    /// Returns an error if the file is in use, or is no journal.
    pub(super) async fn open(path: &Path) -> Result<Self, String> {
        // A beginning of the first line alone can only have been torn from it.
        if let Some(text) = text_of(path)? {
            if !is_journal(&text) {
                return Err(no_journal(path, 1));
            }
        }
        let (lines, text) = Lines::open(path, |_| false)?;
        let delivered = entries(path, &text)?;
        if text.is_empty() {
            lines.add(HEAD.to_owned()).await?;
        }
        Ok(Self { lines: Some(lines), delivered })
    }

    /// Reads the journal, if there is one, and changes nothing.
    ///
    /// # Errors
    /// Returns an error if the file is no journal.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let text = text_of(path)?.unwrap_or_default();
        if !is_journal(&text) {
            return Err(no_journal(path, 1));
        }
        let complete = text.rfind('\n').map_or(0, |last| last.saturating_add(1));
        let delivered = entries(path, text.get(..complete).unwrap_or_default())?;
        Ok(Self { lines: None, delivered })
    }

    pub(super) fn has(&self, key: &Key) -> bool {
        self.delivered.contains(key)
    }

    /// Writes that a letter was delivered. It is on the disk when this returns.
    ///
    /// # Errors
    /// Returns an error if it could not be written.
    pub(super) async fn add(&self, key: &Key) -> Result<(), String> {
        let delivered_at = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        // Text always serializes.
        let line = serde_json::to_string(&Entry { key: key.clone(), delivered_at }).unwrap_or_default();
        match &self.lines {
            Some(lines) => lines.add(line).await,
            None => Ok(()),
        }
    }
}

fn text_of(path: &Path) -> Result<Option<String>, String> {
    // A device such as `/dev/full` may have no end.
    if path.exists() && !path.is_file() && !path.is_dir() {
        return Ok(None);
    }
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

fn is_journal(text: &str) -> bool {
    match text.split_once('\n') {
        Some((head, _)) => head == HEAD,
        None => HEAD.starts_with(text),
    }
}

fn no_journal(path: &Path, line: usize) -> String {
    format!("{}, line {line}: not a journal of `sidecast replay`; name another file with --journal", path.display())
}

fn entries(path: &Path, text: &str) -> Result<HashSet<Key>, String> {
    let entry = |(index, line): (usize, &str)| match serde_json::from_str::<Entry>(line) {
        Ok(entry) => Ok(entry.key),
        Err(_) => Err(no_journal(path, index.saturating_add(1))),
    };
    text.lines().enumerate().skip(1).map(entry).collect()
}
