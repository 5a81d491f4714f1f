//! The filter links against what Envoy offers, and the host can make it fail.

use crate::wasm_host::{imports_of_the_module, Host, Status};

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
fn an_injected_fault_hits_the_chosen_call_only() {
    let host = Host::new();
    let worker = host.bare_worker();
    host.fail("proxy_define_metric", u64::MAX, 1, Status::INTERNAL_FAILURE);
    let tally = host.tally(|| {
        assert!(worker.configure(crate::scene::audit().to_string()));
    });
    assert_eq!(tally.of("proxy_define_metric"), worker.definitions() as u64);
    let defined = worker.definitions();
    host.fail("proxy_define_metric", 3, 1, Status::INTERNAL_FAILURE);
    assert!(!worker.configure(crate::scene::audit().to_string()));
    assert_eq!(worker.definitions(), defined + 3);
    host.heal();
    assert!(worker.configure(crate::scene::audit().to_string()));
}
