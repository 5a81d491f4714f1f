//! Finds the configurations of Sidecast in a document, with their surroundings.
//!
//! A Wasm filter counts as Sidecast if its name, the plugin's name, the root ID, the VM ID, or the module's file or address contains `sidecast`.
//! Whatever its names, it also counts if its configuration has a list `targets` with an entry that has a `cluster`.

use super::tree::{Kind, Member, Node};

/// A configuration that was found.
#[derive(Debug)]
pub(super) struct Found<'t> {
    pub(super) written: Written<'t>,
    pub(super) carrier: Carrier<'t>,
}

/// The form of a configuration.
#[derive(Debug)]
pub(super) enum Written<'t> {
    /// An object in place.
    Tree(&'t Node),
    /// JSON in a string.
    Text(&'t Node),
    /// The field that should hold the configuration is null.
    Empty(&'t Member),
    /// The configuration is missing or unreadable. The node is the nearest one that exists.
    Not(&'t Node, &'static str),
}

/// The surroundings of a configuration, as far as the file shows them.
#[derive(Clone, Debug, Default)]
pub(super) struct Carrier<'t> {
    /// The plugin that runs it: supplies the module and the variables, and decides what happens if the module fails.
    pub(super) plugin: Option<Plugin<'t>>,
    /// The whole bootstrap of the Envoy.
    pub(super) bootstrap: Option<&'t Node>,
    /// The names of all clusters of the Envoy. `None` if the file does not contain all of them.
    pub(super) clusters: Option<Vec<&'t str>>,
    /// The routes behind the filter.
    pub(super) routes: Option<&'t Node>,
    /// The HTTP filters after this one, including the router.
    pub(super) behind: Option<&'t [Node]>,
    /// The HTTP filter, with its name.
    pub(super) filter: Option<&'t Node>,
    /// True if Kubernetes tools read the file.
    pub(super) is_kubernetes: bool,
    /// True if the configuration is in an `Any` of Envoy.
    is_any: bool,
}

impl Carrier<'_> {
    /// True if Envoy itself reads the file. Its YAML differs slightly from that of other tools.
    pub(super) fn is_read_by_envoy(&self) -> bool {
        self.is_any && !self.is_kubernetes
    }
}

/// The forms of a plugin.
#[derive(Clone, Copy, Debug)]
pub(super) enum Plugin<'t> {
    /// Envoy's `PluginConfig`.
    Envoy(&'t Node),
    /// The `spec` of Istio's `WasmPlugin`.
    Istio(&'t Node),
    /// An entry of `spec.wasm` in Envoy Gateway's `EnvoyExtensionPolicy`.
    Gateway(&'t Node),
}

/// What a document contains.
#[derive(Debug, Default)]
pub(super) struct Findings<'t> {
    pub(super) configurations: Vec<Found<'t>>,
    /// The names and texts of the files in ConfigMaps.
    pub(super) files: Vec<(&'t str, &'t Node)>,
}

/// Finds all configurations in a document.
pub(super) fn find(document: &Node) -> Findings<'_> {
    let mut findings = Findings::default();
    // Filters are in no other part of a bootstrap.
    let bootstrap = document.get("static_resources").map(|_| document);
    let scope = Scope { carrier: Carrier { bootstrap, ..Carrier::default() }, filter: None };
    walk(document, &scope, &mut findings);
    if findings.configurations.is_empty() && findings.files.is_empty() && is_plain(document) {
        findings.configurations.push(Found { written: Written::Tree(document), carrier: Carrier::default() });
    }
    findings
}

/// What is known from the surroundings of a value.
#[derive(Clone, Debug, Default)]
struct Scope<'t> {
    carrier: Carrier<'t>,
    /// The name of the filter.
    filter: Option<&'t str>,
}

fn walk<'t>(node: &'t Node, scope: &Scope<'t>, findings: &mut Findings<'t>) {
    let mut scope = scope.clone();
    if node.get("apiVersion").is_some() {
        scope.carrier.is_kubernetes = true;
        match node.text_of("kind") {
            Some("WasmPlugin") => return wasm_plugin(node, scope, findings),
            Some("EnvoyExtensionPolicy") => return extension_policy(node, &scope, findings),
            Some("ConfigMap") => {
                let entries = node.get("data").map_or(&[][..], Node::members);
                findings.files.extend(entries.iter().map(|entry| (entry.key.as_str(), &entry.value)));
                return;
            }
            _ => {}
        }
    }
    if node.get("static_resources").is_some() {
        scope.carrier.clusters = all_clusters(node);
    }
    if let Some(routes) = node.get("route_config") {
        scope.carrier.routes = Some(routes);
    }
    if node.get("typed_config").is_some() {
        scope.filter = node.text_of("name");
        scope.carrier.filter = Some(node);
    }
    if is_plugin(node) {
        return envoy_plugin(node, scope, findings);
    }
    node.items().iter().for_each(|item| walk(item, &scope, findings));
    for member in node.members() {
        if matches!(member.key.as_str(), "http_filters" | "httpFilters") {
            let filters = member.value.items();
            for (index, filter) in filters.iter().enumerate() {
                scope.carrier.behind = filters.get(index.saturating_add(1)..);
                walk(filter, &scope, findings);
            }
            scope.carrier.behind = None;
        } else {
            walk(&member.value, &scope, findings);
        }
    }
}

/// True for Envoy's `PluginConfig`, or an excerpt of one.
fn is_plugin(node: &Node) -> bool {
    let has_vm = node.at(&["vm_config", "runtime"]).is_some() || node.at(&["vm_config", "code"]).is_some();
    has_vm || node.at(&["configuration", "@type"]).is_some()
}

