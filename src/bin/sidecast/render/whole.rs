//! Whole files for a platform, with a configuration in them.

use std::collections::BTreeSet;

use clap::Args;
use serde::Serialize;
use serde_json::{json, Value};

use super::yaml;
use crate::check::least_capabilities;
use crate::check::tree::{from_json, Kind, Node};

#[path = "whole/bootstrap.rs"]
mod bootstrap;
#[path = "whole/gateway.rs"]
mod gateway;
#[path = "whole/istio.rs"]
mod istio;
#[path = "whole/values.rs"]
mod values;

use super::Form;

pub(super) use self::bootstrap::{routes, MODULE as MODULE_OF_ENVOY};
pub(super) use self::istio::MODULE as MODULE_OF_ISTIO;

const IMAGE: &str = concat!("registry.example/sidecast:", env!("CARGO_PKG_VERSION"));
const STRUCT: &str = "type.googleapis.com/google.protobuf.Struct";

/// What the platform needs to know.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The name of the object
    #[arg(long, value_name = "NAME", default_value = "sidecast", value_parser = object_name)]
    name: String,
    /// The namespace of the object
    #[arg(long, value_name = "NAME", value_parser = object_name)]
    namespace: Option<String>,
    /// A label of the pods that get the filter; can be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    selector: Vec<(String, String)>,
    /// The image with the module, such as oci://registry.example/sidecast:1.0.0
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// The SHA-256 of the image, to verify it
    #[arg(long, value_name = "HEX", value_parser = sha256)]
    sha256: Option<String>,
    /// The Gateway whose Envoys get the filter
    #[arg(long, value_name = "NAME", value_parser = object_name)]
    gateway: Option<String>,
    /// The port of the listener that gets the filter
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    listener_port: Option<u16>,
    /// The primary, to which requests go
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    primary: Option<(String, u16)>,
}

/// A configuration that is put into a file.
pub(super) struct Whole<'r> {
    pub(super) options: &'r Options,
    pub(super) configuration: Node,
    pub(super) variables: &'r BTreeSet<String>,
    /// The file of the module.
    pub(super) module: Option<&'r str>,
    /// The filter, and the routes that enable it, if requests are kept from the module.
    pub(super) skipping: Option<(Value, Option<Value>)>,
}

fn object_name(text: &str) -> Result<String, String> {
    let legal = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || matches!(char, '-' | '.');
    let ends = |char: Option<char>| char.is_some_and(|char| char.is_ascii_alphanumeric());
    let is_name = text.len() <= 253 && text.chars().all(legal) && ends(text.chars().next()) && ends(text.chars().last());
    is_name
        .then(|| text.to_owned())
        .ok_or_else(|| "expected a Kubernetes name: lower case letters, digits, `-` and `.`".to_owned())
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    let is_value = |text: &str| text.len() <= 63 && text.chars().all(|char| char.is_ascii_alphanumeric() || "-_.".contains(char));
    let is_key = !key.is_empty()
        && key.split('/').count() <= 2
        && key.split('/').all(|part| !part.is_empty() && part.len() <= 253)
        && key.chars().all(|char| char.is_ascii_alphanumeric() || "-_./".contains(char));
    if is_key && is_value(value) {
        Ok((key.to_owned(), value.to_owned()))
    } else {
        Err("expected a Kubernetes label: letters, digits, `-`, `_` and `.`".to_owned())
    }
}

fn sha256(text: &str) -> Result<String, String> {
    let text = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
    let is_digest = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then_some(text).ok_or_else(|| "expected 64 hexadecimal digits".to_owned())
}

fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let (host, port) = text.rsplit_once(':').ok_or("expected HOST:PORT")?;
    let port = port.parse().ok().filter(|port| *port > 0).ok_or("expected a port from 1 to 65535")?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let legal = |char: char| char.is_ascii_alphanumeric() || "-_.:".contains(char);
    if host.is_empty() || !host.chars().all(legal) {
        return Err("expected a host: a name or an address".to_owned());
    }
    Ok((host.to_owned(), port))
}

