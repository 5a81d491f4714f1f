//! Reading Envoy's log: traps of the module, and the JSON lines that the filter writes.

use serde_json::Value;

/// What Envoy prints when a module traps, panics or is cut off, and when Envoy itself breaks.
const TRAPS: [&str; 10] = [
    " failed: Uncaught",
    "Proxy-Wasm plugin in-VM backtrace",
    "panicked at",
    "Plugin is failed",
    "proc_exit",
    "assert failure",
    "panic: ",
    "Caught Segmentation fault",
    "Caught Aborted",
    "out of memory",
];

/// The lines that tell of a trap of the module or a crash of Envoy.
pub(crate) fn traps(log: &str) -> Vec<&str> {
    log.lines()
        .filter(|line| {
            let line = line.to_ascii_lowercase();
            TRAPS.iter().any(|mark| line.contains(&mark.to_ascii_lowercase()))
        })
        .collect()
}

/// One line that the filter wrote.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// Envoy's name of the level: `error`, `warning`, `info`, `debug`.
    pub(crate) level: String,
    /// The JSON object of the line.
    pub(crate) fields: Value,
}

impl Event {
    /// The kind of event.
    pub(crate) fn name(&self) -> &str {
        self.text("event")
    }

    /// A field as text; empty if it is missing.
    pub(crate) fn text(&self, field: &str) -> &str {
        self.fields[field].as_str().unwrap_or_default()
    }
}

/// Every line of the filter, in order. A line of the filter that is no JSON object fails the test: nothing else may be written.
pub(crate) fn events(log: &str) -> Vec<Event> {
    log.lines()
        .filter_map(|line| {
            let (head, rest) = line.split_once(" wasm log")?;
            let level = head.split_whitespace().next()?.to_owned();
            let (_, message) = rest.split_once(": ")?;
            let fields: Value =
                serde_json::from_str(message).unwrap_or_else(|error| panic!("no JSON in the line {line:?}: {error}"));
            assert!(fields.is_object(), "no object in the line {line:?}");
            Some(Event { level, fields })
        })
        .collect()
}
