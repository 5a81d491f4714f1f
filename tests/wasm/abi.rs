//! What the module asks of Envoy, and what it lets Envoy call.

use crate::{
    compiled::{callbacks_of_the_module, imports_of_the_module},
    host::{CALLBACKS, HOST_CALLS},
};
use std::collections::BTreeSet;

#[test]
fn the_filter_asks_for_nothing_that_could_change_the_primary() {
    let meddling = imports_of_the_module().into_iter().filter(|name| {
        let verbs = ["set_buffer", "set_header", "add_header", "replace_header", "remove_header"];
        let actions = ["send_local", "continue_stream", "close_stream", "clear_route"];
        verbs.iter().chain(&actions).any(|verb| name.contains(verb))
    });
    assert_eq!(meddling.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn the_least_capabilities_are_all_but_the_callbacks_for_answers() {
    let least: serde_json::Value = serde_json::from_str(include_str!("../../envoy/capabilities.json")).unwrap();
    let allowed: BTreeSet<String> = least["allowed_capabilities"].as_object().unwrap().keys().cloned().collect();
    // Memory is not among what can be restricted.
    let for_answers = |name: &String| name.starts_with("proxy_on_response_") || name == "proxy_on_memory_allocate";
    let callbacks = callbacks_of_the_module().into_iter().filter(|name| !for_answers(name));
    assert_eq!(allowed, callbacks.chain(imports_of_the_module()).collect());
}

/// What runs natively is held to these lists.
#[test]
fn the_module_has_the_callbacks_and_makes_the_host_calls_of_the_model() {
    let known = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let callbacks = [&CALLBACKS[..], &["proxy_on_memory_allocate"]].concat();
    assert_eq!(callbacks_of_the_module().into_iter().collect::<BTreeSet<_>>(), known(&callbacks));
    // A module exits, or writes to a descriptor, when it panics.
    let calls = [&HOST_CALLS[..], &["fd_write", "proc_exit"]].concat();
    assert_eq!(imports_of_the_module().into_iter().collect::<BTreeSet<_>>(), known(&calls));
}
