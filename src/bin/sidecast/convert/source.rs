//! Finds routes with mirrors in files of Envoy, Istio and the Gateway API.

use std::path::PathBuf;
use std::rc::Rc;

use super::envoy::{self, Around, POLICIES};
use super::envoy_match::number;
use super::gateway::{self, Clusters, Route};
use super::istio::{self, Known, VirtualService};
use super::remark::{Origin, Remarks, Source};
use super::table::{Host, Table};
use super::text::Domain;
use crate::check::text::Text;
use crate::check::tree::Node;

/// A file, or a file inside a ConfigMap.
pub(super) struct Document {
    source: Source,
    nodes: Vec<Node>,
}

/// Reads files, and those inside their ConfigMaps.
///
/// # Errors
/// Returns a line for each file that cannot be read.
pub(super) fn load(files: &[PathBuf]) -> Result<Vec<Document>, Vec<String>> {
    let (mut documents, mut errors) = (Vec::new(), Vec::new());
    for file in files {
        let name = file.display().to_string();
        let read = crate::check::read(file).map_err(|error| format!("{name}: {error}"));
        let text = read.and_then(|bytes| String::from_utf8(bytes).map_err(|_| format!("{name}: not UTF-8")));
        match text.and_then(|text| parsed(&name, Rc::new(Text::of_file(text)))) {
            Ok(document) => documents.push(document),
            Err(error) => errors.push(error),
        }
    }
    let inner: Vec<Document> = documents.iter().flat_map(Document::inside).collect();
    documents.extend(inner);
    if errors.is_empty() {
        Ok(documents)
    } else {
        Err(errors)
    }
}

fn parsed(name: &str, text: Rc<Text>) -> Result<Document, String> {
    match crate::check::parse(&text.text, name) {
        Ok(nodes) => Ok(Document { source: Source { file: name.into(), text }, nodes }),
        Err((at, message)) => {
            let position = text.position(at);
            Err(format!("{name}:{}:{}: {message}", position.line, position.column))
        }
    }
}

impl Document {
    /// The files in its ConfigMaps. Those that are neither YAML nor JSON are others'.
    fn inside(&self) -> Vec<Self> {
        let mut maps = Vec::new();
        self.nodes.iter().for_each(|node| of_kind(node, "ConfigMap", &mut maps));
        let entries = maps.into_iter().flat_map(|map| map.get("data").map_or(&[][..], Node::members));
        let inner = entries.filter_map(|entry| {
            let value = entry.value.text().filter(|value| value.contains("mirror") || value.contains("Mirror"))?;
            let text = Rc::new(Text::of_scalar(&self.source.text, &entry.value.span, value));
            let name = &self.source.file;
            parsed(&entry.key, text)
                .ok()
                .map(|document| Self { source: Source { file: Rc::clone(name), ..document.source }, ..document })
        });
        inner.collect()
    }
}

/// All objects of Kubernetes of a kind, those in lists, too.
fn of_kind<'n>(node: &'n Node, kind: &str, found: &mut Vec<&'n Node>) {
    match node.text_of("kind") {
        Some(own) if own == kind => found.push(node),
        Some(own) if own.ends_with("List") => {
            node.get("items").map_or(&[][..], Node::items).iter().for_each(|item| of_kind(item, kind, found))
        }
        _ => node.items().iter().for_each(|item| of_kind(item, kind, found)),
    }
}

/// Tables with mirrors, and where those stand.
#[derive(Default)]
pub(super) struct Found {
    pub(super) tables: Vec<Table>,
    pub(super) leftovers: Vec<Origin>,
}

/// What the user says besides the files.
pub(super) struct Asked<'a> {
    pub(super) namespace: &'a str,
    pub(super) clusters: Clusters,
}

/// Finds the tables in documents.
pub(super) fn find(documents: &[Document], asked: &Asked<'_>, remarks: &mut Remarks) -> Found {
    let mut found = Found::default();
    for document in documents {
        let mut walk = Walk { source: &document.source, found: &mut found, remarks };
        document.nodes.iter().for_each(|node| walk.node(node, ""));
    }
    find_services(documents, asked, &mut found, remarks);
    for is_grpc in [false, true] {
        find_routes(documents, asked, is_grpc, &mut found, remarks);
    }
    found
}

fn objects<'n>(documents: &'n [Document], kind: &str) -> Vec<(&'n Node, &'n Source)> {
    let of = |document: &'n Document| {
        let mut nodes = Vec::new();
        document.nodes.iter().for_each(|node| of_kind(node, kind, &mut nodes));
        nodes.into_iter().map(move |node| (node, &document.source))
    };
    documents.iter().flat_map(of).collect()
}

