//! Envoy's route configurations, virtual hosts and routes.

use super::envoy_match::{self, fraction, snake, Match};
use super::remark::{Remarks, Source};
use super::shape::{self, literal, Matched, Pattern, Put, Request, Shape};
use super::table::{Entry, Host, Mirror, Table};
use super::text::Domain;
use crate::check::tree::Node;

/// The field of the mirrors.
pub(super) const POLICIES: &str = "request_mirror_policies";

/// The field of the mirror in Envoy's old API.
const OLD_POLICY: &str = "request_mirror_policy";

/// What stands around routes.
#[derive(Clone, Copy, Default)]
pub(super) struct Around<'n> {
    pub(super) config: Option<&'n Node>,
    pub(super) host: Option<&'n Node>,
}

/// True if a route or what is in it has mirrors.
pub(super) fn has_mirrors(node: &Node) -> bool {
    let own = node.get(POLICIES).is_some_and(|policies| !policies.items().is_empty());
    own || node.get(OLD_POLICY).is_some()
        || node.items().iter().any(has_mirrors)
        || node.members().iter().any(|member| has_mirrors(&member.value))
}

/// Reads a route configuration.
pub(super) fn table(config: &Node, name: String, source: &Source, remarks: &mut Remarks) -> Table {
    let any_port = config.get("ignore_port_in_host_matching").is_some_and(Node::is_true);
    let at = source.origin(config);
    for field in ["vhost_header", "vhds"] {
        if config.get(field).is_some() {
            remarks.remark(
                &at,
                format!("`{field}`: the filter tells hosts by their authority, and knows only the virtual hosts in this file"),
            );
        }
    }
    let around = Around { config: Some(config), host: None };
    let hosts = config.get("virtual_hosts").map_or(&[][..], Node::items);
    Table { name, hosts: hosts.iter().map(|one| host(one, around, any_port, source, remarks)).collect(), ..Table::default() }
}

/// Reads a virtual host.
pub(super) fn host(node: &Node, around: Around<'_>, any_port: bool, source: &Source, remarks: &mut Remarks) -> Host {
    let around = Around { host: Some(node), ..around };
    let at = source.origin(node);
    let routes = node.get("routes").map_or(&[][..], Node::items);
    let has_own = [around.config, around.host].into_iter().flatten().any(|node| !policies(node).is_empty());
    let is_mirroring = has_own || routes.iter().any(has_mirrors);
    if is_mirroring && node.get("matcher").is_some() {
        remarks.remark(&at, "`matcher`: its routes are not converted, so there are too few copies");
    }
    if is_mirroring && node.text_of("require_tls").is_some_and(|tls| tls != "NONE") {
        remarks.remark(&at, "`require_tls`: Envoy redirects requests without TLS and does not mirror them, but the filter copies them; redirect in another listener");
    }
    let domains = node.get("domains").map_or(&[][..], Node::items).iter().filter_map(Node::text).map(Domain::of).collect();
    Host { domains, any_port, entries: entries(routes, around, source, remarks) }
}

/// Reads routes.
pub(super) fn entries(routes: &[Node], around: Around<'_>, source: &Source, remarks: &mut Remarks) -> Vec<Entry> {
    routes.iter().map(|one| entry(one, around, source, remarks)).collect()
}

fn policies(node: &Node) -> &[Node] {
    node.get(POLICIES).map_or(&[][..], Node::items)
}

