//! Finds the configurations of Sidecast in a document, with their surroundings.
//!
//! A Wasm filter counts as Sidecast if its name, the plugin's name, the root ID, the VM ID, or the module's file or address contains `sidecast`.
//! Whatever its names, it also counts if its configuration has a list `targets` with an entry that has a `cluster`.

mod chart;
mod envoy;
mod kubernetes;
mod patches;
mod unknown;

use std::borrow::Cow;

pub(super) use self::unknown::Unknown;
use super::hint;
use super::tree::{Kind, Member, Node};

/// A configuration that was found.
#[derive(Debug)]
pub(super) struct Found<'t> {
    pub(super) written: Written<'t>,
    pub(super) carrier: Carrier<'t>,
    pub(super) part: Part,
}

/// The form of a configuration.
#[derive(Debug)]
pub(super) enum Written<'t> {
    /// An object in place.
    Tree(Cow<'t, Node>),
    /// JSON in a string.
    Text(&'t Node),
    /// The field that should hold the configuration is null.
    Empty(&'t Member),
    /// The configuration is missing or unreadable.
    Not(Missing),
}

/// A configuration that is missing or unreadable.
#[derive(Debug)]
pub(super) struct Missing {
    /// The position of what is nearest to it.
    pub(super) at: usize,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

/// How much of a configuration a file has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Part {
    #[default]
    Whole,
    /// A patch, which is merged into a configuration that has the rest.
    Patch,
    /// A single target, which is added to others.
    Target,
}

/// The surroundings of a configuration, as far as the file shows them.
#[derive(Clone, Debug, Default)]
pub(super) struct Carrier<'t> {
    /// The plugin that runs it: supplies the module and the variables, and decides what happens if the module fails.
    pub(super) plugin: Option<Plugin<'t>>,
    /// The plugin that a patch changes, or whose module is missing. Only that its fields are known ones can be told.
    pub(super) patched: Option<Plugin<'t>>,
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
    /// What Istio makes of it. `None` if the file is for another proxy.
    pub(super) istio: Option<Istio<'t>>,
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
    /// The `spec` of Istio's `WasmPlugin`, or `spec.wasm` of its `TrafficExtension`.
    Istio(&'t Node),
    /// The `spec` of Higress' `WasmPlugin`.
    Higress(&'t Node),
    /// An entry of `spec.wasm` in Envoy Gateway's `EnvoyExtensionPolicy`.
    Gateway(&'t Node),
    /// An entry of `wasm.filters` in Gloo's options.
    Gloo(&'t Node),
}

/// The object by which Istio puts the filter into its proxies.
#[derive(Clone, Copy, Debug)]
pub(super) enum Istio<'t> {
    /// The `spec` of a `WasmPlugin` or `TrafficExtension`.
    Plugin(&'t Node),
    /// An entry of `configPatches` of an `EnvoyFilter`.
    Filter(&'t Node),
    /// A part of one of these, which does not show the rest.
    Part,
}

/// What a document contains.
#[derive(Debug, Default)]
pub(super) struct Findings<'t> {
    pub(super) configurations: Vec<Found<'t>>,
    /// The texts that may be files themselves.
    pub(super) texts: Vec<Inside<'t>>,
    /// The nodes in which a configuration was found, or is missing.
    claimed: Vec<&'t Node>,
}

/// A text inside a document that may be a file itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inside<'t> {
    pub(super) text: &'t Node,
    pub(super) origin: Origin<'t>,
}

/// Where a document comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin<'t> {
    /// A file, or a file in a ConfigMap, with its name.
    File(&'t str),
    /// A patch in a file of kustomize, with the name of the object that it changes.
    Patch(Option<&'t str>),
    /// Any other text.
    Text,
}

/// Finds all configurations in a document.
pub(super) fn find<'t>(document: &'t Node, origin: Origin<'t>) -> Findings<'t> {
    let mut findings = Findings::default();
    // Filters are in no other part of a bootstrap.
    let bootstrap = document.get("static_resources").map(|_| document);
    let mut scope = Scope { carrier: Carrier { bootstrap, ..Carrier::default() }, ..Scope::default() };
    if let Origin::Patch(name) = origin {
        scope.is_patch = true;
        scope.filter = name;
        scope.carrier.is_kubernetes = true;
    }
    walk(document, &scope, &mut findings);
    let is_claimed = findings.claimed.iter().any(|claimed| std::ptr::eq(*claimed, document));
    let is_alone = findings.configurations.is_empty() && findings.texts.is_empty() && !is_claimed;
    let is_plain = match origin {
        Origin::File(_) => is_plain(document),
        Origin::Patch(_) => false,
        Origin::Text => unknown::has_own_targets(document),
    };
    if is_alone && is_plain {
        let (written, carrier) = (Written::Tree(Cow::Borrowed(document)), Carrier::default());
        findings.configurations.push(Found { written, carrier, part: Part::Whole });
        findings.claimed.push(document);
    }
    findings
}

/// Finds what looks like a configuration of Sidecast and was not found as one. Adds further texts to look into.
pub(super) fn find_unknown<'t>(document: &'t Node, findings: &mut Findings<'t>) -> Vec<Unknown<'t>> {
    unknown::find(document, &findings.claimed, &mut findings.texts)
}

/// What is known from the surroundings of a value.
#[derive(Clone, Debug, Default)]
struct Scope<'t> {
    carrier: Carrier<'t>,
    /// The name of the filter.
    filter: Option<&'t str>,
    /// True in a patch, which need not be whole.
    is_patch: bool,
    /// True in a dump of an admin interface, which has the clusters in another place.
    is_dump: bool,
}

fn walk<'t>(node: &'t Node, scope: &Scope<'t>, findings: &mut Findings<'t>) {
    let mut scope = scope.clone();
    if kubernetes::object(node, &mut scope, findings)
        || patches::kustomization(node, findings)
        || patches::operation(node, &scope, findings)
        || kubernetes::gloo(node, &scope, findings)
        || chart::values(node, &scope, findings)
    {
        return;
    }
    envoy::enter(node, &mut scope);
    if envoy::is_plugin(node) {
        return envoy::plugin(node, scope, findings);
    }
    node.items().iter().for_each(|item| walk(item, &scope, findings));
    for member in node.members() {
        match member.key.as_str() {
            "http_filters" | "httpFilters" => {
                let filters = member.value.items();
                for (index, filter) in filters.iter().enumerate() {
                    scope.carrier.behind = filters.get(index.saturating_add(1)..);
                    walk(filter, &scope, findings);
                }
                scope.carrier.behind = None;
            }
            // The dump tells of a listener's old configuration, which drains, and has those of the bootstrap twice.
            "draining_state" => findings.claimed.push(&member.value),
            "static_resources" if scope.is_dump => findings.claimed.push(&member.value),
            _ => walk(&member.value, &scope, findings),
        }
    }
}

/// A configuration that stands in the field of an object.
fn in_place(field: &Member) -> Written<'_> {
    match field.value.kind {
        Kind::Null => Written::Empty(field),
        _ => Written::Tree(Cow::Borrowed(&field.value)),
    }
}

/// A configuration that stands in a field of `beside`, or is missing there. `None` if it may be missing.
fn in_field<'t>(beside: &'t Node, field: &str, may_miss: bool) -> Option<Written<'t>> {
    if let Some(member) = beside.member(field) {
        return Some(in_place(member));
    }
    let keys = beside.members().iter().map(|member| member.key.as_str());
    let meant = keys.clone().find(|key| key.eq_ignore_ascii_case(field)).or_else(|| hint::almost(field, keys));
    let similar = meant.and_then(|meant| beside.members().iter().find(|member| member.key == meant));
    if may_miss && similar.is_none() {
        return None;
    }
    let message = format!("`{field}` is missing, but required");
    let hint = similar.map(|_| hint::did_you_mean(field));
    Some(Written::Not(Missing { at: similar.map_or(beside.span.start, |similar| similar.key_at), message, hint }))
}

