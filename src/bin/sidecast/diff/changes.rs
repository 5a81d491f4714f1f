//! The fields in which two values differ.

use serde::Serialize;
use serde_json::{Map, Value};
use sidecast::config::problem::child_path;

use super::secret::without_secrets;

/// A field that differs.
#[derive(Debug, Serialize)]
pub(super) struct Change {
    /// The path of the field in its section, such as `retry.max_attempts`.
    pub(super) path: String,
    /// The old value. `None` if the field was absent.
    pub(super) old: Option<Value>,
    /// The new value. `None` if the field is absent.
    pub(super) new: Option<Value>,
    /// True if a credential is left out of the values.
    pub(super) is_hidden: bool,
}

/// The differences of two sections, in the order of their fields.
pub(super) fn changes(old: &Value, new: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    compare("", Some(old), Some(new), &mut found);
    found
}

fn compare(path: &str, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<Change>) {
    if old == new {
        return;
    }
    // A template is one value: what differs in it makes another body.
    let is_section = !path.ends_with(".template");
    match (old, new) {
        (Some(Value::Object(old)), Some(Value::Object(new))) if is_section => objects(path, old, new, found),
        _ => {
            let hide = |value: Option<&Value>| value.map(|value| without_secrets(path, value));
            let (old, new) = (hide(old), hide(new));
            let is_hidden = old.iter().chain(&new).any(|(_, hidden)| *hidden);
            let value = |side: Option<(Value, bool)>| side.map(|(value, _)| value);
            found.push(Change { path: path.to_owned(), old: value(old), new: value(new), is_hidden });
        }
    }
}

fn objects(path: &str, old: &Map<String, Value>, new: &Map<String, Value>, found: &mut Vec<Change>) {
    for (name, value) in old {
        compare(&child_path(path, name), Some(value), new.get(name), found);
    }
    for (name, value) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
        compare(&child_path(path, name), None, Some(value), found);
    }
}

impl Change {
    /// True if the change is in this section, or is the section itself.
    pub(super) fn is_in(&self, section: &str) -> bool {
        let rest = self.path.strip_prefix(section);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    /// The entries that a list has lost, and those that it has gained. `None` if it is no list on both sides.
    pub(super) fn entries(&self) -> Option<(Vec<&Value>, Vec<&Value>)> {
        let (old, new) = (self.old.as_ref()?.as_array()?, self.new.as_ref()?.as_array()?);
        let gone = old.iter().filter(|entry| !new.contains(entry)).collect();
        let come = new.iter().filter(|entry| !old.contains(entry)).collect();
        Some((gone, come))
    }
}
