//! The clusters that a target names, among those of its Envoy.

use super::super::find::Carrier;
use super::super::hint;
use super::super::tree::Node;
use super::{Code, Warning};

pub(super) fn check(target: &Node, path: &str, carrier: &Carrier<'_>, warnings: &mut Vec<Warning>) {
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
            let message = "the cluster whose failure makes dead letters: they will fail as well";
            warnings.push(Warning::new(of_letters, Code::DeadLetterCluster, format!("{path}.dead_letter.cluster"), message));
        }
    }
    // With a path of its own the target is another resource of the same service.
    if let (Some(own), Some(routes), None) = (own, carrier.routes, target.at(&["request", "path"])) {
        if let Some(name) = own.text().filter(|name| is_routed(target, routes, name)) {
            let message = format!("a route of this listener sends these requests to {name:?}: it would get each one twice");
            warnings.push(Warning::new(own, Code::OwnCluster, format!("{path}.cluster"), message));
        }
    }
}

/// A condition on a path.
#[derive(Clone, Copy)]
enum Path<'t> {
    Exact(&'t str),
    Prefix(&'t str),
}

/// How many requests of a rule a route takes, as far as paths tell.
#[derive(PartialEq)]
enum Share {
    None,
    Some,
    All,
}

/// True if a route sends requests that the target wants to that cluster.
fn is_routed(target: &Node, routes: &Node, cluster: &str) -> bool {
    let hosts = routes.get("virtual_hosts").map_or(&[][..], Node::items);
    wanted(target).into_iter().any(|wanted| {
        hosts.iter().any(|host| {
            for route in host.get("routes").map_or(&[][..], Node::items) {
                let share = share(wanted, route);
                if share != Share::None && leads_to(route, cluster) {
                    return true;
                }
                // The first route that fits takes the request.
                if share == Share::All {
                    return false;
                }
            }
            false
        })
    })
}

/// The paths that a target wants. A pattern tells nothing that could be held against a route.
fn wanted(target: &Node) -> Vec<Path<'_>> {
    let Some(rules) = target.get("match") else { return vec![Path::Prefix("/")] };
    let wanted = rules.items().iter().filter_map(|rule| {
        let Some(path) = rule.get("path") else { return Some(Path::Prefix("/")) };
        path.text_of("exact").map(Path::Exact).or_else(|| path.text_of("prefix").map(Path::Prefix))
    });
    wanted.collect()
}

fn share(wanted: Path<'_>, route: &Node) -> Share {
    let Some(conditions) = route.get("match") else { return Share::None };
    let prefix = conditions.text_of("prefix").or_else(|| conditions.text_of("path_separated_prefix")).map(Path::Prefix);
    let Some(taken) = prefix.or_else(|| conditions.text_of("path").map(Path::Exact)) else { return Share::None };
    let share = match (wanted, taken) {
        (Path::Exact(wanted), Path::Exact(taken)) if wanted == taken => Share::All,
        (Path::Exact(wanted) | Path::Prefix(wanted), Path::Prefix(taken)) if wanted.starts_with(taken) => Share::All,
        (Path::Prefix(wanted), Path::Exact(taken) | Path::Prefix(taken)) if taken.starts_with(wanted) => Share::Some,
        _ => Share::None,
    };
    match share {
        Share::All if conditions.members().len() > 1 => Share::Some,
        share => share,
    }
}

fn leads_to(route: &Node, cluster: &str) -> bool {
    let weighted = route.at(&["route", "weighted_clusters", "clusters"]).map_or(&[][..], Node::items);
    let names =
        weighted.iter().map(|weighted| weighted.text_of("name")).chain([route.at(&["route", "cluster"]).and_then(Node::text)]);
    names.flatten().any(|name| name == cluster)
}
