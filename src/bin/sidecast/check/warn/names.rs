//! Checks the names of clusters and hosts that a target has: whether the proxy can have such a cluster, and who is behind it.

use super::super::find::Carrier;
use super::super::tree::Node;
use super::{Code, Warning};

/// Headers that hold credentials, and are sent if a list names them.
const CREDENTIALS: [&str; 5] = ["authorization", "proxy-authorization", "cookie", "x-api-key", "x-forwarded-client-cert"];
/// Clusters that Istio makes besides those of services.
const OF_ISTIO: [&str; 9] = [
    "PassthroughCluster",
    "InboundPassthroughCluster",
    "InboundPassthroughClusterIpv4",
    "InboundPassthroughClusterIpv6",
    "BlackHoleCluster",
    "prometheus_stats",
    "agent",
    "sds-grpc",
    "xds-grpc",
];
/// The ends of names that no public host has (RFC 6761, RFC 6762, RFC 9476, and customs).
const INSIDE: [&str; 9] = ["local", "internal", "localhost", "svc", "lan", "home.arpa", "intranet", "corp", "consul"];

/// What a file says about clusters and hosts.
#[derive(Debug, Default)]
pub(super) struct Names<'t> {
    /// The clusters of Envoy, with the name by which TLS asks for them if there is one.
    clusters: Vec<(&'t str, Option<&'t str>)>,
    /// The hosts of service entries, and whether they are outside of the mesh.
    hosts: Vec<(&'t str, bool)>,
}

impl<'t> Names<'t> {
    pub(super) fn of(documents: &'t [Node]) -> Self {
        let mut names = Self::default();
        documents.iter().for_each(|document| names.walk(document));
        names
    }

    fn walk(&mut self, node: &'t Node) {
        // A cluster has one of these.
        let is_cluster = ["connect_timeout", "load_assignment", "lb_policy", "cluster_type", "transport_socket"]
            .iter()
            .any(|field| node.get(field).is_some());
        if let Some(name) = node.text_of("name").filter(|_| is_cluster) {
            let sni = node.at(&["transport_socket", "typed_config", "sni"]).and_then(Node::text);
            self.clusters.push((name, sni.filter(|sni| !sni.is_empty())));
        }
        if node.text_of("applyTo") == Some("CLUSTER") {
            self.clusters.extend(node.at(&["patch", "value", "name"]).and_then(Node::text).map(|name| (name, None)));
        }
        if node.text_of("kind") == Some("ServiceEntry") {
            // Outside is the default.
            let is_outside = node.at(&["spec", "location"]).and_then(Node::text) != Some("MESH_INTERNAL");
            let hosts = node.at(&["spec", "hosts"]).map_or(&[][..], Node::items).iter().filter_map(Node::text);
            self.hosts.extend(hosts.map(|host| (host, is_outside)));
        }
        node.items().iter().for_each(|item| self.walk(item));
        node.members().iter().for_each(|member| self.walk(&member.value));
    }

