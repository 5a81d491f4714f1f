//! The values of Sidecast's Helm chart.

use super::{in_place, Findings, Found, Istio, Node, Part, Scope};

/// Adds the configuration in the values of the chart, also where the chart is a part of another one. Returns true if nothing else needs to look into
/// them.
pub(super) fn values<'t>(node: &'t Node, scope: &Scope<'t>, findings: &mut Findings<'t>) -> bool {
    let platform = node.text_of("platform").filter(|platform| matches!(*platform, "" | "istio" | "envoy-gateway" | "envoy"));
    let (Some(platform), Some(configuration)) = (platform, node.member("configuration")) else { return false };
    findings.claimed.push(node);
    // The defaults of the chart have none.
    if !configuration.value.members().is_empty() {
        let mut carrier = scope.carrier.clone();
        carrier.is_kubernetes = true;
        carrier.istio = (platform == "istio").then_some(Istio::Part);
        findings.claimed.push(&configuration.value);
        findings.configurations.push(Found { written: in_place(configuration), carrier, part: Part::Whole });
    }
    true
}
