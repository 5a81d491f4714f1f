//! The configurations of the filter that a file holds.

use std::path::Path;

use serde_json::Value;

/// The configurations in a file, each as JSON.
///
/// # Errors
/// What is wrong with the file as a whole.
pub(crate) fn load(path: &Path) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    if text.trim_start().starts_with('{') {
        return Ok(vec![text]);
    }
    let value = serde_saphyr::from_str::<Value>(&text).map_err(|error| format!("not valid YAML: {error}"))?;
    Ok(vec![value.to_string()])
}