fn envoy_plugin<'t>(node: &'t Node, scope: Scope<'t>, findings: &mut Findings<'t>) {
    let names = [
        scope.filter,
        node.text_of("name"),
        node.text_of("root_id"),
        node.at(&["vm_config", "vm_id"]).and_then(Node::text),
        node.at(&["vm_config", "code", "local", "filename"]).and_then(Node::text),
        node.at(&["vm_config", "code", "remote", "http_uri", "uri"]).and_then(Node::text),
    ];
    let any = node.get("configuration");
    let missing = "missing, but required: a google.protobuf.Struct, or a google.protobuf.StringValue that holds JSON";
    let written = any.map_or(Written::Not(node, missing), unwrapped);
    let mut carrier = scope.carrier;
    carrier.is_any = true;
    carrier.plugin = node.get("vm_config").map(|_| Plugin::Envoy(node));
    add(&names, written, any, carrier, findings);
}

/// The content of a `google.protobuf.Any`.
fn unwrapped(any: &Node) -> Written<'_> {
    let name = any.text_of("@type").and_then(|name| name.rsplit('/').next());
    match (name, any.member("value")) {
        (Some("google.protobuf.Struct"), Some(value)) => in_place(value),
        (Some("google.protobuf.StringValue"), Some(Member { value: value @ Node { kind: Kind::String(_), .. }, .. })) => {
            Written::Text(value)
        }
        (Some("google.protobuf.Struct" | "google.protobuf.StringValue"), _) => {
            Written::Not(any, "expected a `value` beside `@type`: an object of a Struct, text of a StringValue")
        }
        _ => Written::Not(
            any,
            "expected `\"@type\": type.googleapis.com/google.protobuf.Struct` or `...StringValue`, and a `value`",
        ),
    }
}

fn in_place(field: &Member) -> Written<'_> {
    match field.value.kind {
        Kind::Null => Written::Empty(field),
        _ => Written::Tree(&field.value),
    }
}

fn wasm_plugin<'t>(node: &'t Node, scope: Scope<'t>, findings: &mut Findings<'t>) {
    let Some(spec) = node.get("spec") else { return };
    let names = [
        node.at(&["metadata", "name"]).and_then(Node::text),
        spec.text_of("pluginName"),
        spec.text_of("url"),
        spec.text_of("vmId"),
    ];
    let written = spec.member("pluginConfig").map_or(Written::Not(spec, "`pluginConfig` is missing, but required"), in_place);
    add(&names, written, Some(spec), Carrier { plugin: Some(Plugin::Istio(spec)), ..scope.carrier }, findings);
}

fn extension_policy<'t>(node: &'t Node, scope: &Scope<'t>, findings: &mut Findings<'t>) {
    for plugin in node.at(&["spec", "wasm"]).map_or(&[][..], Node::items) {
        let names = [
            node.at(&["metadata", "name"]).and_then(Node::text),
            plugin.text_of("name"),
            plugin.text_of("rootID"),
            plugin.at(&["code", "http", "url"]).and_then(Node::text),
            plugin.at(&["code", "image", "url"]).and_then(Node::text),
        ];
        let written = plugin.member("config").map_or(Written::Not(plugin, "`config` is missing, but required"), in_place);
        add(&names, written, Some(plugin), Carrier { plugin: Some(Plugin::Gateway(plugin)), ..scope.carrier.clone() }, findings);
    }
}

/// Adds a configuration if it is Sidecast's. `beside` is the object around it, where the targets end up if they are indented too little.
fn add<'t>(
    names: &[Option<&str>],
    written: Written<'t>,
    beside: Option<&Node>,
    carrier: Carrier<'t>,
    findings: &mut Findings<'t>,
) {
    let is_named = names.iter().flatten().any(|name| name.to_ascii_lowercase().contains("sidecast"));
    let is_like_it = match written {
        Written::Tree(node) => has_targets(node),
        Written::Text(node) => {
            super::documents(node.text().unwrap_or_default()).is_ok_and(|documents| documents.iter().any(has_targets))
        }
        Written::Empty(_) => beside.is_some_and(has_targets),
        Written::Not(..) => false,
    };
    if is_named || is_like_it {
        findings.configurations.push(Found { written, carrier });
    }
}

fn has_targets(node: &Node) -> bool {
    node.get("targets").is_some_and(|targets| targets.items().iter().any(|target| target.get("cluster").is_some()))
}

/// True for a document that is itself a configuration: it has `targets`, a similar key, or only the other sections.
fn is_plain(document: &Node) -> bool {
    const OTHERS: [&str; 4] = ["limits", "drain_timeout", "correlation", "loop_guard"];
    let keys = || document.members().iter().map(|member| member.key.as_str());
    let is_sections = keys().next().is_some() && keys().all(|key| OTHERS.contains(&key));
    // Similar enough to be a typing error, which excludes `target_port`.
    is_sections || keys().any(|key| strsim::jaro(key, "targets") >= 0.9) && document.get("apiVersion").is_none()
}

/// The names of an Envoy's clusters. `None` if it may receive more clusters at run time.
fn all_clusters(bootstrap: &Node) -> Option<Vec<&str>> {
    let is_dynamic = bootstrap.at(&["dynamic_resources", "cds_config"]).is_some();
    let clusters = bootstrap.at(&["static_resources", "clusters"]).map_or(&[][..], Node::items);
    (!is_dynamic && !clusters.is_empty()).then(|| clusters.iter().filter_map(|cluster| cluster.text_of("name")).collect())
}
