//! Finds the routes for requests that a target wants, and those among them to which Envoy responds itself.

use sidecast::http::status::StatusPattern;
use sidecast::template::Template;
use std::str::FromStr;

use super::super::find::Carrier;
use super::super::tree::{Kind, Node};
use super::{templates, Code, Warning};

/// Warns about direct responses and redirects. Envoy sends them at the headers, so the filter never sees the body unless another filter reads it
/// first. `chain` is the target and those that it follows.
pub(super) fn check(chain: &[&Node], path: &str, carrier: &Carrier<'_>, warnings: &mut Vec<Warning>) {
    let (Some(routes), Some(behind), [target, ..]) = (carrier.routes, carrier.behind, chain) else { return };
    if behind.iter().any(buffers) || !may_have_body(target) || !needs_body(target, path) {
        return;
    }
    let mut answers = reached(chain, routes).into_iter().filter_map(answer);
    let Some((kind, _)) = answers.find(|(_, status)| chain.iter().all(|target| is_awaited(target, *status))) else { return };
    let message = format!(
        "a `{kind}` of this listener answers some of these requests before their body is read: if they have a body, their copies are dropped (`answered_early`)"
    );
    let at = target.get("match").or_else(|| target.get("cluster")).unwrap_or(target);
    let hint = Some("put `envoy.filters.http.buffer` between Sidecast and the router, or narrow `match`".to_owned());
    warnings.push(Warning { hint, ..Warning::new(at, Code::AnsweredEarly, format!("{path}.match"), message) });
}

/// True for the filter that buffers a request until its body is complete.
fn buffers(filter: &Node) -> bool {
    let kind = filter.at(&["typed_config", "@type"]).and_then(Node::text).unwrap_or_default();
    kind.ends_with("envoy.extensions.filters.http.buffer.v3.Buffer") && !filter.get("disabled").is_some_and(Node::is_true)
}

/// How a route makes Envoy respond, and with which status if it is known.
fn answer(route: &Node) -> Option<(&'static str, Option<u16>)> {
    if let Some(direct) = route.get("direct_response") {
        return Some(("direct_response", direct.get("status").and_then(number)));
    }
    route.get("redirect").map(|redirect| {
        let code = redirect.text_of("response_code").unwrap_or("MOVED_PERMANENTLY");
        let codes = [
            ("MOVED_PERMANENTLY", 301),
            ("FOUND", 302),
            ("SEE_OTHER", 303),
            ("TEMPORARY_REDIRECT", 307),
            ("PERMANENT_REDIRECT", 308),
        ];
        ("redirect", codes.into_iter().find_map(|(name, status)| (name == code).then_some(status)))
    })
}

fn number(node: &Node) -> Option<u16> {
    match &node.kind {
        Kind::Number(number) => u16::try_from(number.as_u64()?).ok(),
        _ => node.text()?.parse().ok(),
    }
}

/// True unless the target waits for a response with another status.
fn is_awaited(target: &Node, status: Option<u16>) -> bool {
    let (Some("response"), Some(status)) = (target.text_of("after"), status) else { return true };
    let Some(statuses) = target.get("statuses") else { return (200..300).contains(&status) };
    let patterns = statuses.items().iter().filter_map(|pattern| match number(pattern) {
        Some(number) => Some(number == status),
        None => StatusPattern::parse(pattern.text()?).map(|pattern| pattern.covers(status)),
    });
    patterns.into_iter().any(|covers| covers)
}

/// False if the target only wants requests with methods that usually have no body.
fn may_have_body(target: &Node) -> bool {
    let bodiless = |method: &Node| matches!(method.text(), Some("GET" | "HEAD" | "OPTIONS" | "TRACE"));
    let rules = target.get("match").map_or(&[][..], Node::items);
    let takes_bodies = |rule: &Node| rule.get("methods").is_none_or(|methods| !methods.items().iter().all(bodiless));
    rules.is_empty() || rules.iter().any(takes_bodies)
}

/// True if a copy cannot be made without the body: the body is sent, or a template or rule reads it.
fn needs_body(target: &Node, path: &str) -> bool {
    let body = target.at(&["request", "body"]);
    let is_replaced = body.is_some_and(|body| body.get("omit").is_some_and(Node::is_true) || body.get("template").is_some());
    let request = format!("{path}.request");
    let templates = templates(target, path).into_iter().filter(|(path, _)| path.starts_with(&request));
    let mut read = templates.filter_map(|(_, node)| Template::from_str(node.text()?).ok());
    !is_replaced || read.any(|template| template.reads_body()) || rules_read_body(target)
}

/// True if a rule reads the body, which then decides about the copy.
fn rules_read_body(target: &Node) -> bool {
    let mut rules = ["match", "except"].iter().filter_map(|field| target.get(field)).flat_map(Node::items);
    rules.any(|rule| rule.get("body").is_some())
}

/// The routes for requests that all of these targets want, judged by paths.
pub(super) fn reached<'n>(targets: &[&Node], routes: &'n Node) -> Vec<&'n Node> {
    let Some((target, others)) = targets.split_first() else { return Vec::new() };
    let others: Vec<Vec<&Node>> = others.iter().map(|other| reached_by(other, routes)).collect();
    let is_reached = |route: &&Node| others.iter().all(|routes| routes.iter().any(|other| std::ptr::eq(*other, *route)));
    reached_by(target, routes).into_iter().filter(is_reached).collect()
}

/// The routes for requests that the target wants, judged by paths.
fn reached_by<'n>(target: &Node, routes: &'n Node) -> Vec<&'n Node> {
    let mut reached = Vec::new();
    for wanted in wanted(target) {
        for host in routes.get("virtual_hosts").map_or(&[][..], Node::items) {
            for route in host.get("routes").map_or(&[][..], Node::items) {
                let share = share(wanted, route);
                if share != Share::None && !is_excepted(target, route) {
                    reached.push(route);
                }
                // The first matching route takes the request.
                if share == Share::All {
                    break;
                }
            }
        }
    }
    reached
}

/// True if an exception covers all requests of a route. Only exceptions with nothing but a path are compared.
fn is_excepted(target: &Node, route: &Node) -> bool {
    let Some(conditions) = route.get("match") else { return false };
    let prefix = conditions.text_of("prefix").or_else(|| conditions.text_of("path_separated_prefix"));
    let exact = conditions.text_of("path");
    let rules = target.get("except").map_or(&[][..], Node::items);
    rules.iter().filter(|rule| rule.members().len() == 1).filter_map(|rule| rule.get("path")).any(|path| {
        let begins = |taken: &str| path.text_of("prefix").is_some_and(|excepted| taken.starts_with(excepted));
        prefix.is_some_and(begins) || exact.is_some_and(begins) || exact.is_some() && exact == path.text_of("exact")
    })
}

/// A condition on a path.
#[derive(Clone, Copy)]
enum Path<'t> {
    Exact(&'t str),
    Prefix(&'t str),
}

/// How many of the wanted requests a route takes, judged by paths.
#[derive(PartialEq)]
enum Share {
    None,
    Some,
    All,
}

/// The paths that a target wants. Patterns are skipped, because they cannot be compared with routes.
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
