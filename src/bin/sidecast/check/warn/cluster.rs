//! Checks the clusters that a target names against those of its Envoy.

use super::super::find::Carrier;
use super::super::hint;
use super::super::tree::Node;
use super::route::reached;
use super::{Code, Warning};

/// `chain` is the target and those that it follows.
pub(super) fn check(chain: &[&Node], path: &str, carrier: &Carrier<'_>, warnings: &mut Vec<Warning>) {
    let Some(target) = chain.first() else { return };
    let own = target.get("cluster");
    let of_letters = target.at(&["dead_letter", "cluster"]);
    let copies = (own, format!("{path}.cluster"), "every copy would be dropped (`unknown_cluster`)");
    let letters = (of_letters, format!("{path}.dead_letter.cluster"), "every dead letter would be lost");
    for (node, path, outcome) in [copies, letters] {
        let (Some(node), Some(clusters)) = (node, &carrier.clusters) else { continue };
        if let Some(name) = node.text().filter(|name| !clusters.contains(name)) {
            let hint = hint::similar(name, clusters.iter().copied()).map(|meant| format!("did you mean `{meant}`?"));
            let message = format!("this Envoy has no cluster {name:?}: {outcome}");
            warnings.push(Warning { hint, ..Warning::new(node, Code::UnknownCluster, path, message) });
        }
    }
    if let (Some(own), Some(of_letters)) = (own.and_then(Node::text), of_letters) {
        if of_letters.text() == Some(own) {
            let message = "the target's own cluster: when it fails, its dead letters fail too";
            warnings.push(Warning::new(of_letters, Code::DeadLetterCluster, format!("{path}.dead_letter.cluster"), message));
        }
    }
    // A target with a path of its own is another resource of the same service.
    if let (Some(own), Some(routes), None) = (own, carrier.routes, target.at(&["request", "path"])) {
        let sent = own.text().and_then(|name| sent(chain, routes, name).map(|by| (name, by)));
        if let Some((name, by)) = sent {
            let message = format!("a route of this listener {by} the same requests to {name:?}, so it gets each one twice");
            warnings.push(Warning::new(own, Code::OwnCluster, format!("{path}.cluster"), message));
        }
    }
}

/// How a route sends requests that the target and all of its leaders want to this cluster.
fn sent(chain: &[&Node], routes: &Node, cluster: &str) -> Option<&'static str> {
    let reached = reached(chain, routes);
    if reached.iter().any(|route| leads_to(route, cluster)) {
        return Some("sends");
    }
    reached.iter().any(|route| mirrors_to(route, routes, cluster)).then_some("mirrors")
}

/// True if Envoy itself mirrors the requests of a route to this cluster. What a route says replaces what its virtual host or all routes say.
fn mirrors_to(route: &Node, routes: &Node, cluster: &str) -> bool {
    let hosts = routes.get("virtual_hosts").map_or(&[][..], Node::items);
    let is_of = |host: &&Node| host.get("routes").is_some_and(|of| of.items().iter().any(|other| std::ptr::eq(other, route)));
    let own = route.at(&["route", "request_mirror_policies"]);
    let of_host = || hosts.iter().find(is_of).and_then(|host| host.get("request_mirror_policies"));
    let policies = own.or_else(of_host).or_else(|| routes.get("request_mirror_policies"));
    policies.map_or(&[][..], Node::items).iter().any(|policy| policy.text_of("cluster") == Some(cluster))
}

fn leads_to(route: &Node, cluster: &str) -> bool {
    let weighted = route.at(&["route", "weighted_clusters", "clusters"]).map_or(&[][..], Node::items);
    let names =
        weighted.iter().map(|weighted| weighted.text_of("name")).chain([route.at(&["route", "cluster"]).and_then(Node::text)]);
    names.flatten().any(|name| name == cluster)
}