fn entry(node: &Node, around: Around<'_>, source: &Source, remarks: &mut Remarks) -> Entry {
    let origin = source.origin(node);
    let mut read = match node.get("match") {
        Some(matched) => envoy_match::read(matched),
        None => Match {
            terms: vec![Default::default()],
            lost: vec!["the route has no `match`".to_owned()],
            percent: 100.0,
            matched: None,
            remarks: Vec::new(),
        },
    };
    let route = node.get("route");
    // Of the lists of mirrors, the nearest that is not empty counts.
    let lists = [route, around.host, around.config];
    let found = lists.into_iter().flatten().map(policies).find(|policies| !policies.is_empty()).unwrap_or_default();
    let mut mirrors = Vec::new();
    elsewhere(node, source, remarks);
    if let Some(route) = route.filter(|_| !found.is_empty()) {
        let mut said = std::mem::take(&mut read.remarks);
        let mut request = Request::default();
        rewrite(route, read.matched.as_ref(), &mut request, &mut said, &mut read.lost);
        headers(node, route, around, &mut request, &mut said);
        let timeout =
            shape::timeout(route.get("timeout").map(|timeout| timeout.text().unwrap_or("?")), shape::of_envoy(), &mut said);
        let shape = Shape { timeout, request };
        mirrors.extend(found.iter().filter_map(|policy| mirror(policy, &shape, &said, source, remarks)));
    }
    Entry { origin, terms: read.terms, lost: read.lost, percent: read.percent, mirrors }
}

/// Tells of mirrors in a route that stand where Envoy has none.
fn elsewhere(node: &Node, source: &Source, remarks: &mut Remarks) {
    let route = node.get("route");
    let of_route = route.map_or(&[][..], Node::members).iter().filter(|member| snake(&member.key) != POLICIES);
    let beside = node.members().iter().filter(|member| member.key != "route");
    for member in of_route.chain(beside) {
        let is_old = snake(&member.key) == OLD_POLICY;
        if is_old || has_mirrors(&member.value) || snake(&member.key) == POLICIES {
            let key = &member.key;
            remarks.remark(
                &source.origin(&member.value),
                format!("not converted: Envoy 1.36 to 1.40 have no mirrors in `{key}` of a route"),
            );
        }
    }
}

fn mirror(policy: &Node, shape: &Shape, said: &[String], source: &Source, remarks: &mut Remarks) -> Option<Mirror> {
    let origin = source.origin(policy);
    let mut said = said.to_vec();
    let mut shape = shape.clone();
    let mut percent = 100.0;
    let mut cluster = None;
    for member in policy.members() {
        let value = &member.value;
        let text = value.text().unwrap_or_default();
        match snake(&member.key).as_str() {
            "cluster" => cluster = Some(text).filter(|cluster| !cluster.is_empty()),
            "cluster_header" => {}
            "runtime_fraction" => {
                match fraction(value) {
                    Ok((part, key)) => {
                        percent = part;
                        said.extend(key.map(|key| format!("the runtime key {key:?} changes the percentage at runtime; here you must change `sample.percent`")));
                    }
                    Err(why) => {
                        remarks.remark(&origin, format!("not converted: {why}"));
                        return None;
                    }
                }
            }
            "trace_sampled" => {
                said.push("`trace_sampled`: the filter creates no span; it passes on a child of `traceparent`".to_owned())
            }
            "disable_shadow_host_suffix_append" => {}
            "host_rewrite_literal" if text.is_empty() => {}
            "host_rewrite_literal" => shape.request.host(&literal(text), &mut said),
            "request_headers_mutations" => value.items().iter().for_each(|one| mutate(one, &mut shape.request, &mut said)),
            other => said.push(format!("`{other}` is not converted")),
        }
    }
    let Some(cluster) = cluster else {
        let why = if policy.get("cluster_header").is_some() {
            "not converted: a header names the cluster, so a client could choose where copies go; write a target for each cluster, with a rule on the header"
        } else {
            "not converted: no `cluster` that is text"
        };
        remarks.remark(&origin, why);
        return None;
    };
    if percent <= 0.0 {
        remarks.note(&origin, "not converted: the policy mirrors 0 %");
        return None;
    }
    Some(Mirror { origin, cluster: cluster.to_owned(), percent, shape, remarks: said })
}