impl Options {
    /// The options that were given, and are of no use to a form.
    fn unused(&self, form: Form) -> Vec<&'static str> {
        let is_istio = matches!(form, Form::Wasmplugin | Form::Envoyfilter);
        let is_kubernetes = is_istio || form == Form::EnvoyGateway;
        let has_image = matches!(form, Form::Wasmplugin | Form::EnvoyGateway | Form::Values);
        let uses = [
            ("--name", self.name != "sidecast", is_kubernetes),
            ("--namespace", self.namespace.is_some(), is_kubernetes),
            ("--selector", !self.selector.is_empty(), is_istio || form == Form::Values),
            ("--image", self.image.is_some(), has_image),
            ("--sha256", self.sha256.is_some(), has_image),
            ("--gateway", self.gateway.is_some(), form == Form::EnvoyGateway),
            ("--listener-port", self.listener_port.is_some(), is_istio || form == Form::Envoy),
            ("--primary", self.primary.is_some(), form == Form::Envoy),
        ];
        uses.into_iter().filter(|(_, is_given, is_used)| *is_given && !is_used).map(|(name, ..)| name).collect()
    }

    pub(super) fn are_given(&self) -> bool {
        // Of use to no form at all.
        let is_given = [
            self.namespace.is_some(),
            !self.selector.is_empty(),
            self.image.is_some(),
            self.sha256.is_some(),
            self.gateway.is_some(),
        ];
        is_given.contains(&true) || self.listener_port.is_some() || self.primary.is_some() || self.name != "sidecast"
    }

    /// The image without its scheme.
    fn image(&self) -> &str {
        let image = self.image.as_deref().unwrap_or(IMAGE);
        image.strip_prefix("oci://").unwrap_or(image)
    }

    /// `name: ...` and `namespace: ...`, indented.
    fn metadata(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("  name: {}\n  namespace: {}\n", scalar(&self.name), scalar(namespace)),
            None => format!("  name: {}\n  # Fill in (--namespace):\n  namespace: default\n", scalar(&self.name)),
        }
    }

    /// The labels of the pods, on one line.
    fn labels(&self) -> String {
        let labels = self.selector.iter().map(|(key, value)| format!("{}: {}", scalar(key), scalar(value)));
        match labels.collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => "{app: fill-in}".to_owned(),
            labels => format!("{{{labels}}}"),
        }
    }

    /// A comment if the labels are to be filled in.
    fn labels_are_open(&self, indent: &str) -> String {
        if self.selector.is_empty() {
            format!("{indent}# Fill in (--selector KEY=VALUE): the labels of the pods. Until then it selects nothing.\n")
        } else {
            String::new()
        }
    }

    fn image_is_open(&self, indent: &str) -> String {
        if self.image.is_none() {
            format!("{indent}# Fill in (--image): where you pushed the image of \"make image\".\n")
        } else {
            String::new()
        }
    }
}

impl Whole<'_> {
    /// The file.
    ///
    /// # Errors
    /// Returns an error if the platform cannot have it.
    pub(super) fn render(&self, form: Form) -> Result<String, String> {
        if let [first, ..] = self.options.unused(form).as_slice() {
            return Err(format!("{first}: not used with this --as"));
        }
        let is_file = matches!(form, Form::Envoy | Form::Envoyfilter);
        if self.module.is_some() && !is_file {
            return Err("--module: this platform uses an image; name it with --image".to_owned());
        }
        if self.skipping.is_some() && !is_file {
            return Err("--skip: this platform creates the filter itself, so it cannot be wrapped in a matcher; use --as envoyfilter or envoy".to_owned());
        }
        match form {
            Form::Wasmplugin => istio::wasm_plugin(self),
            Form::Envoyfilter => istio::envoy_filter(self),
            Form::EnvoyGateway => gateway::policies(self),
            Form::Envoy => bootstrap::render(self),
            Form::Values => values::render(self),
        }
    }

    /// The configuration, as a field's value on lines of its own.
    fn configuration(&self, indent: usize) -> Result<String, String> {
        indented(&yaml::write(&self.configuration)?, indent)
    }

    /// The entry of Envoy's `http_filters`.
    fn filter(&self, module: &str, is_read_by_envoy: bool) -> Result<String, String> {
        if let Some((filter, _)) = &self.skipping {
            return yaml::write(&[filter]);
        }
        let configuration = if is_read_by_envoy && has_fraction(&self.configuration, false) {
            // Envoy would read the numbers of a template as text.
            json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": self.configuration.to_json()})
        } else {
            json!({"@type": STRUCT, "value": "<configuration>"})
        };
        let variables: Vec<&String> = self.variables.iter().collect();
        let environment = if variables.is_empty() {
            String::new()
        } else {
            format!("        environment_variables: {{host_env_keys: [{}]}}\n", names(&variables))
        };
        let capabilities: Vec<String> =
            least_capabilities(&self.configuration).iter().map(|name| format!("{name}: {{}}")).collect();
        let mut text = format!(
            "- name: sidecast\n  typed_config:\n    \"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm\n    config:\n      name: sidecast\n      \
             # Not failure_policy: FAIL_OPEN, which answers requests in flight with 503 when the module fails.\n      fail_open: true\n      vm_config:\n        \
             vm_id: sidecast\n        runtime: envoy.wasm.runtime.v8\n        code: {{local: {{filename: {}}}}}\n{environment}      \
             # Only what this configuration needs. If your Envoy does not know this field, remove it.\n      capability_restriction_config:\n        allowed_capabilities:\n{}      configuration:\n",
            scalar(module),
            capabilities.iter().map(|line| format!("          {line}\n")).collect::<String>(),
        );
        match configuration.get("value").and_then(Value::as_str) {
            Some("<configuration>") => {
                text.push_str(&format!("        \"@type\": {STRUCT}\n        value:\n"));
                text.push_str(&self.configuration(10)?);
            }
            _ => text.push_str(&indented(&yaml::write(&configuration)?, 8)?),
        }
        Ok(text)
    }

    /// The names of all clusters that the configuration has, in its order.
    fn clusters(&self) -> Vec<&str> {
        let targets = self.configuration.get("targets").map_or(&[][..], Node::items).iter();
        let mut clusters = Vec::new();
        for target in targets {
            for cluster in [target.get("cluster"), target.at(&["dead_letter", "cluster"])] {
                clusters.extend(cluster.and_then(Node::text).filter(|name| !clusters.contains(name)));
            }
        }
        clusters
    }
}

