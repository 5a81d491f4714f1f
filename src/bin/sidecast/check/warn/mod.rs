//! Warnings about legal but unwise settings.

pub(super) mod capabilities;
mod cluster;
mod http2;
mod never;
mod overlap;
mod plugin;
mod route;
mod secret;
mod stats;
mod target;

use clap::ValueEnum;
use sidecast::config::problem::child_path;
use sidecast::template::{Expression, Template};
use std::str::FromStr;

pub(super) use self::http2::Http2;
use super::find::Carrier;
use super::report::Severity;
use super::tree::Node;

/// The kinds of warnings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Code {
    /// If the module fails, requests fail with it
    FailClosed,
    /// `failure_policy` in place of `fail_open`: requests in flight fail
    FailurePolicy,
    /// Envoy does not let the module do, or hear of, what the configuration needs
    MissingCapability,
    /// A variable in `${env:...}` that the plugin is not given
    UnpassedVariable,
    /// A credential that can be read in the file
    PlainSecret,
    /// A cluster that a bootstrap without CDS does not have
    UnknownCluster,
    /// A target that gets the same requests by a route
    OwnCluster,
    /// A target over HTTP/2, which can end Envoy if it breaks the protocol
    Http2Target,
    /// Envoy answers requests of a target by itself before their body is there
    AnsweredEarly,
    /// A bootstrap that makes no labels of Sidecast's statistics
    NoStatsTags,
    /// Dead letters go to the cluster that failed
    DeadLetterCluster,
    /// Neither a circuit breaker nor a limit of calls of its own
    NoCircuitBreaker,
    /// `statuses` without `after: response`
    UnusedStatuses,
    /// No request can ever lead to a copy for the target
    NeverSent,
    /// A `failure_statuses` of the circuit breaker that `success` names
    UnusedFailureStatus,
    /// An `idempotency-key` that does not tell requests apart, or attempts
    IdempotencyKey,
    /// A key `on` that tools of Kubernetes take for `true`
    BareOn,
    /// A note: POST or PATCH is attempted again, so the target must know repetitions
    RetryPost,
}

impl Code {
    /// The name of the code in messages and in `--allow`.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Retries of POST are only a note, or every good configuration with retries would have a warning.
    pub(super) fn severity(self) -> Severity {
        match self {
            Self::RetryPost => Severity::Note,
            _ => Severity::Warning,
        }
    }
}

/// A warning.
#[derive(Debug)]
pub(super) struct Warning {
    /// The position in the text that contains its subject.
    pub(super) at: usize,
    pub(super) code: Code,
    pub(super) path: String,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Warning {
    fn new(at: &Node, code: Code, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { at: at.span.start, code, path: path.into(), message: message.into(), hint: None }
    }
}

/// Returns the warnings about a configuration. `text` is its source. The configuration may have problems, too: unreadable parts are skipped.
pub(super) fn of_configuration(config: &Node, text: &str, carrier: &Carrier<'_>, http2: &Http2<'_>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let names =
        carrier.plugin.map(|plugin| plugin::variables(plugin).into_iter().map(|variable| variable.name).collect::<Vec<_>>());
    let targets = config.get("targets").map_or(&[][..], Node::items);
    for (index, target) in targets.iter().enumerate() {
        let path = format!("targets[{index}]");
        let chain = chain(target, targets);
        target::check(target, &path, &mut warnings);
        cluster::check(&chain, &path, carrier, &mut warnings);
        http2.check(target, &path, &mut warnings);
        route::check(&chain, &path, carrier, &mut warnings);
        secret::check_headers(target, &path, &mut warnings);
        secret::check_signing(target, &path, &mut warnings);
        if carrier.is_kubernetes {
            target::check_keys(target, &path, text, &mut warnings);
        }
    }
    never::check(config, &mut warnings);
    secret::check_loop_guard(config, &mut warnings);
    if let Some(names) = names {
        plugin::check_variables(config, &names, &mut warnings);
    }
    warnings
}

/// Returns the warnings about the surroundings of a configuration. `config` is the configuration, if it is readable.
pub(super) fn of_carrier(config: Option<&Node>, carrier: &Carrier<'_>) -> Vec<Warning> {
    let mut warnings: Vec<Warning> = carrier.bootstrap.and_then(stats::check).into_iter().collect();
    if let Some(plugin) = carrier.plugin {
        warnings.extend(plugin::fails(plugin));
        if let Some(config) = config {
            warnings.extend(capabilities::check(config, plugin));
            secret::check_variables(config, plugin, &mut warnings);
        }
    }
    warnings
}

/// A target, the target that it follows, and so on, up to the first one of the chain. Never empty.
fn chain<'n>(target: &'n Node, targets: &'n [Node]) -> Vec<&'n Node> {
    let leader = |target: &&Node| {
        let name = target.at(&["after", "target"])?.text()?;
        targets.iter().find(|other| other.text_of("name") == Some(name))
    };
    // A configuration with a cycle comes here, too.
    std::iter::successors(Some(target), leader).take(targets.len()).collect()
}

/// The templates in a target, with their paths.
fn templates<'n>(target: &'n Node, path: &str) -> Vec<(String, &'n Node)> {
    let mut found = Vec::new();
    for section in ["request", "dead_letter"] {
        for place in [&["path"][..], &["authority"], &["headers", "set"], &["body", "template"]] {
            let mut path = child_path(path, section);
            place.iter().for_each(|name| path = child_path(&path, name));
            if let Some(node) = target.get(section).and_then(|section| section.at(place)) {
                strings(node, path, &mut found);
            }
        }
    }
    found
}

fn strings<'n>(node: &'n Node, path: String, found: &mut Vec<(String, &'n Node)>) {
    for (index, item) in node.items().iter().enumerate() {
        strings(item, format!("{path}[{index}]"), found);
    }
    for member in node.members() {
        strings(&member.value, child_path(&path, &member.key), found);
    }
    if node.text().is_some() {
        found.push((path, node));
    }
}

/// The secrets with which a target's requests are signed, with their paths.
fn signing_secrets<'n>(target: &'n Node, path: &str) -> Vec<(String, &'n Node)> {
    let mut found = Vec::new();
    for scheme in ["standard_webhooks", "hmac_sha256"] {
        if let Some(secrets) = target.at(&["request", "sign", scheme, "secrets"]) {
            strings(secrets, format!("{path}.request.sign.{scheme}.secrets"), &mut found);
        }
    }
    found
}

/// The environment variables that a template names.
fn variables_in(node: &Node) -> Vec<String> {
    let template = node.text().and_then(|text| Template::from_str(text).ok()).unwrap_or_default();
    let names = template.expressions().filter_map(|expression| match expression {
        Expression::Env(name) => Some(name.clone()),
        _ => None,
    });
    names.collect()
}
