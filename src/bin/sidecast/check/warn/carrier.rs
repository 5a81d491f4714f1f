//! Checks the object that puts the filter into a proxy: its fields, and to which requests it applies.

use super::super::find::{Carrier, Istio, Plugin};
use super::super::hint;
use super::super::tree::{camel_case, Node};
use super::{Code, Warning};

const ENVOY: [&str; 8] = [
    "name",
    "root_id",
    "vm_config",
    "configuration",
    "fail_open",
    "failure_policy",
    "capability_restriction_config",
    "allow_on_headers_stop_iteration",
];
const ENVOY_VM: [&str; 7] =
    ["vm_id", "runtime", "code", "configuration", "allow_precompiled", "nack_on_code_cache_miss", "environment_variables"];
const ENVOY_VARIABLES: [&str; 2] = ["host_env_keys", "key_values"];
const ISTIO: [&str; 16] = [
    "selector",
    "targetRef",
    "targetRefs",
    "url",
    "sha256",
    "imagePullPolicy",
    "imagePullSecret",
    "verificationKey",
    "pluginConfig",
    "pluginName",
    "phase",
    "priority",
    "failStrategy",
    "vmConfig",
    "match",
    "type",
];
const HIGRESS: [&str; 3] = ["defaultConfig", "defaultConfigDisable", "matchRules"];
const ISTIO_VM: [&str; 1] = ["env"];
const GATEWAY: [&str; 6] = ["name", "rootID", "code", "config", "failOpen", "env"];
const GATEWAY_VARIABLES: [&str; 1] = ["hostKeys"];
const GLOO: [&str; 7] = ["name", "image", "filePath", "config", "rootId", "vmType", "failOpen"];
/// How the proxies call one and the same.
const SAME: [&[&str]; 2] =
    [&["fail_open", "failOpen", "failStrategy", "failure_policy"], &["pluginConfig", "defaultConfig", "config"]];

const CONFIGURATIONS: [&str; 4] = ["pluginConfig", "defaultConfig", "config", "configuration"];

/// Warns about fields that the object does not have, if they are like those that it has. Proxies may get more fields than these.
pub(super) fn check_fields(plugin: Plugin<'_>, warnings: &mut Vec<Warning>) {
    let mut check = |node: Option<&Node>, known: &[&'static str]| {
        let Some(node) = node else { return };
        warnings.extend(node.members().iter().filter_map(|member| {
            let meant = meant(&member.key, known)?;
            // A configuration that is missing is an error, which says this.
            if CONFIGURATIONS.contains(&meant) && node.get(meant).is_none() {
                return None;
            }
            let message = format!("there is no field `{}` here: it would be rejected or silently ignored", member.key);
            let warning = Warning::new(&member.value, Code::UnknownField, "", message);
            Some(Warning { at: member.key_at, hint: Some(hint::did_you_mean(meant)), ..warning })
        }));
    };
    match plugin {
        Plugin::Envoy(plugin) => {
            check(Some(plugin), &ENVOY);
            check(plugin.get("vm_config"), &ENVOY_VM);
            check(plugin.at(&["vm_config", "environment_variables"]), &ENVOY_VARIABLES);
        }
        Plugin::Istio(plugin) => {
            check(Some(plugin), &ISTIO);
            check(plugin.get("vmConfig"), &ISTIO_VM);
        }
        Plugin::Higress(plugin) => check(Some(plugin), &[&ISTIO[..], &HIGRESS].concat()),
        Plugin::Gateway(plugin) => {
            check(Some(plugin), &GATEWAY);
            check(plugin.get("env"), &GATEWAY_VARIABLES);
        }
        Plugin::Gloo(plugin) => check(Some(plugin), &GLOO),
    }
    if let Plugin::Higress(plugin) = plugin {
        if let Some(rules) = plugin.get("matchRules").filter(|rules| rules.items().iter().any(is_on)) {
            let message =
                "Higress passes these to the module as a field `_rules_`, which the filter rejects; select requests with `match` instead";
            warnings.push(Warning::new(rules, Code::HigressRules, "", message));
        }
    }
}

/// True for a rule of Higress that is not switched off.
fn is_on(rule: &Node) -> bool {
    !rule.get("configDisable").is_some_and(Node::is_true)
}

/// The known field that is meant by an unknown one.
fn meant(key: &str, known: &[&'static str]) -> Option<&'static str> {
    // Targets that stand beside the field of the configuration are told by the error that it is empty; `targetRefs` is not meant.
    if key == "targets" || known.iter().any(|known| *known == key || camel_case(known) == key) {
        return None;
    }
    let same = SAME.iter().filter(|same| same.contains(&key)).flat_map(|same| same.iter());
    let same = same.copied().find(|same| known.contains(same));
    let in_case = || {
        known.iter().copied().find(|known| {
            known.eq_ignore_ascii_case(key) || camel_case(known).eq_ignore_ascii_case(key) || camel_case(key) == *known
        })
    };
    same.or_else(in_case).or_else(|| hint::almost(key, known.iter().copied()))
}

/// Warns about requests that Istio's object takes besides those that come in and are allowed.
pub(super) fn check_istio(carrier: &Carrier<'_>, warnings: &mut Vec<Warning>) {
    const OUTBOUND: &str = "requests that the application itself sends are copied too";
    match carrier.istio {
        Some(Istio::Plugin(spec)) => {
            if spec.get("match").is_none() && !is_of_gateway(spec) {
                let hint = Some("`match: [{mode: SERVER}]` selects only incoming requests".to_owned());
                let warning = Warning::new(spec, Code::OutboundToo, "", format!("no `match`: {OUTBOUND}"));
                warnings.push(Warning { hint, ..warning });
            }
            if let Some(phase) = spec.get("phase").filter(|phase| matches!(phase.text(), Some("AUTHN" | "AUTHZ"))) {
                let message =
                    "requests are copied before Istio checks whether they are allowed; use `phase: STATS`, which comes after the check";
                warnings.push(Warning::new(phase, Code::BeforeAuthorization, "", message));
            }
        }
        Some(Istio::Filter(patch)) if patch.text_of("applyTo") == Some("HTTP_FILTER") => {
            let context = patch.at(&["match", "context"]);
            if context.is_none_or(|context| context.text() == Some("ANY")) {
                let at = context.or_else(|| patch.get("match")).unwrap_or(patch);
                let hint = Some("`context: SIDECAR_INBOUND` selects only incoming requests".to_owned());
                let warning =
                    Warning::new(at, Code::OutboundToo, "", format!("`context` does not select a direction: {OUTBOUND}"));
                warnings.push(Warning { hint, ..warning });
            }
        }
        _ => {}
    }
}

/// True for a plugin of a gateway or a waypoint, which have no application.
fn is_of_gateway(spec: &Node) -> bool {
    let labels = spec.at(&["selector", "matchLabels"]).map_or(&[][..], Node::members);
    let says = |text: &str| text.contains("gateway") || text.contains("waypoint");
    let is_named = labels.iter().any(|label| says(&label.key) || label.value.text().is_some_and(says));
    is_named || spec.get("targetRef").is_some() || spec.get("targetRefs").is_some()
}
