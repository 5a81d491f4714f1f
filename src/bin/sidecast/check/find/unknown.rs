//! What looks like a configuration of Sidecast, but stands where none is expected: it would never be checked, and perhaps never be read.
//!
//! Two signs count: a list `targets` as only Sidecast has it, anywhere; and, in files of proxies that load Wasm modules, a plugin or module with
//! `sidecast` in its name. Names of images, labels, volumes and the like are no sign.

use super::{is_ours, Inside, Node, Origin};
use crate::check::hint;
use crate::check::tree::{Kind, Member};

/// Something that looks like a configuration of Sidecast.
#[derive(Debug)]
pub(in super::super) struct Unknown<'t> {
    pub(in super::super) at: usize,
    pub(in super::super) sign: Sign,
    /// The keys that lead to it, the nearest last.
    keys: Vec<&'t str>,
}

/// Why something looks like a configuration of Sidecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Sign {
    Targets,
    Name,
}

/// The fields of a target.
pub(super) const FIELDS: [&str; 18] = [
    "name",
    "cluster",
    "match",
    "except",
    "sample",
    "after",
    "statuses",
    "order",
    "request",
    "response",
    "success",
    "timeout",
    "retry",
    "circuit_breaker",
    "limits",
    "batch",
    "dead_letter",
    "compare",
];
/// The fields in which a proxy's plugin has its configuration.
const CARRIERS: [&str; 5] = ["pluginConfig", "defaultConfig", "configuration", "config", "value"];
/// Fields of a plugin that name it.
const PLUGIN: [&str; 8] = ["pluginName", "plugin_name", "rootId", "rootID", "root_id", "vmId", "vmID", "vm_id"];
/// Fields that say where a module is. They count if the value is a module's.
const MODULE: [&str; 9] = ["url", "uri", "image", "file", "filename", "filePath", "localPath", "source", "src"];
/// What `kubectl` keeps of an object: the object again.
const REPEATED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Groups of objects that load no Wasm module, besides those of Kubernetes.
const OTHER_GROUPS: [&str; 14] = [
    "monitoring.coreos.com",
    "monitoring.googleapis.com",
    "argoproj.io",
    "cert-manager.io",
    "external-secrets.io",
    "fluxcd.io",
    "grafana.integreatly.org",
    "keda.sh",
    "knative.dev",
    "tekton.dev",
    "coreos.com",
    "crossplane.io",
    "cattle.io",
    "openshift.io",
];

impl Unknown<'_> {
    pub(in super::super) fn message(&self) -> &'static str {
        match self.sign {
            Sign::Targets => "looks like targets of Sidecast, but in an unknown place: not checked",
            Sign::Name => "mentions Sidecast, but has no configuration where this kind of file has one: not checked",
        }
    }

    pub(in super::super) fn hint(&self) -> Option<String> {
        let written = self.keys.last()?;
        let meant =
            CARRIERS.into_iter().find(|key| key.eq_ignore_ascii_case(written)).or_else(|| hint::almost(written, CARRIERS))?;
        (meant != *written).then(|| hint::did_you_mean(meant))
    }
}

/// Finds such things in a document, outside of what is `claimed`, and adds texts that may hold some.
pub(super) fn find<'t>(document: &'t Node, claimed: &[&'t Node], texts: &mut Vec<Inside<'t>>) -> Vec<Unknown<'t>> {
    let mut search = Search { claimed, texts, found: Vec::new(), keys: Vec::new() };
    search.visit(document, true);
    search.named(document);
    search.found
}

struct Search<'s, 't> {
    claimed: &'s [&'t Node],
    texts: &'s mut Vec<Inside<'t>>,
    found: Vec<Unknown<'t>>,
    keys: Vec<&'t str>,
}