fn find_services(documents: &[Document], asked: &Asked<'_>, found: &mut Found, remarks: &mut Remarks) {
    let own = |(node, source): (&'_ Node, &Source)| (node.at(&["metadata", "namespace"]).is_none(), source.origin(node));
    let services: Vec<VirtualService<'_>> = objects(documents, "VirtualService")
        .into_iter()
        .map(|(node, source)| VirtualService { node, source: source.clone() })
        .collect();
    let known = Known { namespace: asked.namespace, ports: ports(documents, asked.namespace) };
    let mut places: Vec<&str> = Vec::new();
    for service in services.iter().filter(|service| service.has_mirrors()) {
        places.extend(service.places().into_iter().filter(|place| !places.contains(place)).collect::<Vec<_>>());
        found.leftovers.extend(istio::leftovers(service));
        let (has_none, origin) = own((service.node, &service.source));
        if has_none {
            remarks.note(&origin, format!("no namespace: {:?} is assumed; --namespace sets another", asked.namespace));
        }
    }
    for place in places {
        let here = services.iter().filter(|service| service.places().contains(&place));
        let hosts: Vec<Host> = here.map(|service| service.host(place, &known, remarks)).collect();
        let (name, advice) = if place == istio::MESH {
            ("the mesh".to_owned(), "in the sidecars of the services that clients call (a WasmPlugin with `match: [{mode: SERVER}]`); Istio's mirror runs in the clients' sidecars")
        } else {
            (format!("the gateway {place}"), "in the proxies of the gateway (a WasmPlugin that selects them)")
        };
        found.tables.push(Table { name, advice: advice.to_owned(), hosts });
    }
}

/// The kind of a parent in a mesh, whose routes are for what clients send to that service.
const SERVICE: &str = "Service";

/// The services that have one port.
fn ports(documents: &[Document], namespace: &str) -> Vec<(String, String, u16)> {
    let of = |(node, _): (&Node, &Source)| {
        let name = node.at(&["metadata", "name"])?.text()?.to_owned();
        let namespace = node.at(&["metadata", "namespace"]).and_then(Node::text).unwrap_or(namespace).to_owned();
        let [port] = node.at(&["spec", "ports"])?.items() else { return None };
        let port = number(port.get("port")?)?;
        Some((name, namespace, format!("{port}").parse().ok()?))
    };
    objects(documents, "Service").into_iter().filter_map(of).collect()
}

fn find_routes(documents: &[Document], asked: &Asked<'_>, is_grpc: bool, found: &mut Found, remarks: &mut Remarks) {
    let kind = if is_grpc { "GRPCRoute" } else { "HTTPRoute" };
    let all = objects(documents, kind);
    let gateways = |node: &Node| -> Vec<String> {
        let parents = node.at(&["spec", "parent_refs"]).map_or(&[][..], Node::items).iter();
        let of = |parent: &Node| {
            let kind = if parent.text_of("kind") == Some(SERVICE) { "service" } else { "gateway" };
            Some(format!("{kind} {}", parent.text_of("name")?))
        };
        let named: Vec<String> = parents.filter_map(of).collect();
        if named.is_empty() {
            vec![String::new()]
        } else {
            named
        }
    };
    let mut places: Vec<String> = all.iter().flat_map(|(node, _)| gateways(node)).collect();
    places.sort_unstable();
    places.dedup();
    for place in places {
        let here = all.iter().filter(|(node, _)| gateways(node).contains(&place));
        let routes: Vec<Route<'_>> = here.map(|(node, source)| Route { node, source: (*source).clone(), is_grpc }).collect();
        if !routes.iter().any(Route::has_mirrors) {
            continue;
        }
        found.leftovers.extend(
            routes.iter().flat_map(Route::leftovers).filter(|origin| !found.leftovers.contains(origin)).collect::<Vec<_>>(),
        );
        let is_service = place.starts_with("service ");
        for route in
            routes.iter().filter(|route| is_service && route.has_mirrors() && route.node.at(&["spec", "hostnames"]).is_some())
        {
            remarks.remark(&route.source.origin(route.node), "`hostnames`: they do not count in a route whose parent is a Service, but they do here; there may be too few copies");
        }
        let hosts = gateway::hosts(&routes, asked.clusters, asked.namespace, remarks);
        let of = if place.is_empty() { String::new() } else { format!(" of the {place}") };
        let advice = match asked.clusters {
            _ if is_service => "in the sidecars or the waypoint of that service (a WasmPlugin; for sidecars with `match: [{mode: SERVER}]`), and nowhere else",
            Clusters::Own => "at the routes or their gateway (an EnvoyExtensionPolicy of Envoy Gateway); add the clusters yourself, as envoy/envoy-gateway/clusters.yaml does",
            Clusters::Istio => "in the proxies of the gateway (a WasmPlugin that selects them)",
        };
        found.tables.push(Table { name: format!("the {kind}s{of}"), advice: advice.to_owned(), hosts });
    }
}

struct Walk<'w> {
    source: &'w Source,
    found: &'w mut Found,
    remarks: &'w mut Remarks,
}

