//! Writes YAML.

use serde::Serialize;
use serde_saphyr::ser_options;

/// Writes a value so that Envoy reads the same one.
///
/// # Errors
/// Returns an error if the value cannot be written.
pub(crate) fn write<T: Serialize + ?Sized>(value: &T) -> Result<String, String> {
    let mut text = String::new();
    // Envoy's reader follows YAML 1.1: what it would take for a number or a flag is quoted, unless the options say otherwise.
    let options = ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_fmt_writer_with_options(&mut text, &value, options).map_err(|error| error.to_string())?;
    Ok(text)
}