/// What the route makes of the path and the host. The mirror gets it, too.
fn rewrite(route: &Node, matched: Option<&Matched>, request: &mut Request, said: &mut Vec<String>, lost: &mut Vec<String>) {
    for member in route.members() {
        let value = &member.value;
        let text = value.text().unwrap_or_default();
        match snake(&member.key).as_str() {
            "prefix_rewrite" if text.is_empty() => {}
            "prefix_rewrite" => match matched {
                Some(matched) => request.replace_prefix(matched, text),
                None => lost.push("`prefix_rewrite` of a match without a prefix".to_owned()),
            },
            "regex_rewrite" => {
                let pattern = value.at(&["pattern", "regex"]).and_then(Node::text).unwrap_or_default().to_owned();
                let substitution = value.text_of("substitution").unwrap_or_default().to_owned();
                request.regex_rewrite = Some(Pattern { pattern, substitution });
            }
            "host_rewrite_literal" if text.is_empty() => {}
            "host_rewrite_literal" => request.host(&literal(text), said),
            "host_rewrite_header" => request.host(&format!("${{header:{text}}}"), said),
            other @ ("path_rewrite_policy" | "path_rewrite") => {
                lost.push(format!("`{other}`: the copy would go to another path"))
            }
            other @ ("host_rewrite_path_regex" | "host_rewrite") => {
                said.push(format!("`{other}`: the copy has the host of the client"))
            }
            // The mirror of Envoy has the host of the client, too.
            "auto_host_rewrite" | "auto_host_rewrite_header" => {}
            "append_x_forwarded_host" if value.is_true() => {
                said.push("`append_x_forwarded_host`: the copy does not have Envoy's x-forwarded-host".to_owned())
            }
            _ => {}
        }
    }
    if let Some(problem) = request.problem() {
        lost.push(format!("the rewrite of the path: {problem}"));
        (request.prefix_rewrite, request.regex_rewrite) = (None, None);
    }
}

/// The headers that the route and what is around it add and take away, the nearest first.
fn headers(node: &Node, route: &Node, around: Around<'_>, request: &mut Request, said: &mut Vec<String>) {
    let clusters = route.at(&["weighted_clusters", "clusters"]).map_or(&[][..], Node::items);
    let changes = |cluster: &&Node| {
        ["request_headers_to_add", "request_headers_to_remove", "host_rewrite_literal"]
            .iter()
            .any(|field| cluster.get(field).is_some())
    };
    match clusters {
        [only] => {
            change(only, request, said);
            if let Some(host) = only.text_of("host_rewrite_literal").filter(|host| !host.is_empty()) {
                request.host(&literal(host), said);
            }
        }
        several if several.iter().any(|cluster| changes(&cluster)) => {
            said.push("`weighted_clusters`: the mirror gets the headers and the host of the cluster that the primary's request goes to; the copy does not".to_owned());
        }
        _ => {}
    }
    change(node, request, said);
    [around.host, around.config].into_iter().flatten().for_each(|node| change(node, request, said));
}

fn change(node: &Node, request: &mut Request, said: &mut Vec<String>) {
    for name in node.get("request_headers_to_remove").map_or(&[][..], Node::items).iter().filter_map(Node::text) {
        request.remove(name, said);
    }
    for option in node.get("request_headers_to_add").map_or(&[][..], Node::items) {
        put(option, request, said);
    }
}

/// A `HeaderValueOption`.
fn put(option: &Node, request: &mut Request, said: &mut Vec<String>) {
    let header = |name| option.at(&["header", name]).and_then(Node::text);
    let Some(key) = header("key") else { return said.push("a header without a `key` is not added".to_owned()) };
    let Some(value) = header("value") else {
        return said.push(format!("the header {key} has no `value` that is text, and is not added"));
    };
    let how = match (option.text_of("append_action"), option.get("append")) {
        (Some("OVERWRITE_IF_EXISTS_OR_ADD"), _) => Put::Instead,
        (Some("ADD_IF_ABSENT"), _) => Put::IfAbsent,
        (Some("OVERWRITE_IF_EXISTS"), _) => Put::IfPresent,
        (None, Some(append)) if !append.is_true() => Put::Instead,
        _ => Put::Beside,
    };
    request.put(key, value, how, said);
}

/// A `HeaderMutation`.
fn mutate(mutation: &Node, request: &mut Request, said: &mut Vec<String>) {
    for member in mutation.members() {
        match snake(&member.key).as_str() {
            "remove" => request.remove(member.value.text().unwrap_or_default(), said),
            "append" => put(&member.value, request, said),
            other => said.push(format!("`request_headers_mutations`: `{other}` is not converted")),
        }
    }
}
