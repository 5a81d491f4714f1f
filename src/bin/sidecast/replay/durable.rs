//! Files to which lines are added that survive the end of the process, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use tokio::sync::oneshot;

/// A file that this process alone adds lines to, and that its user alone may read: letters hold personal data. Lines that come while others are written share one `fsync`.
pub(super) struct Lines {
    path: PathBuf,
    /// True if it was not there before.
    pub(super) is_new: bool,
    waiting: mpsc::Sender<Line>,
}

/// A line, and whom to tell that it is on the disk.
struct Line {
    text: String,
    written: oneshot::Sender<Result<(), String>>,
}

impl Lines {
    /// Opens the file, or makes it, and reads what is in it.
    ///
    /// `is_whole` says whether a last line without a line feed is one. If not, it was torn when a process ended in the middle of it, and is cut off.
    ///
    /// # Errors
    /// Returns an error if the file cannot be used, or another process uses it.
    pub(super) fn open(path: &Path, is_whole: impl Fn(&str) -> bool) -> Result<(Self, String), String> {
        let place = |error: std::io::Error| format!("{}: {error}", path.display());
        let is_new = !path.exists();
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path).map_err(place)?;
        let opened = file.metadata().map_err(place)?;
        let mut bytes = Vec::new();
        // A device such as `/dev/full` may have no end.
        if opened.is_file() {
            lock(&file, path)?;
            // Another replay may have taken its empty file away just now: then lines would go where nobody finds them.
            if std::fs::metadata(path).map_err(place)?.ino() != opened.ino() {
                return Err(format!("{}: another `sidecast replay` has just removed this file; start again", path.display()));
            }
            file.read_to_end(&mut bytes).map_err(place)?;
        }
        if is_new {
            sync_directory(path);
        }
        let text = mend(&mut file, bytes, is_whole).map_err(place)?;
        let (waiting, lines) = mpsc::channel();
        let name = path.display().to_string();
        thread::spawn(move || write_all(&file, &name, &lines));
        Ok((Self { path: path.to_owned(), is_new, waiting }, text))
    }

    /// Where they are.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line, and waits until it is on the disk.
    ///
    /// # Errors
    /// Returns an error if that failed. Then nothing is added any more.
    pub(super) async fn add(&self, text: String) -> Result<(), String> {
        let (written, told) = oneshot::channel();
        let gone = || format!("{}: the writer has stopped", self.path.display());
        self.waiting.send(Line { text, written }).map_err(|_| gone())?;
        told.await.unwrap_or_else(|_| Err(gone()))
    }
}

fn lock(file: &File, path: &Path) -> Result<(), String> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => {
            format!("{}: another `sidecast replay` uses this file, or this one uses it as its journal", path.display())
        }
        TryLockError::Error(error) => format!("{}: {error}", path.display()),
    })
}

/// What is no file, such as `/dev/null`, has nothing to put on a disk.
fn sync(file: &File) -> std::io::Result<()> {
    if file.metadata()?.is_file() {
        return file.sync_data();
    }
    Ok(())
}

/// A new file is found again after a crash only if its directory is on the disk. Some file systems cannot do that, and need not.
fn sync_directory(path: &Path) {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Ok(directory) = File::open(parent) {
        let _ = directory.sync_all();
    }
}

/// Ends the last line, or cuts off a torn one. Returns the text of the file.
fn mend(file: &mut File, bytes: Vec<u8>, is_whole: impl Fn(&str) -> bool) -> std::io::Result<String> {
    let not_text = |_| std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not text");
    let complete = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last.saturating_add(1));
    let (lines, last) = bytes.split_at_checked(complete).unwrap_or_default();
    let mut text = String::from_utf8(lines.to_vec()).map_err(not_text)?;
    if last.is_empty() {
        // Whoever wrote a line may have ended before it was on the disk. From here on it counts as such.
        sync(file)?;
        return Ok(text);
    }
    match std::str::from_utf8(last).ok().filter(|last| is_whole(last)) {
        Some(last) => {
            text.push_str(last);
            text.push('\n');
            file.write_all(b"\n")?;
        }
        None => file.set_len(u64::try_from(complete).unwrap_or(u64::MAX))?,
    }
    file.seek(SeekFrom::End(0))?;
    sync(file)?;
    Ok(text)
}

fn write_all(mut file: &File, name: &str, lines: &mpsc::Receiver<Line>) {
    let mut broken: Option<String> = None;
    while let Ok(first) = lines.recv() {
        let mut batch = vec![first];
        batch.extend(lines.try_iter());
        if broken.is_none() {
            let text: String = batch.iter().flat_map(|line| [line.text.as_str(), "\n"]).collect();
            broken = file.write_all(text.as_bytes()).and_then(|()| sync(file)).err().map(|error| format!("{name}: {error}"));
        }
        for Line { written, .. } in batch {
            let _ = written.send(broken.clone().map_or(Ok(()), Err));
        }
    }
}
