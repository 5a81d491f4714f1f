//! Values of the chart in envoy/helm/sidecast.

use super::{scalar, Whole};

pub(super) fn render(whole: &Whole<'_>) -> Result<String, String> {
    let options = whole.options;
    let image = options.image();
    // A colon before the last slash is that of a port.
    let (image, tag) = match image.rsplit_once(':') {
        Some((image, tag)) if !tag.contains('/') => (image, tag),
        _ => (image, ""),
    };
    let tag = if tag.is_empty() { String::new() } else { format!("  tag: {:?}\n", tag) };
    let digest = options.sha256.as_ref().map_or(String::new(), |digest| format!("  sha256: {digest:?}\n"));
    let variables: String = whole
        .variables
        .iter()
        .map(|name| {
            let key = name.to_ascii_lowercase().replace('_', "-");
            format!("- name: {}\n  valueFrom: {{secretKeyRef: {{name: sidecast, key: {}}}}}\n", scalar(name), scalar(&key))
        })
        .collect();
    let environment = if variables.is_empty() {
        String::new()
    } else {
        format!("# Fill in: the Secrets with these variables.\nenvironment:\n{variables}")
    };
    Ok(format!(
        "# istio, envoy-gateway or envoy.\nplatform: istio\nmodule:\n{}  image: {}\n{tag}{digest}{}selector:\n  matchLabels: {}\n{environment}configuration:\n{}",
        options.image_is_open("  "),
        scalar(image),
        options.labels_are_open(""),
        options.labels(),
        whole.configuration(2)?,
    ))
}