/// The configuration as it was written, its members in their order.
pub(super) fn as_written(text: &str) -> Result<Node, String> {
    from_json(text).ok_or_else(|| "the configuration is not JSON".to_owned())
}

/// True if a template has a number that Envoy's reader of YAML would take for text.
pub(super) fn has_fraction(node: &Node, is_template: bool) -> bool {
    let is_text = |number: &serde_json::Number| number.as_i64().is_none_or(|whole| i32::try_from(whole).is_err());
    let own = matches!(&node.kind, Kind::Number(number) if is_template && is_text(number));
    own || node.items().iter().any(|item| has_fraction(item, is_template))
        || node.members().iter().any(|member| has_fraction(&member.value, is_template || member.key == "template"))
}

/// Where an address of a cluster may be, by its name. Istio's names have the host and the port in them.
fn endpoint(cluster: &str) -> (String, u16) {
    let parts: Vec<&str> = cluster.split('|').collect();
    if let ["outbound", port, _, host] = parts.as_slice() {
        return ((*host).to_owned(), port.parse().unwrap_or(80));
    }
    let legal = |char: char| if char.is_ascii_alphanumeric() || matches!(char, '-' | '.') { char } else { '-' };
    let host: String = cluster.chars().map(legal).collect();
    let host = host.trim_matches(['-', '.']);
    (if host.is_empty() { "fill-in".to_owned() } else { host.to_owned() }, 80)
}

/// A cluster with the thresholds of a target.
fn cluster(name: &str, host: &str, port: u16) -> Value {
    json!({
        "name": name,
        "type": if host.parse::<std::net::IpAddr>().is_ok() { "STATIC" } else { "STRICT_DNS" },
        "connect_timeout": "1s",
        "circuit_breakers": {"thresholds": [{"max_connections": 128, "max_pending_requests": 256, "max_requests": 1024, "max_retries": 1}]},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": host, "port_value": port}}}}]}],
        },
    })
}

/// Names in a list of YAML on one line.
fn names<T: AsRef<str>>(names: &[T]) -> String {
    names.iter().map(|name| scalar(name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// A text as a scalar of YAML.
fn scalar(text: &str) -> String {
    let is_plain = text.chars().all(|char| char.is_ascii_alphanumeric() || "-_./".contains(char))
        && text.starts_with(|char: char| char.is_ascii_alphabetic() || char == '/')
        && !matches!(text.to_ascii_lowercase().as_str(), "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n");
    if is_plain {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

/// Lines with so many blanks before each.
fn indented(text: &str, indent: usize) -> Result<String, String> {
    let blanks = " ".repeat(indent);
    Ok(text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("{blanks}{line}\n") }).collect())
}

/// Writes a value with blanks before each line.
fn block<T: Serialize + ?Sized>(value: &T, indent: usize) -> Result<String, String> {
    indented(&yaml::write(value)?, indent)
}
