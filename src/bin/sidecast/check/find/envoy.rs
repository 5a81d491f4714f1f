//! Wasm filters in Envoy's own configuration, and in what an admin interface dumps of it.

use super::{add, in_place, Candidate, Carrier, Findings, Missing, Node, Part, Plugin, Scope, Written};
use crate::check::tree::{Kind, Member};

/// Takes over what an object says about the filters inside it.
pub(super) fn enter<'t>(node: &'t Node, scope: &mut Scope<'t>) {
    let dumps = || node.get("configs").map_or(&[][..], Node::items).iter();
    if dumps().any(|dump| kind_of(dump).ends_with("ConfigDump")) {
        scope.is_dump = dumps().any(|dump| kind_of(dump).ends_with("ListenersConfigDump"));
        scope.carrier.clusters = dumped_clusters(dumps());
        scope.carrier.bootstrap = dumps().find_map(|dump| dump.get("bootstrap"));
    } else if node.get("static_resources").is_some() && scope.carrier.clusters.is_none() && !scope.carrier.is_kubernetes {
        scope.carrier.clusters = all_clusters(node);
    }
    if let Some(routes) = node.get("route_config") {
        scope.carrier.routes = Some(routes);
    }
    if node.get("typed_config").is_some() {
        scope.filter = node.text_of("name");
        scope.carrier.filter = Some(node);
    }
}

fn kind_of(any: &Node) -> &str {
    any.text_of("@type").unwrap_or_default()
}

/// True for Envoy's `PluginConfig`, or an excerpt of one.
pub(super) fn is_plugin(node: &Node) -> bool {
    let has_vm = node.at(&["vm_config", "runtime"]).is_some() || node.at(&["vm_config", "code"]).is_some();
    has_vm || node.at(&["configuration", "@type"]).is_some()
}

pub(super) fn plugin<'t>(node: &'t Node, scope: Scope<'t>, findings: &mut Findings<'t>) {
    let text = |path: &[&str]| node.at(path).and_then(Node::text);
    let names = vec![
        scope.filter,
        text(&["name"]),
        text(&["root_id"]),
        text(&["vm_config", "vm_id"]),
        text(&["vm_config", "code", "local", "filename"]),
        text(&["vm_config", "code", "remote", "http_uri", "uri"]),
    ];
    let any = node.get("configuration");
    let missing = || Missing {
        at: node.span.start,
        message: "missing, but required: a google.protobuf.Struct, or a google.protobuf.StringValue that holds JSON".to_owned(),
        hint: None,
    };
    let written = any.map_or_else(|| Written::Not(missing()), unwrapped);
    let plugin = node.get("vm_config").map(|_| Plugin::Envoy(node));
    let carrier = Carrier { is_any: true, plugin, ..scope.carrier };
    add(Candidate { names, written, beside: any.unwrap_or(node), carrier, part: Part::Whole }, findings);
}

/// The content of a `google.protobuf.Any`.
pub(super) fn unwrapped(any: &Node) -> Written<'_> {
    let not = |message: &str| Written::Not(Missing { at: any.span.start, message: message.to_owned(), hint: None });
    let name = any.text_of("@type").and_then(|name| name.rsplit('/').next());
    match (name, any.member("value")) {
        (Some("google.protobuf.Struct"), Some(value)) => in_place(value),
        (Some("google.protobuf.StringValue"), Some(Member { value: value @ Node { kind: Kind::String(_), .. }, .. })) => {
            Written::Text(value)
        }
        (Some("google.protobuf.Struct" | "google.protobuf.StringValue"), _) => {
            not("expected a `value` next to `@type`: an object for a Struct, text for a StringValue")
        }
        _ => not("expected `\"@type\": type.googleapis.com/google.protobuf.Struct` or `...StringValue`, and a `value`"),
    }
}

/// The names of an Envoy's clusters. `None` if it may receive more clusters at run time.
fn all_clusters(bootstrap: &Node) -> Option<Vec<&str>> {
    let is_dynamic = bootstrap.at(&["dynamic_resources", "cds_config"]).is_some();
    let clusters = bootstrap.at(&["static_resources", "clusters"]).map_or(&[][..], Node::items);
    (!is_dynamic).then(|| clusters.iter().filter_map(|cluster| cluster.text_of("name")).collect())
}

/// The names of the clusters that a dump has. `None` if it has no part about clusters.
fn dumped_clusters<'t>(mut dumps: impl Iterator<Item = &'t Node>) -> Option<Vec<&'t str>> {
    let dump = dumps.find(|dump| kind_of(dump).ends_with("ClustersConfigDump"))?;
    let lists = ["static_clusters", "dynamic_active_clusters", "dynamic_warming_clusters"];
    let clusters = lists.iter().filter_map(|list| dump.get(list)).flat_map(Node::items);
    Some(clusters.filter_map(|cluster| cluster.at(&["cluster", "name"])?.text()).collect())
}
