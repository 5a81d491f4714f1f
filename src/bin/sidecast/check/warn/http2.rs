//! Finds clusters that speak HTTP/2. A target that violates HTTP/2 can terminate Envoy.

use super::super::tree::{Kind, Node};
use super::{Code, Warning};

const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// The clusters in a file that speak HTTP/2, or may do so.
#[derive(Debug, Default)]
pub(in super::super) struct Http2<'t>(Vec<Speaker<'t>>);

/// A cluster or host that speaks HTTP/2.
#[derive(Debug)]
enum Speaker<'t> {
    /// The name of an Envoy cluster.
    Cluster(&'t str),
    /// A port of a host in a service mesh.
    Port(String, String),
    /// All ports of a host in a service mesh.
    Host(&'t str),
}

impl<'t> Http2<'t> {
    /// Finds the HTTP/2 clusters in these documents.
    pub(in super::super) fn of(documents: &'t [Node]) -> Self {
        let mut found = Self::default();
        documents.iter().for_each(|document| found.walk(document));
        found
    }

    fn has(&self, cluster: &str) -> bool {
        let mut parts = cluster.split('|');
        let of_mesh = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("outbound"), Some(port), Some(_), Some(host)) => Some((port, host)),
            _ => None,
        };
        self.0.iter().any(|speaker| match speaker {
            Speaker::Cluster(name) => *name == cluster,
            Speaker::Port(wanted, host) => of_mesh.is_some_and(|(port, of)| wanted == port && is_host(host, of)),
            Speaker::Host(host) => of_mesh.is_some_and(|(_, of)| is_host(host, of)),
        })
    }

    pub(super) fn check(&self, target: &Node, path: &str, warnings: &mut Vec<Warning>) {
        for place in [&["cluster"][..], &["dead_letter", "cluster"]] {
            let named = target.at(place).and_then(|node| Some((node, node.text()?)));
            let Some((node, name)) = named.filter(|(_, name)| self.has(name)) else { continue };
            let message = format!("{name:?} speaks HTTP/2: a target that breaks the protocol can crash Envoy 1.36 to 1.40");
            let hint = "use HTTP/1.1, or put a listener of this Envoy in between: docs/security.md".to_owned();
            let warning = Warning::new(node, Code::Http2Target, format!("{path}.{}", place.join(".")), message);
            warnings.push(Warning { hint: Some(hint), ..warning });
        }
    }
}

/// True if both names are of the same host. In Kubernetes, a host has shorter names, too.
fn is_host(named: &str, host: &str) -> bool {
    named == host || host.strip_prefix(named).is_some_and(|rest| rest.starts_with('.') && host.ends_with(".svc.cluster.local"))
}

impl<'t> Http2<'t> {
    fn walk(&mut self, node: &'t Node) {
        if let Some(name) = node.text_of("name").filter(|_| speaks_http2(node)) {
            self.0.push(Speaker::Cluster(name));
        }
        match node.text_of("kind") {
            Some("Service") => self.service(node),
            Some("ServiceEntry") => self.entry(node),
            Some("DestinationRule") => self.rule(node),
            _ => {}
        }
        node.items().iter().for_each(|item| self.walk(item));
        node.members().iter().for_each(|member| self.walk(&member.value));
    }

    fn service(&mut self, service: &'t Node) {
        let Some(name) = service.at(&["metadata", "name"]).and_then(Node::text) else { return };
        let namespace = service.at(&["metadata", "namespace"]).and_then(Node::text);
        let host = namespace.map_or_else(|| name.to_owned(), |namespace| format!("{name}.{namespace}"));
        for port in service.at(&["spec", "ports"]).map_or(&[][..], Node::items) {
            let protocol = port.text_of("appProtocol").or_else(|| port.text_of("name")).unwrap_or_default();
            self.port(port, protocol, &host);
        }
    }

    fn entry(&mut self, entry: &'t Node) {
        let Some(spec) = entry.get("spec") else { return };
        for host in spec.get("hosts").map_or(&[][..], Node::items).iter().filter_map(Node::text) {
            for port in spec.get("ports").map_or(&[][..], Node::items) {
                self.port(port, port.text_of("protocol").or_else(|| port.text_of("name")).unwrap_or_default(), host);
            }
        }
    }

    /// Adds a port if it speaks HTTP/2. `protocol` is a protocol, or a port name that begins with one, as in Istio.
    fn port(&mut self, port: &Node, protocol: &str, host: &str) {
        let protocol = protocol.to_ascii_lowercase();
        let is_http2 = |word: &str| matches!(word, "http2" | "h2c" | "grpc");
        let word = protocol.rsplit('/').next().unwrap_or_default();
        let is_web = word.starts_with("grpc-web");
        if !is_web && (is_http2(word) || word.split('-').next().is_some_and(is_http2)) {
            let number = port.get("port").or_else(|| port.get("number"));
            if let Some(Kind::Number(number)) = number.map(|number| &number.kind) {
                self.0.push(Speaker::Port(number.to_string(), host.to_owned()));
            }
        }
    }

    fn rule(&mut self, rule: &'t Node) {
        let policy = rule.at(&["spec", "trafficPolicy", "connectionPool", "http", "h2UpgradePolicy"]);
        if let (Some("UPGRADE"), Some(host)) = (policy.and_then(Node::text), rule.at(&["spec", "host"]).and_then(Node::text)) {
            self.0.push(Speaker::Host(host));
        }
    }
}

/// True if an Envoy cluster may speak HTTP/2. With `use_downstream_protocol_config`, calls of a module use HTTP/1.1.
fn speaks_http2(cluster: &Node) -> bool {
    match cluster.get("typed_extension_protocol_options").and_then(|all| all.get(OPTIONS)) {
        Some(options) => {
            options.get("auto_config").is_some() || options.at(&["explicit_http_config", "http2_protocol_options"]).is_some()
        }
        // The older notation, which Envoy still accepts. A listener has a field of this name, too.
        None => {
            let is_cluster = cluster.get("load_assignment").is_some() || cluster.get("connect_timeout").is_some();
            is_cluster && cluster.get("http2_protocol_options").is_some()
        }
    }
}