/// A carrier that may be Sidecast's.
struct Candidate<'t> {
    names: Vec<Option<&'t str>>,
    written: Written<'t>,
    /// The object around the configuration, where the targets end up if they are indented too little.
    beside: &'t Node,
    carrier: Carrier<'t>,
    part: Part,
}

/// Adds a configuration if it is Sidecast's.
fn add<'t>(candidate: Candidate<'t>, findings: &mut Findings<'t>) {
    let Candidate { names, written, beside, carrier, part } = candidate;
    let is_like_it = match &written {
        Written::Tree(node) => has_targets(node),
        Written::Text(node) => {
            super::documents(node.text().unwrap_or_default()).is_ok_and(|documents| documents.iter().any(has_targets))
        }
        Written::Empty(_) => has_targets(beside),
        Written::Not(_) => false,
    };
    if names.into_iter().flatten().any(is_ours) || is_like_it {
        findings.claimed.push(beside);
        if let Written::Tree(Cow::Borrowed(node)) = written {
            findings.claimed.push(node);
        }
        findings.configurations.push(Found { written, carrier, part });
    }
}

/// True for a name that has `sidecast` in it.
fn is_ours(name: &str) -> bool {
    name.to_ascii_lowercase().contains("sidecast")
}

fn has_targets(node: &Node) -> bool {
    node.get("targets").is_some_and(|targets| targets.items().iter().any(|target| target.get("cluster").is_some()))
}

/// True for a document that is itself a configuration: it has `targets`, a similar key, or only the other sections.
fn is_plain(document: &Node) -> bool {
    const OTHERS: [&str; 4] = ["limits", "drain_timeout", "correlation", "loop_guard"];
    const INSIDE: [&str; 6] = ["max_body_bytes", "max_buffered_bytes", "max_work_bytes", "header", "traceparent", "secret"];
    let members = document.members();
    // Many tools have a section `limits`.
    let is_own = |member: &Member| {
        let inside = member.value.members();
        inside.is_empty() || inside.iter().any(|member| hint::almost(&member.key, INSIDE).is_some())
    };
    let is_section = |member: &Member| OTHERS.contains(&member.key.as_str()) && is_own(member);
    let is_sections = !members.is_empty() && members.iter().all(is_section);
    // Similar enough to be a typing error, which excludes `target_port`.
    let targets = || members.iter().filter(|member| strsim::jaro(&member.key, "targets") >= 0.9);
    is_sections || targets().any(|member| !unknown::are_of_others(&member.value)) && document.get("apiVersion").is_none()
}
