//! Objects of Kubernetes that hold Wasm plugins: those of Istio, Higress, Envoy Gateway and Gloo.

use super::{add, envoy, in_field, Candidate, Carrier, Findings, Inside, Istio, Node, Origin, Part, Plugin, Scope};

/// Looks into an object of Kubernetes. Returns true if nothing else needs to look into it.
pub(super) fn object<'t>(node: &'t Node, scope: &mut Scope<'t>, findings: &mut Findings<'t>) -> bool {
    if node.get("apiVersion").is_none() {
        if node.get("applyTo").is_some() && scope.carrier.is_kubernetes {
            scope.carrier.istio = Some(Istio::Filter(node));
        }
        return false;
    }
    scope.carrier.is_kubernetes = true;
    let group = node.text_of("apiVersion").and_then(|version| version.split('/').next()).unwrap_or_default();
    let name = node.at(&["metadata", "name"]).and_then(Node::text).or(scope.filter);
    match (node.text_of("kind"), node.get("spec")) {
        (Some("WasmPlugin"), Some(spec)) if group == "extensions.higress.io" => higress(spec, name, scope, findings),
        (Some("WasmPlugin"), Some(spec)) => istio(spec, spec, name, scope, findings),
        (Some("TrafficExtension"), Some(spec)) if group == "extensions.istio.io" => match spec.get("wasm") {
            Some(wasm) => istio(wasm, spec, name, scope, findings),
            None => return false,
        },
        (Some("EnvoyExtensionPolicy"), Some(spec)) => match spec.get("wasm") {
            Some(wasm) => wasm.items().iter().for_each(|plugin| gateway(plugin, name, scope, findings)),
            None => return false,
        },
        (Some("ConfigMap" | "Secret"), _) => {
            let files = ["data", "stringData"].into_iter().filter(|field| *field == "stringData" || !is_secret(node));
            let entries = files.filter_map(|field| node.get(field)).flat_map(Node::members);
            let file = |key: &'t str, text| Inside { text, origin: Origin::File(key) };
            findings.texts.extend(entries.map(|entry| file(entry.key.as_str(), &entry.value)));
        }
        _ => return false,
    }
    true
}

/// The `data` of a Secret is base64.
fn is_secret(node: &Node) -> bool {
    node.text_of("kind") == Some("Secret")
}

/// Istio's plugin: `plugin` has the module and its configuration, `spec` says to which requests it applies.
fn istio<'t>(plugin: &'t Node, spec: &'t Node, name: Option<&'t str>, scope: &Scope<'t>, findings: &mut Findings<'t>) {
    let names = vec![name, plugin.text_of("pluginName"), plugin.text_of("url"), plugin.text_of("vmId")];
    // Without a module it is a patch of another object, which need not have a configuration.
    let is_patch = scope.is_patch || plugin.get("url").is_none();
    let Some(written) = in_field(plugin, "pluginConfig", is_patch) else { return };
    let istio = if is_patch { Istio::Part } else { Istio::Plugin(spec) };
    let own = Some(Plugin::Istio(plugin));
    let (whole, patched) = if is_patch { (None, own) } else { (own, None) };
    let carrier = Carrier { plugin: whole, patched, istio: Some(istio), ..scope.carrier.clone() };
    let part = if is_patch { Part::Patch } else { Part::Whole };
    add(Candidate { names, written, beside: plugin, carrier, part }, findings);
}

/// Higress' plugin, which has a configuration for all requests and others for some routes or hosts.
fn higress<'t>(spec: &'t Node, name: Option<&'t str>, scope: &Scope<'t>, findings: &mut Findings<'t>) {
    let names = vec![name, spec.text_of("pluginName"), spec.text_of("url")];
    let rules = spec.get("matchRules").map_or(&[][..], Node::items);
    let is_patch = scope.is_patch || spec.get("url").is_none();
    let plugin = Some(Plugin::Higress(spec));
    let (plugin, patched) = if is_patch { (None, plugin) } else { (plugin, None) };
    let carrier = Carrier { plugin, patched, istio: Some(Istio::Part), ..scope.carrier.clone() };
    let candidate = |written, beside| Candidate {
        names: names.clone(),
        written,
        beside,
        carrier: carrier.clone(),
        part: if is_patch { Part::Patch } else { Part::Whole },
    };
    // `pluginConfig` comes before the others.
    let field = if spec.get("pluginConfig").is_some() { "pluginConfig" } else { "defaultConfig" };
    let is_off = spec.get("defaultConfigDisable").is_some_and(Node::is_true);
    let may_miss = is_off || !rules.is_empty() || is_patch;
    if let Some(written) = in_field(spec, field, may_miss) {
        add(candidate(written, spec), findings);
    }
    for rule in rules.iter().filter(|rule| rule.get("config").is_some()) {
        if let Some(written) = in_field(rule, "config", true) {
            add(candidate(written, rule), findings);
        }
    }
}

/// A plugin of Envoy Gateway.
fn gateway<'t>(plugin: &'t Node, name: Option<&'t str>, scope: &Scope<'t>, findings: &mut Findings<'t>) {
    let url = |path: &[&str]| plugin.at(path).and_then(Node::text);
    let names = vec![
        name,
        plugin.text_of("name"),
        plugin.text_of("rootID"),
        url(&["code", "http", "url"]),
        url(&["code", "image", "url"]),
    ];
    let is_patch = scope.is_patch || plugin.get("code").is_none() && plugin.get("config").is_none();
    let Some(written) = in_field(plugin, "config", is_patch) else { return };
    let whole = (!scope.is_patch).then_some(Plugin::Gateway(plugin));
    let carrier = Carrier { plugin: whole, ..scope.carrier.clone() };
    let part = if scope.is_patch { Part::Patch } else { Part::Whole };
    add(Candidate { names, written, beside: plugin, carrier, part }, findings);
}

/// Gloo's option `wasm`, in whichever of its objects. Returns true if nothing else needs to look into it.
pub(super) fn gloo<'t>(node: &'t Node, scope: &Scope<'t>, findings: &mut Findings<'t>) -> bool {
    let Some(filters) = node.at(&["wasm", "filters"]).filter(|_| scope.carrier.is_kubernetes) else { return false };
    for filter in filters.items() {
        let names = ["name", "rootId", "image", "filePath"].map(|field| filter.text_of(field)).to_vec();
        let written = match filter.get("config") {
            Some(config) => Some(envoy::unwrapped(config)),
            None => in_field(filter, "config", scope.is_patch),
        };
        let Some(written) = written else { continue };
        let carrier = Carrier { plugin: Some(Plugin::Gloo(filter)), ..scope.carrier.clone() };
        add(Candidate { names, written, beside: filter, carrier, part: Part::Whole }, findings);
    }
    // What else stands beside the option is no filter.
    true
}
