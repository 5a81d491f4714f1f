//! The file of letters that failed again.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{json, Value};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use super::durable::Lines;
use super::forms::NoLetter;

/// A file with one letter a line.
pub(super) struct Failed {
    lines: Lines,
    /// A letter that is in the file is not added again: a replay of the file itself leaves there what fails again.
    known: Mutex<HashSet<[u8; 32]>>,
    has_letters: AtomicBool,
}

impl Failed {
    /// Opens the file, or makes it. Whoever takes letters out of a queue must know before that they can be put somewhere.
    ///
    /// # Errors
    /// Returns an error if the file is in use, or cannot be written.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let is_whole = |line: &str| serde_json::from_str::<Value>(line).is_ok();
        let (lines, text) = Lines::open(path, is_whole)?;
        let known = Mutex::new(text.lines().map(mark).collect());
        Ok(Self { lines, known, has_letters: AtomicBool::new(false) })
    }

    /// Adds a letter. It is on the disk when this returns.
    ///
    /// # Errors
    /// Returns an error if it could not be written.
    pub(super) async fn add(&self, line: String) -> Result<(), String> {
        let mark = mark(&line);
        let mut known = self.known.lock().await;
        if !known.contains(&mark) {
            self.lines.add(line).await?;
            known.insert(mark);
        }
        self.has_letters.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Says where letters are that failed in this replay. A file that this replay made, and nothing came into, is taken away again.
    pub(super) fn close(&self) -> Option<&Path> {
        if self.has_letters.load(Ordering::Relaxed) {
            return Some(self.lines.path());
        }
        if self.lines.is_new {
            let _ = std::fs::remove_file(self.lines.path());
        }
        None
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