    fn sni(&self, cluster: &str) -> Option<&'t str> {
        self.clusters.iter().find(|(name, _)| *name == cluster)?.1
    }

    pub(super) fn check(&self, target: &Node, path: &str, carrier: &Carrier<'_>, warnings: &mut Vec<Warning>) {
        for place in [&["cluster"][..], &["dead_letter", "cluster"]] {
            let named = target.at(place).and_then(|node| Some((node, node.text()?)));
            let Some((node, cluster)) = named else { continue };
            let path = format!("{path}.{}", place.join("."));
            if let Some((message, hint)) = self.fault(cluster, carrier) {
                let hint = hint.map(|meant| format!("did you mean `{meant}`?"));
                warnings.push(Warning { hint, ..Warning::new(node, Code::ClusterName, path, message) });
            }
        }
        self.check_authority(target, path, warnings);
        self.check_credentials(target, path, warnings);
    }

    /// Why this is no name of a cluster, and the name that is meant.
    fn fault(&self, cluster: &str, carrier: &Carrier<'_>) -> Option<(String, Option<String>)> {
        let is_known = self.clusters.iter().any(|(name, _)| *name == cluster);
        // Of a bootstrap all clusters are known: the others are told as such.
        if is_known || carrier.clusters.is_some() {
            return None;
        }
        if let Some((_, rest)) = cluster.split_once("://") {
            let message =
                "expected the name of a cluster of this proxy, found an address: every copy would be dropped (`unknown_cluster`)";
            let host = rest.split('/').next().unwrap_or_default();
            let meant = carrier.istio.and_then(|_| self.of_istio(host, if cluster.starts_with("https") { "443" } else { "80" }));
            return Some((message.to_owned(), meant));
        }
        if carrier.istio.is_some() {
            return self.fault_in_istio(cluster);
        }
        let (host, port) = cluster.rsplit_once(':')?;
        (is_port(port) && !host.is_empty() && !host.contains(['|', '/'])).then(|| {
            let message = "expected the name of a cluster of this proxy, found what looks like a host and a port";
            (message.to_owned(), None)
        })
    }

    fn fault_in_istio(&self, cluster: &str) -> Option<(String, Option<String>)> {
        if OF_ISTIO.contains(&cluster) {
            return None;
        }
        // Gateways that pass TLS on have the same names with other separators.
        let parts: Vec<&str> = match cluster.strip_prefix("outbound_.") {
            Some(rest) => {
                std::iter::once("outbound").chain(rest.splitn(3, "_.")).map(|part| part.trim_end_matches('_')).collect()
            }
            None => cluster.split('|').collect(),
        };
        match parts.as_slice() {
            // The latter in waypoints.
            ["inbound" | "inbound-vip", port, _, _] if is_port(port) => None,
            ["outbound", port, subset, host] if is_port(port) => {
                let meant = self.full(host)?;
                let message = format!("no service has the host {host:?}: cluster names in Istio contain the full host");
                Some((message, meant.map(|host| format!("outbound|{port}|{subset}|{host}"))))
            }
            _ => {
                let message = "Istio names clusters `outbound|PORT|SUBSET|HOST`, where SUBSET may be empty; with another name every copy would be dropped (`unknown_cluster`)";
                Some((message.to_owned(), self.of_istio(cluster, "80")))
            }
        }
    }

    /// The cluster's name for a host with or without a port, if the host is certain.
    fn of_istio(&self, host: &str, port: &str) -> Option<String> {
        let (host, port) = host.rsplit_once(':').filter(|(_, port)| is_port(port)).unwrap_or((host, port));
        let is_whole = host.contains('.') && self.full(host).is_none() && !host.contains(['|', '/']);
        is_whole.then(|| format!("outbound|{port}||{host}"))
    }

    /// Whether something is missing of a host's name, and the whole name if that is certain.
    #[allow(clippy::option_option)]
    fn full(&self, host: &str) -> Option<Option<String>> {
        let is_entry = self.hosts.iter().any(|(known, _)| *known == host);
        if is_entry || host.contains('.') && !host.ends_with(".svc") && !host.contains([':', '/']) {
            return None;
        }
        Some(host.ends_with(".svc").then(|| format!("{host}.cluster.local")))
    }

    /// Warns about a cluster that TLS asks for by another name than the call does.
    fn check_authority(&self, target: &Node, path: &str, warnings: &mut Vec<Warning>) {
        let sni = |place: &[&str]| target.at(place).and_then(|node| self.sni(node.text()?));
        if let (Some(sni), None) = (sni(&["cluster"]), target.at(&["request", "authority"])) {
            let message = format!("TLS asks for {sni:?}, but the call has the client's host as its authority");
            let hint = Some(format!("did you mean to add `request: {{authority: {sni}}}`?"));
            let at = target.get("cluster").unwrap_or(target);
            warnings.push(Warning { hint, ..Warning::new(at, Code::MissingAuthority, format!("{path}.cluster"), message) });
        }
        let cluster = target.at(&["dead_letter", "cluster"]);
        let name = cluster.and_then(Node::text).map(|name| name.rsplit('|').next().unwrap_or(name));
        let of_letters = sni(&["dead_letter", "cluster"]).filter(|sni| name != Some(sni));
        if let (Some(sni), None, Some(at)) = (of_letters, target.at(&["dead_letter", "authority"]), cluster) {
            let message = format!("TLS asks for {sni:?}, but the call has the cluster's name as its authority");
            let hint = Some(format!("did you mean to add `authority: {sni}`?"));
            let path = format!("{path}.dead_letter.cluster");
            warnings.push(Warning { hint, ..Warning::new(at, Code::MissingAuthority, path, message) });
        }
    }

    /// Warns about credentials of clients that are sent to a host outside.
    fn check_credentials(&self, target: &Node, path: &str, warnings: &mut Vec<Warning>) {
        let Some(headers) = target.at(&["request", "headers"]) else { return };
        let forward = headers.get("forward");
        let is_credential =
            |name: &&Node| name.text().is_some_and(|name| CREDENTIALS.contains(&name.to_ascii_lowercase().as_str()));
        let removed = headers.get("remove").map_or(&[][..], Node::items);
        let is_kept = |name: &&Node| !removed.iter().any(|removed| removed.text() == name.text());
        let listed = forward.and_then(|forward| forward.items().iter().filter(is_credential).find(is_kept));
        let forwards_all = forward.is_none_or(|forward| forward.text() == Some("all"));
        let all = headers.get("sensitive").filter(|sensitive| sensitive.text() == Some("forward") && forwards_all);
        let Some(node) = listed.or(all) else { return };
        let Some(host) = target.text_of("cluster").and_then(|cluster| self.outside(cluster)) else { return };
        let field = if listed.is_some() { "forward" } else { "sensitive" };
        let message = format!("sends the client's credentials to a public host, {host:?}");
        warnings.push(Warning::new(node, Code::CredentialsOutside, format!("{path}.request.headers.{field}"), message));
    }

    /// The host behind a cluster, if it is outside for certain.
    fn outside<'a>(&self, cluster: &'a str) -> Option<&'a str>
    where
        't: 'a,
    {
        if let Some(sni) = self.sni(cluster) {
            return is_public(sni).then_some(sni);
        }
        let mut parts = cluster.split('|');
        let host = (parts.next() == Some("outbound")).then(|| parts.nth(2))??;
        let entry = self.hosts.iter().find(|(known, _)| *known == host).map(|(_, is_outside)| *is_outside);
        entry.unwrap_or_else(|| is_public(host)).then_some(host)
    }
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port > 0)
}

/// True for a host that can be public.
fn is_public(host: &str) -> bool {
    let is_inside = |end: &str| host == end || host.strip_suffix(end).is_some_and(|rest| rest.ends_with('.'));
    host.contains('.')
        && !host.contains(".svc.")
        && !INSIDE.into_iter().any(is_inside)
        && host.parse::<std::net::IpAddr>().is_err()
}