impl Walk<'_> {
    fn node(&mut self, node: &Node, name: &str) {
        if matches!(node.text_of("kind"), Some("VirtualService" | "HTTPRoute" | "GRPCRoute" | "ConfigMap")) {
            return;
        }
        if !envoy::has_mirrors(node) {
            return;
        }
        let is_named = node.get("address").is_some() || node.get("filter_chains").is_some();
        let own = node.text_of("name").filter(|_| is_named).map(|name| format!("the listener {name}"));
        let name = own.as_deref().unwrap_or(name);
        if node.get("virtual_hosts").is_some() {
            let table = envoy::table(node, said(name, "the route configuration", node), self.source, self.remarks);
            return self.add(node, table);
        }
        if is_host(node) {
            return self.hosts(node, std::slice::from_ref(node), name);
        }
        if is_route(node) {
            self.remarks.remark(
                &self.source.origin(node),
                "a route by itself: its virtual host and earlier routes are not known, so there may be too many copies",
            );
            return self.routes(node, std::slice::from_ref(node), "the route");
        }
        match node.items() {
            [] => {}
            items if items.iter().all(is_host) => return self.hosts(node, items, name),
            items if items.iter().all(is_route) => {
                self.remarks.remark(
                    &self.source.origin(node),
                    "routes by themselves: their virtual host is not known, so there may be too many copies",
                );
                return self.routes(node, items, "the routes");
            }
            items => items.iter().for_each(|item| self.node(item, name)),
        }
        for member in node.members() {
            if member.key == POLICIES || super::envoy_match::snake(&member.key) == POLICIES {
                self.remarks.remark(
                    &self.source.origin(&member.value),
                    "not converted: these mirrors are not in a route, so it is not known which requests they get",
                );
                self.leave(node);
            } else {
                self.node(&member.value, name);
            }
        }
    }

    fn hosts(&mut self, node: &Node, hosts: &[Node], name: &str) {
        let hosts = hosts.iter().map(|one| envoy::host(one, Around::default(), false, self.source, self.remarks)).collect();
        self.add(node, Table { name: said(name, "the virtual hosts", node), hosts, ..Table::default() });
    }

    fn routes(&mut self, node: &Node, routes: &[Node], name: &str) {
        let entries = envoy::entries(routes, Around::default(), self.source, self.remarks);
        let host = Host { domains: vec![Domain::Any], any_port: false, entries };
        self.add(node, Table { name: name.to_owned(), hosts: vec![host], ..Table::default() });
    }

    fn add(&mut self, node: &Node, table: Table) {
        let advice = "last before the router in the listener that has these routes".to_owned();
        self.found.tables.push(Table { advice, ..table });
        self.leave(node);
    }

    fn leave(&mut self, node: &Node) {
        if let Some(policies) = node.get(POLICIES).filter(|policies| !policies.items().is_empty()) {
            self.found.leftovers.push(self.source.origin(policies));
        }
        node.items().iter().for_each(|item| self.leave(item));
        node.members().iter().for_each(|member| self.leave(&member.value));
    }
}

fn said(listener: &str, kind: &str, node: &Node) -> String {
    let own = node.text_of("name").map_or(kind.to_owned(), |name| format!("{kind} {name}"));
    if listener.is_empty() {
        own
    } else {
        listener.to_owned()
    }
}

fn is_host(node: &Node) -> bool {
    node.get("domains").is_some() && node.get("routes").is_some()
}

fn is_route(node: &Node) -> bool {
    let ends = ["route", "redirect", "direct_response", "filter_action", "non_forwarding_action"];
    node.get("match").is_some() && ends.iter().any(|field| node.get(field).is_some())
}
