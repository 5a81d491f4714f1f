//! `sidecast replay`, against servers that behave and such that do not.

mod files;
mod hostile;
mod interrupted;
mod rabbitmq;
mod secrets;
mod servers;

use std::fs;
use std::path::Path;

use serde_json::{json, Value};
use tempfile::TempDir;

use crate::support::recorded::{values, Recorded};
use crate::support::upstream::Upstream;
use crate::tool::{ended, start, Ran};

/// A directory of its own for the files of a replay, and where letters go.
struct Scene {
    directory: TempDir,
    target: Upstream,
}

impl Scene {
    async fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), target: Upstream::start().await }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path().join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }

    /// The names of the files that are there, sorted.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn url(&self) -> String {
        format!("http://{}", self.target.address())
    }

    /// Replays to the target. Upstreams need a runtime with threads of its own, because this waits for the end.
    fn replay(&self, arguments: &[&str]) -> Ran {
        self.run(&[&["--to", &self.url()], arguments].concat(), &[])
    }

    fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
        ended(start(self.path(), &[&["replay"], arguments].concat(), variables))
    }
}

/// A letter that was received at this second of some day.
fn letter(id: &str, second: usize, path: &str) -> Value {
    let second = format!("2026-01-02T{:02}:{:02}:{:02}.000Z", second / 3_600, second / 60 % 60, second % 60);
    json!({
        "version": 1,
        "id": id,
        "target": "audit",
        "cluster": "outbound|80||audit",
        "reason": "retries_exhausted",
        "attempts": 3,
        "last_outcome": "status_503",
        "received_at": second,
        "given_up_at": second,
        "correlation_id": "c",
        "traceparent": null,
        "request": {
            "method": "POST",
            "path": path,
            "authority": "shop.example",
            "headers": [["x-sidecast-target", "audit"], ["x-twice", "one"], ["x-twice", "two, three"], ["idempotency-key", id]],
            "redacted": [],
            "body": format!("{{\"id\": \"{id}\"}}\r\n"),
        },
    })
}

/// One letter a line.
fn lines<'a>(letters: impl IntoIterator<Item = &'a Value>) -> String {
    letters.into_iter().map(|letter| format!("{letter}\n")).collect()
}

fn keys(received: &[Recorded]) -> Vec<String> {
    received.iter().map(|request| values(&request.headers, "idempotency-key").remove(0)).collect()
}

/// What was told of each letter, by its id or place: result, outcome and number of attempts.
fn told(ran: &Ran) -> Vec<(String, String)> {
    let lines = ran.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    let mut told: Vec<(String, String)> = lines
        .filter(|line| line.get("summary").is_none())
        .map(|line| {
            let whose = line["id"].as_str().or(line["place"].as_str()).unwrap().to_owned();
            let outcome = line["outcome"].as_str().map_or_else(String::new, |text| format!(" {text} {}", line["attempts"]));
            (whose, format!("{}{outcome}", line["result"].as_str().unwrap()))
        })
        .collect();
    told.sort();
    told
}

/// The counts of a run that are not 0.
fn summary(ran: &Ran) -> Value {
    let last: Value = serde_json::from_str(ran.out.lines().last().unwrap_or_else(|| panic!("{ran:?}"))).unwrap();
    let counts = last["summary"].as_object().unwrap_or_else(|| panic!("{ran:?}"));
    counts.iter().filter(|(_, count)| **count != 0).map(|(word, count)| (word.clone(), count.clone())).collect()
}
