//! The file of letters that failed again.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{json, Value};
use sha2::{Digest, Sha256};

use super::durable::Lines;
use super::forms::NoLetter;

/// A file with one letter a line. It begins with the first letter that fails.
pub(super) struct Failed {
    path: PathBuf,
    opened: tokio::sync::Mutex<Option<Opened>>,
    has_grown: AtomicBool,
}

struct Opened {
    lines: Lines,
    /// A letter that is in the file is not added again: a replay of the file itself leaves there what fails again.
    known: HashSet<[u8; 32]>,
}

impl Failed {
    /// Opens the file if it is there, to see that it can be used.
    ///
    /// # Errors
    /// Returns an error if the file is in use, or cannot be written.
    pub(super) fn new(path: &Path) -> Result<Self, String> {
        let opened = if path.exists() { Some(Opened::new(path)?) } else { None };
        Ok(Self { path: path.to_owned(), opened: tokio::sync::Mutex::new(opened), has_grown: AtomicBool::new(false) })
    }

    /// Adds a letter. It is on the disk when this returns.
    ///
    /// # Errors
    /// Returns an error if it could not be written.
    pub(super) async fn add(&self, line: String) -> Result<(), String> {
        self.has_grown.store(true, Ordering::Relaxed);
        let mut guard = self.opened.lock().await;
        let opened = match &mut *guard {
            Some(opened) => opened,
            empty => empty.insert(Opened::new(&self.path)?),
        };
        let mark = mark(&line);
        if opened.known.contains(&mark) {
            return Ok(());
        }
        opened.lines.add(line).await?;
        opened.known.insert(mark);
        Ok(())
    }

    /// True if it got a letter, which may have been in it before.
    pub(super) fn has_grown(&self) -> bool {
        self.has_grown.load(Ordering::Relaxed)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Opened {
    fn new(path: &Path) -> Result<Self, String> {
        let is_whole = |line: &str| serde_json::from_str::<Value>(line).is_ok();
        let (lines, text) = Lines::open(path, is_whole)?;
        Ok(Self { known: text.lines().map(mark).collect(), lines })
    }
}

fn mark(line: &str) -> [u8; 32] {
    Sha256::digest(line.as_bytes()).into()
}

/// What is no letter, on one line.
pub(super) fn line(content: &NoLetter) -> String {
    let value = match &content.content {
        text @ Value::String(_) => json!({ "not_a_letter": text }),
        other => other.clone(),
    };
    value.to_string()
}
