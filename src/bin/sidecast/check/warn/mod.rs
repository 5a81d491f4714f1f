//! Warnings about legal but unwise settings.

mod cancel;
pub(super) mod capabilities;
mod carrier;
mod cluster;
mod http2;
mod names;
mod never;
mod overlap;
mod plugin;
mod regex;
mod route;
mod rules;
mod secret;
mod stats;
mod target;

use clap::ValueEnum;
use sidecast::config::problem::{child_path, Problems};
use sidecast::config::raw::Document;
use sidecast::template::{Expression, Template};
use std::str::FromStr;

use self::http2::Http2;
use self::names::Names;
pub(crate) use self::overlap::Wanted;
pub(crate) use self::secret::is_secret;
use super::find::{Carrier, Unknown};
use super::report::Severity;
use super::tree::Node;

/// The kinds of warnings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Code {
    /// Something looks like a Sidecast configuration, but is in an unknown place
    UnknownPlace,
    /// The object around the configuration has no such field
    UnknownField,
    /// The filter refuses its configuration because of Higress' `matchRules`
    HigressRules,
    /// Requests that the application sends are copied too, not only those it receives
    OutboundToo,
    /// Requests are copied before Istio checks whether they are allowed
    BeforeAuthorization,
    /// If the module fails, requests fail too
    FailClosed,
    /// If the module fails, requests in flight fail; `fail_open` lets them pass
    FailurePolicy,
    /// The capability list leaves out something that the configuration needs
    MissingCapability,
    /// `${env:...}` names a variable that the plugin does not get
    UnpassedVariable,
    /// The file shows a credential
    PlainSecret,
    /// This Envoy has no such cluster
    UnknownCluster,
    /// The proxy cannot have a cluster of this name
    ClusterName,
    /// TLS asks for one host, and the request for another
    MissingAuthority,
    /// The client's credentials go to a public host
    CredentialsOutside,
    /// The target gets the same requests from a route as well
    OwnCluster,
    /// The target speaks HTTP/2, and can crash Envoy if it breaks the protocol
    Http2Target,
    /// Envoy answers before the request body has arrived, so copies are lost
    AnsweredEarly,
    /// Sidecast's metrics get no labels, so the shipped alerts find nothing
    NoStatsTags,
    /// Dead letters go to the cluster that has just failed
    DeadLetterCluster,
    /// Nothing limits the calls to a target that hangs
    NoCircuitBreaker,
    /// `statuses` has no effect without `after: response`
    UnusedStatuses,
    /// No request can meet this condition or rule
    NeverMatches,
    /// This condition most likely means something else
    UnlikelyMatch,
    /// The target never gets a copy
    NeverSent,
    /// Copies get too old (`expire_after`) before they can be retried
    RetryExpires,
    /// Another setting cancels this one
    UnusedSetting,
    /// `failure_statuses` names a status that counts as success
    UnusedFailureStatus,
    /// The `idempotency-key` does not identify the request
    IdempotencyKey,
    /// Kubernetes tools read the bare key `on` as `true`
    BareOn,
    /// A note: a file in a directory cannot be read, for example a Helm template
    UnreadableFile,
    /// A note: POST or PATCH is retried, so the target must recognise repetitions
    RetryPost,
}

impl Code {
    /// The name of the code in messages and in `--allow`.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// All codes with what they mean, for the help.
    pub(super) fn list() -> String {
        let values = Self::value_variants().iter().filter_map(Self::to_possible_value);
        let lines = values.map(|value| {
            let help = value.get_help().map(ToString::to_string).unwrap_or_default();
            format!("  {:<22} {help}", value.get_name())
        });
        format!("Codes of warnings:\n{}", lines.collect::<Vec<_>>().join("\n"))
    }

    /// Retries of POST are only a note, or every good configuration with retries would have a warning.
    pub(super) fn severity(self) -> Severity {
        match self {
            Self::RetryPost | Self::UnreadableFile => Severity::Note,
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

/// What else stands in the file of a configuration.
#[derive(Debug)]
pub(super) struct Around<'t> {
    http2: Http2<'t>,
    names: Names<'t>,
}

impl<'t> Around<'t> {
    pub(super) fn of(documents: &'t [Node]) -> Self {
        Self { http2: Http2::of(documents), names: Names::of(documents) }
    }
}

/// The warning about what looks like a configuration and was not found as one.
pub(super) fn of_unknown(unknown: &Unknown<'_>) -> Warning {
    let (message, hint) = (unknown.message().to_owned(), unknown.hint());
    Warning { at: unknown.at, code: Code::UnknownPlace, path: String::new(), message, hint }
}

/// Returns the warnings about a configuration. `text` is its source. The configuration may have problems, too: unreadable parts are skipped.
pub(super) fn of_configuration(config: &Node, text: &str, carrier: &Carrier<'_>, around: &Around<'_>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let variables = carrier.plugin.and_then(plugin::variables);
    let names = variables.map(|variables| variables.into_iter().map(|variable| variable.name).collect::<Vec<_>>());
    let targets = config.get("targets").map_or(&[][..], Node::items);
    for (index, target) in targets.iter().enumerate() {
        let path = format!("targets[{index}]");
        let chain = chain(target, targets);
        target::check(target, &path, &mut warnings);
        rules::check(target, &path, config.at(&["loop_guard", "secret"]).is_some(), &mut warnings);
        cluster::check(&chain, &path, carrier, &mut warnings);
        around.http2.check(target, &path, &mut warnings);
        around.names.check(target, &path, carrier, &mut warnings);
        route::check(&chain, &path, carrier, &mut warnings);
        secret::check_headers(target, &path, &mut warnings);
        secret::check_signing(target, &path, &mut warnings);
        if carrier.is_kubernetes {
            target::check_keys(target, &path, text, &mut warnings);
        }
    }
    if let Some(document) = document(config) {
        never::check(config, &document, &mut warnings);
        cancel::check(config, &document, &mut warnings);
    }
    secret::check_loop_guard(config, &mut warnings);
    if let Some(names) = names {
        plugin::check_variables(config, &names, &mut warnings);
    }
    warnings
}

/// Returns the warnings about the surroundings of a configuration. `config` is the configuration, if it is readable.
pub(super) fn of_carrier(config: Option<&Node>, carrier: &Carrier<'_>) -> Vec<Warning> {
    let mut warnings: Vec<Warning> = carrier.bootstrap.and_then(stats::check).into_iter().collect();
    carrier::check_istio(carrier, &mut warnings);
    if let Some(plugin) = carrier.plugin.or(carrier.patched) {
        carrier::check_fields(plugin, &mut warnings);
    }
    if let Some(plugin) = carrier.plugin {
        warnings.extend(plugin::fails(plugin));
        if let Some(config) = config {
            warnings.extend(capabilities::check(config, plugin));
            secret::check_variables(config, plugin, &mut warnings);
        }
    }
    warnings
}

/// What the grammar makes of a configuration. `None` if it cannot be read.
fn document(config: &Node) -> Option<Document> {
    let document = serde_json::from_str::<serde_json::Value>(&config.to_json()).ok()?;
    deserr::deserialize::<Document, _, Problems>(document).ok()
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
