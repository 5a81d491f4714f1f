//! Finds the sections of a configuration in which a field may be.

use serde_json::Value;
use sidecast::config::problem::child_path;
use sidecast::config::schema::schema;

/// If more sections than these have the field, a hint would not help.
const MOST: usize = 3;

/// Says where a field of this name belongs. `None` if no section has it, or too many do.
pub(super) fn of(field: &str) -> Option<String> {
    let mut sections = Vec::new();
    collect(&schema(), "", field, &mut sections);
    let (last, others) = sections.split_last()?;
    if others.len() >= MOST {
        return None;
    }
    let places = match others {
        [] => last.clone(),
        others => format!("{} or {last}", others.join(", ")),
    };
    Some(format!("`{field}` belongs {places}"))
}

/// Collects descriptions of the sections that have the field. `path` has `[]` for each list entry.
fn collect(section: &Value, path: &str, field: &str, sections: &mut Vec<String>) {
    let Some(fields) = given(section).get("properties").and_then(Value::as_object) else { return };
    if fields.contains_key(field) {
        sections.push(match path {
            "" => "at the top level".to_owned(),
            path if path.starts_with("targets[]") => format!("in `{path}`"),
            path => format!("in the top-level `{path}`"),
        });
    }
    // The rules of `except` have the same fields as those of `match`.
    for (name, value) in fields.iter().filter(|(name, _)| *name != "except") {
        let path = child_path(path, name);
        collect(value, &path, field, sections);
        if let Some(items) = given(value).get("items") {
            collect(items, &format!("{path}[]"), field, sections);
        }
    }
}

/// The part of a field's schema for a present value. An optional field may also be null.
fn given(field: &Value) -> &Value {
    match field.get("anyOf").and_then(Value::as_array).map(Vec::as_slice) {
        Some([given, null]) if null.get("type").is_some_and(|kind| kind == "null") => given,
        _ => field,
    }
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn a_field_belongs_where_the_schema_has_it() {
        assert_eq!(of("drain_timeout").unwrap(), "`drain_timeout` belongs at the top level");
        assert_eq!(of("max_buffered_bytes").unwrap(), "`max_buffered_bytes` belongs in the top-level `limits`");
        assert_eq!(of("max_attempts").unwrap(), "`max_attempts` belongs in `targets[].retry`");
        assert_eq!(of("pointer").unwrap(), "`pointer` belongs in `targets[].match[].body[]`");
        assert_eq!(of("cluster").unwrap(), "`cluster` belongs in `targets[]` or in `targets[].dead_letter`");
        assert_eq!(
            of("path").unwrap(),
            "`path` belongs in `targets[].dead_letter`, in `targets[].match[]` or in `targets[].request`"
        );
    }

    #[test]
    fn of_no_field_and_of_one_of_many_sections_nothing_is_told() {
        assert_eq!(of("max_atempts"), None);
        assert_eq!(of("percent"), None);
        assert_eq!(of("present"), None);
        assert_eq!(of(""), None);
    }
}
