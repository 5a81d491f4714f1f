//! Patches of objects: those of kustomize, and operations of JSON Patch (RFC 6902), as Envoy Gateway's EnvoyPatchPolicy has them, too.

use std::borrow::Cow;

use super::unknown::{is_own_target, is_own_targets};
use super::{
    add, envoy, has_targets, in_place, walk, Candidate, Findings, Found, Inside, Istio, Node, Origin, Part, Scope, Written,
};
use crate::check::tree::{Kind, Member};

/// Collects the inline patches of a file of kustomize. Returns true if nothing else needs to look into it.
pub(super) fn kustomization<'t>(node: &'t Node, findings: &mut Findings<'t>) -> bool {
    let is_named = matches!(node.text_of("kind"), Some("Kustomization" | "Component"));
    // kustomize does not ask for a kind.
    let is_like_it = node.get("kind").is_none() && node.get("resources").is_some();
    if !is_named && !is_like_it {
        return false;
    }
    let lists = ["patches", "patchesStrategicMerge", "patchesJson6902"];
    for patch in lists.iter().filter_map(|list| node.get(list)).flat_map(Node::items) {
        let target = patch.at(&["target", "name"]).and_then(Node::text);
        let text = if patch.text().is_some() { Some(patch) } else { patch.get("patch") };
        // In the old list, texts without a line break are names of files.
        if let Some(text) = text.filter(|text| text.text().is_some_and(|text| text.contains([':', '\n']))) {
            findings.texts.push(Inside { text, origin: Origin::Patch(target) });
        }
    }
    is_named
}

/// Looks into the value of an operation of JSON Patch. Returns true if nothing else needs to look into it.
pub(super) fn operation<'t>(node: &'t Node, scope: &Scope<'t>, findings: &mut Findings<'t>) -> bool {
    let (Some("add" | "replace"), Some(path), Some(value)) = (node.text_of("op"), node.text_of("path"), node.member("value"))
    else {
        return false;
    };
    let mut scope = scope.clone();
    if scope.is_patch {
        scope.carrier.istio = Some(Istio::Part);
    }
    let mut segments = path.rsplit('/');
    let (last, before) = (segments.next().unwrap_or_default(), segments.next().unwrap_or_default());
    match last {
        "pluginConfig" | "defaultConfig" => {
            let carrier = scope.carrier;
            let names = vec![scope.filter];
            add(Candidate { names, written: in_place(value), beside: node, carrier, part: Part::Whole }, findings);
        }
        "configuration" if value.value.get("@type").is_some() => {
            let (names, written) = (vec![scope.filter], envoy::unwrapped(&value.value));
            add(Candidate { names, written, beside: node, carrier: scope.carrier, part: Part::Whole }, findings);
        }
        "config" | "value" | "configuration" if has_targets(&value.value) => {
            let (names, written) = (Vec::new(), in_place(value));
            add(Candidate { names, written, beside: node, carrier: scope.carrier, part: Part::Whole }, findings);
        }
        "targets" if is_own_targets(&value.value) => part(&value.value, value, Part::Patch, scope, findings),
        _ if before == "targets" && is_own_target(&value.value) => {
            let list = Node { span: value.value.span.clone(), kind: Kind::List(vec![value.value.clone()]) };
            part(&list, value, Part::Target, scope, findings);
        }
        _ => walk(&value.value, &scope, findings),
    }
    true
}

/// Adds a list of targets that stands alone.
fn part<'t>(targets: &Node, field: &'t Member, part: Part, scope: Scope<'t>, findings: &mut Findings<'t>) {
    let targets = Member { key: "targets".to_owned(), key_at: field.key_at, value: targets.clone() };
    let config = Node { span: field.value.span.clone(), kind: Kind::Object(vec![targets]) };
    findings.claimed.push(&field.value);
    findings.configurations.push(Found { written: Written::Tree(Cow::Owned(config)), carrier: scope.carrier, part });
}
