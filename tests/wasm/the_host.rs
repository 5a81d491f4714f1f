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
    host.fail("proxy_define_metric", 0, 1, Status::INTERNAL_FAILURE);
    let tally = host.tally(|| {
        worker.configure(crate::scene::audit().to_string());
    });
    let defined_again = worker.definitions() as u64 - tally.of("proxy_define_metric") + 1;
    assert_eq!(defined_again, tally.of("proxy_define_metric"));
}
