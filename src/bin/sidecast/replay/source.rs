//! Where letters come from.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::forms::{self, Found};
use super::queue::Queue;

/// Files that were read, or a queue.
pub(super) enum Source {
    Files(std::vec::IntoIter<Item>),
    Queue(Box<Queue>),
}

/// What a source gives.
pub(super) struct Item {
    /// Where it stands, for people.
    pub(super) place: String,
    pub(super) found: Found,
    /// What it is acknowledged by.
    pub(super) tag: Option<u64>,
}

impl Source {
    /// Reads all files. The oldest letter is the first.
    ///
    /// # Errors
    /// Says which file cannot be read.
    pub(super) fn read(files: &[PathBuf]) -> Result<Self, String> {
        let mut items = Vec::new();
        for file in files {
            let name = file.display();
            let bytes = bytes_of(file).map_err(|error| format!("{name}: {error}"))?;
            let item = |(line, found)| Item { place: format!("{name}, line {line}"), found, tag: None };
            items.extend(forms::of_text(&bytes).into_iter().map(item));
        }
        items.sort_by_cached_key(|item| (item.found.is_err(), item.found.as_ref().ok().map(|letter| letter.age())));
        Ok(Self::Files(items.into_iter()))
    }

    /// How many there are, as far as that is known.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Files(items) => u64::try_from(items.len()).unwrap_or(u64::MAX),
            Self::Queue(queue) => queue.length,
        }
    }

    /// The next one.
    ///
    /// # Errors
    /// Returns an error if the queue is lost.
    pub(super) async fn next(&mut self) -> Result<Option<Item>, String> {
        match self {
            Self::Files(items) => Ok(items.next()),
            Self::Queue(queue) => {
                let message = queue.next().await?;
                Ok(message.map(|message| Item {
                    place: format!("message {}", message.tag),
                    found: forms::of_message(&message.payload),
                    tag: Some(message.tag),
                }))
            }
        }
    }

    /// Takes one out of its queue for good. A file stays as it is.
    ///
    /// # Errors
    /// Returns an error if the queue is lost.
    pub(super) async fn acknowledge(&self, tag: Option<u64>) -> Result<(), String> {
        match (self, tag) {
            (Self::Queue(queue), Some(tag)) => queue.acknowledge(tag).await,
            _ => Ok(()),
        }
    }

    /// Gives back what is not acknowledged.
    ///
    /// # Errors
    /// Returns an error if that is not sure.
    pub(super) async fn close(self) -> Result<(), String> {
        match self {
            Self::Files(_) => Ok(()),
            Self::Queue(queue) => queue.close().await,
        }
    }
}

fn bytes_of(file: &Path) -> std::io::Result<Vec<u8>> {
    if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    std::fs::read(file)
}
