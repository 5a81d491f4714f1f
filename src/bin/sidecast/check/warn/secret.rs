//! Finds credentials in plain text. No message shows one.

use sidecast::config::problem::child_path;
use sidecast::template::Template;
use std::str::FromStr;

use super::super::find::Plugin;
use super::super::tree::Node;
use super::plugin::variables;
use super::{signing_secrets, variables_in, Code, Warning};

/// Parts of the names of headers that hold credentials.
const NAMES: [&str; 14] = [
    "authorization",
    "cookie",
    "api-key",
    "apikey",
    "access-key",
    "accesskey",
    "private-key",
    "subscription-key",
    "functions-key",
    "token",
    "secret",
    "password",
    "passwd",
    "credential",
];
/// The beginnings of credentials (RFC 7617, RFC 6750).
const SCHEMES: [&str; 2] = ["basic ", "bearer "];

const ADVICE: &str = "a credential in plain text, which this file and Envoy's config_dump show";

/// True if a header of this name and value holds a credential.
pub(crate) fn is_secret(name: &str, value: &str) -> bool {
    let (name, value) = (name.to_ascii_lowercase(), value.to_ascii_lowercase());
    NAMES.iter().any(|part| name.contains(part)) || SCHEMES.iter().any(|scheme| value.starts_with(scheme))
}

/// True for a template without expressions.
fn is_constant(node: &Node) -> bool {
    let template = node.text().filter(|text| !text.is_empty()).and_then(|text| Template::from_str(text).ok());
    template.is_some_and(|template| template.expressions().next().is_none())
}

pub(super) fn check_headers(target: &Node, path: &str, warnings: &mut Vec<Warning>) {
    for section in ["request", "dead_letter"] {
        let set = target.at(&[section, "headers", "set"]).map_or(&[][..], Node::members);
        for header in set {
            if is_constant(&header.value) && is_secret(&header.key, header.value.text().unwrap_or_default()) {
                let path = child_path(&format!("{path}.{section}.headers.set"), &header.key);
                let message = format!("{ADVICE}; keep it in an environment variable: `${{env:NAME}}`");
                warnings.push(Warning::new(&header.value, Code::PlainSecret, path, message));
            }
        }
    }
}

/// Warns about secrets of signatures.
pub(super) fn check_signing(target: &Node, path: &str, warnings: &mut Vec<Warning>) {
    for (path, secret) in signing_secrets(target, path).into_iter().filter(|(_, secret)| is_constant(secret)) {
        let message = format!("{ADVICE}; keep it in an environment variable: `${{env:NAME}}`");
        warnings.push(Warning::new(secret, Code::PlainSecret, path, message));
    }
}

pub(super) fn check_loop_guard(config: &Node, warnings: &mut Vec<Warning>) {
    if let Some(secret) = config.at(&["loop_guard", "secret"]).filter(|secret| is_constant(secret)) {
        let message = format!("{ADVICE}; keep it in an environment variable: `${{env:NAME}}`");
        warnings.push(Warning::new(secret, Code::PlainSecret, "loop_guard.secret", message));
    }
}

/// Warns about variables that are used as secrets, and whose values are in the file.
pub(super) fn check_variables(config: &Node, plugin: Plugin<'_>, warnings: &mut Vec<Warning>) {
    let mut secrets: Vec<String> = config.at(&["loop_guard", "secret"]).map(variables_in).unwrap_or_default();
    for target in config.get("targets").map_or(&[][..], Node::items) {
        secrets.extend(signing_secrets(target, "").into_iter().flat_map(|(_, secret)| variables_in(secret)));
        for section in ["request", "dead_letter"] {
            let set = target.at(&[section, "headers", "set"]).map_or(&[][..], Node::members);
            let secret = set.iter().filter(|header| is_secret(&header.key, header.value.text().unwrap_or_default()));
            secrets.extend(secret.flat_map(|header| variables_in(&header.value)));
        }
    }
    let variables = variables(plugin).unwrap_or_default();
    for variable in variables.iter().filter(|variable| secrets.iter().any(|secret| secret == variable.name)) {
        if let Some(value) = variable.value {
            let message =
                format!("the value of the variable {} is {ADVICE}; take it from the environment of Envoy", variable.name);
            warnings.push(Warning::new(value, Code::PlainSecret, "", message));
        }
    }
}
