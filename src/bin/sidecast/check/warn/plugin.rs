//! Checks the variables of a plugin, and what happens if it fails.

use super::super::find::Plugin;
use super::super::hint;
use super::super::tree::Node;
use super::{signing_secrets, templates, variables_in, Code, Warning};

/// An environment variable of the plugin.
pub(super) struct Variable<'t> {
    pub(super) name: &'t str,
    /// The value in the file, if it is there.
    pub(super) value: Option<&'t Node>,
}

/// The environment variables of a plugin. `None` if they do not stand in the file.
pub(super) fn variables(plugin: Plugin<'_>) -> Option<Vec<Variable<'_>>> {
    Some(match plugin {
        Plugin::Envoy(plugin) => {
            let variables = plugin.at(&["vm_config", "environment_variables"]);
            let mut all = of_host(variables.and_then(|variables| variables.get("host_env_keys")));
            let written = variables.and_then(|variables| variables.get("key_values")).map_or(&[][..], Node::members);
            all.extend(written.iter().map(|member| Variable { name: &member.key, value: Some(&member.value) }));
            all
        }
        Plugin::Istio(spec) | Plugin::Higress(spec) => {
            let variables = spec.at(&["vmConfig", "env"]).map_or(&[][..], Node::items);
            let named = variables.iter().filter_map(|variable| Some((variable.text_of("name")?, variable.get("value"))));
            named.map(|(name, value)| Variable { name, value }).collect()
        }
        Plugin::Gateway(plugin) => of_host(plugin.at(&["env", "hostKeys"])),
        Plugin::Gloo(_) => return None,
    })
}

fn of_host(names: Option<&Node>) -> Vec<Variable<'_>> {
    let names = names.map_or(&[][..], Node::items).iter().filter_map(Node::text);
    names.map(|name| Variable { name, value: None }).collect()
}

/// Warns about variables that the configuration names and the plugin does not have. The filter would refuse the configuration.
pub(super) fn check_variables(config: &Node, given: &[&str], warnings: &mut Vec<Warning>) {
    let targets = config.get("targets").map_or(&[][..], Node::items).iter().enumerate();
    let mut all: Vec<_> = targets.flat_map(|(index, target)| templates(target, &format!("targets[{index}]"))).collect();
    let targets = config.get("targets").map_or(&[][..], Node::items).iter().enumerate();
    all.extend(targets.flat_map(|(index, target)| signing_secrets(target, &format!("targets[{index}]"))));
    all.extend(config.at(&["loop_guard", "secret"]).map(|secret| ("loop_guard.secret".to_owned(), secret)));
    for (path, node) in all {
        for name in variables_in(node) {
            if !given.contains(&name.as_str()) {
                let message =
                    format!("the plugin does not get the environment variable {name}; the filter would reject its configuration");
                warnings.push(Warning::new(node, Code::UnpassedVariable, path.as_str(), message));
            }
        }
    }
}

/// Warns if requests do not pass when the module fails.
pub(super) fn fails(plugin: Plugin<'_>) -> Option<Warning> {
    let (field, open, node) = match plugin {
        Plugin::Envoy(plugin) => ("fail_open", "true", plugin),
        Plugin::Istio(plugin) | Plugin::Higress(plugin) => ("failStrategy", "FAIL_OPEN", plugin),
        Plugin::Gateway(plugin) | Plugin::Gloo(plugin) => ("failOpen", "true", plugin),
    };
    let written = node.get(field);
    let is_open = |written: &Node| if open == "true" { written.is_true() } else { written.text() == Some(open) };
    if written.is_some_and(is_open) {
        return None;
    }
    let policy = node.get("failure_policy").filter(|_| field == "fail_open");
    let message = format!("if the module fails, requests fail with it; `{field}: {open}` lets them pass");
    let Some(policy) = policy else {
        let is_meant = |written: &str| written.eq_ignore_ascii_case(open) || hint::almost(written, [open]).is_some();
        let hint = written.and_then(Node::text).filter(|written| is_meant(written)).map(|_| hint::did_you_mean(open));
        return Some(Warning { hint, ..Warning::new(written.unwrap_or(node), Code::FailClosed, "", message) });
    };
    if policy.text() == Some("FAIL_CLOSED") {
        return Some(Warning::new(policy, Code::FailClosed, "", message));
    }
    let message = "if the module fails, this answers requests in flight with 503; `fail_open: true` lets them pass";
    Some(Warning::new(policy, Code::FailurePolicy, "failure_policy", message))
}