impl<'t> Search<'_, 't> {
    fn is_claimed(&self, node: &Node) -> bool {
        self.claimed.iter().any(|claimed| std::ptr::eq(*claimed, node))
    }

    fn has_claimed(&self, node: &Node) -> bool {
        self.is_claimed(node) || children(node).any(|child| self.has_claimed(child))
    }

    fn visit(&mut self, node: &'t Node, looks_into_texts: bool) {
        if self.is_claimed(node) {
            return;
        }
        let looks_into_texts = looks_into_texts && !is_of_kubernetes(node);
        if let Some(text) = node.text().filter(|text| looks_into_texts && may_hold_one(text)) {
            let is_known = self.texts.iter().any(|known| std::ptr::eq(known.text, node));
            if !is_known && text.len() < LONGEST {
                self.texts.push(Inside { text: node, origin: Origin::Text });
            }
        }
        node.items().iter().for_each(|item| self.visit(item, looks_into_texts));
        for member in node.members().iter().filter(|member| member.key != REPEATED) {
            if member.key == "targets" && is_own_targets(&member.value) && !self.is_claimed(&member.value) {
                self.found.push(Unknown { at: member.key_at, sign: Sign::Targets, keys: self.keys.clone() });
            } else {
                self.keys.push(&member.key);
                self.visit(&member.value, looks_into_texts);
                self.keys.pop();
            }
        }
    }

    /// Looks for names in each object that is for a proxy.
    fn named(&mut self, node: &'t Node) {
        let is_object = node.get("apiVersion").is_some() && node.text_of("kind").is_some();
        if is_object && !is_list(node) {
            if !loads_no_module(node) {
                let of_kind = node.at(&["metadata", "name"]).filter(|_| is_of_wasm(node));
                let named = of_kind.filter(|name| name.text().is_some_and(is_ours)).or_else(|| named(node, false));
                self.add_named(node, named);
            }
        } else if node.get("typed_config").is_some_and(is_wasm_filter) {
            let name = node.get("name").filter(|name| name.text().is_some_and(is_ours));
            self.add_named(node, name.or_else(|| node.get("typed_config").and_then(|config| named(config, true))));
        } else {
            children(node).for_each(|child| self.named(child));
        }
    }

    fn add_named(&mut self, node: &'t Node, named: Option<&'t Node>) {
        let Some(named) = named.filter(|_| !self.has_claimed(node)) else { return };
        // A list of targets in it says more.
        let mut inside = Search { claimed: self.claimed, texts: &mut Vec::new(), found: Vec::new(), keys: Vec::new() };
        inside.visit(node, false);
        if inside.found.is_empty() {
            self.found.push(Unknown { at: named.span.start, sign: Sign::Name, keys: Vec::new() });
        }
    }
}

/// Longer texts are no configurations, which Kubernetes bounds.
const LONGEST: usize = 1 << 20;

/// True for a text in which a configuration may be.
fn may_hold_one(text: &str) -> bool {
    const OF_PROXIES: [&str; 6] =
        ["typed_config", "typedConfig", "pluginConfig", "defaultConfig", "vm_config", "static_resources"];
    text.contains("targets") && text.contains("cluster")
        || text.contains("sidecast") && OF_PROXIES.iter().any(|field| text.contains(field))
}

/// A node that says that a plugin or module is Sidecast. `is_wasm` is true inside a field about Wasm.
fn named(node: &Node, is_wasm: bool) -> Option<&Node> {
    let of_member = |member: &'_ Member| -> bool {
        let key = member.key.as_str();
        member.value.text().filter(|text| is_ours(text)).is_some_and(|text| {
            PLUGIN.contains(&key)
                || MODULE.contains(&key) && is_module(text)
                || is_wasm && (key == "name" || MODULE.contains(&key))
        })
    };
    let members = || node.members().iter().filter(|member| member.key != "metadata");
    let own = members().find(|member| of_member(member)).map(|member| &member.value);
    let inside = || members().find_map(|member| named(&member.value, is_wasm || is_about_wasm(&member.key)));
    own.or_else(inside).or_else(|| node.items().iter().find_map(|item| named(item, is_wasm)))
}

fn is_module(text: &str) -> bool {
    text.starts_with("oci://") || text.ends_with(".wasm")
}

fn is_about_wasm(key: &str) -> bool {
    key.to_ascii_lowercase().contains("wasm")
}

/// True for the configuration of Envoy's Wasm filter.
fn is_wasm_filter(config: &Node) -> bool {
    ["@type", "type_url"].iter().any(|field| config.text_of(field).is_some_and(|name| name.contains(".wasm.")))
}

/// True for an object whose kind is about Wasm. A plugin without a module is a patch, which need not have a configuration.
fn is_of_wasm(object: &Node) -> bool {
    let is_patch = object.text_of("kind") == Some("WasmPlugin") && object.at(&["spec", "url"]).is_none();
    !is_patch && object.text_of("kind").is_some_and(is_about_wasm)
}

fn is_list(object: &Node) -> bool {
    object.text_of("kind").is_some_and(|kind| kind.ends_with("List")) && object.get("items").is_some()
}

fn group(object: &Node) -> Option<&str> {
    Some(object.text_of("apiVersion")?.rsplit_once('/').map_or("", |(group, _)| group))
}

/// True for an object of Kubernetes itself, such as a Deployment.
fn is_of_kubernetes(object: &Node) -> bool {
    group(object).is_some_and(|group| !group.contains('.') || group.ends_with(".k8s.io")) && !is_list(object)
}

fn loads_no_module(object: &Node) -> bool {
    let is_of = |group: &str, other: &str| group == other || group.strip_suffix(other).is_some_and(|rest| rest.ends_with('.'));
    is_of_kubernetes(object) || group(object).is_some_and(|group| OTHER_GROUPS.iter().any(|other| is_of(group, other)))
}

fn children(node: &Node) -> impl Iterator<Item = &Node> {
    node.items().iter().chain(node.members().iter().map(|member| &member.value))
}

/// True for an object with targets as only Sidecast has them.
pub(super) fn has_own_targets(node: &Node) -> bool {
    node.get("targets").is_some_and(is_own_targets)
}

/// True for a list of targets as only Sidecast has them.
pub(super) fn is_own_targets(node: &Node) -> bool {
    node.items().iter().any(is_own_target)
}

/// True for an object with a name and a cluster, and no more fields of others than of a target besides.
pub(super) fn is_own_target(node: &Node) -> bool {
    let others = node.members().iter().filter(|member| !matches!(member.key.as_str(), "name" | "cluster"));
    let (own, foreign): (Vec<_>, Vec<_>) = others.partition(|member| is_field(&member.key));
    node.text_of("name").is_some() && node.text_of("cluster").is_some() && foreign.len() <= own.len()
}

/// True for the name of a field of a target, also if it is misspelt.
fn is_field(key: &str) -> bool {
    hint::almost(key, FIELDS).is_some()
}

/// True for a value of `targets` that is certainly not Sidecast's: many tools have a field of this name.
pub(super) fn are_of_others(value: &Node) -> bool {
    let is_other = |node: &Node| {
        let own = node.members().iter().filter(|member| is_field(&member.key)).count();
        node.text().is_some() || own.saturating_mul(2) < node.members().len()
    };
    match &value.kind {
        Kind::List(items) => !items.is_empty() && items.iter().all(is_other),
        Kind::Object(members) => is_other(value) && !members.iter().any(|member| member.value.get("cluster").is_some()),
        Kind::Null => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::FIELDS;

    #[test]
    fn the_fields_of_a_target_are_those_of_the_schema() {
        let schema = sidecast::config::schema::schema();
        let fields = schema["properties"]["targets"]["items"]["properties"].as_object().unwrap();
        let mut known = FIELDS.to_vec();
        known.sort_unstable();
        let mut fields: Vec<&str> = fields.keys().map(String::as_str).collect();
        fields.sort_unstable();
        assert_eq!(known, fields);
    }
}
