//! A host that enters the module from inside a host call, as no Envoy does.

use crate::{
    configurations::{assert_balanced, audit, unexpected},
    host::{Answer, Host, Request},
};
use serde_json::json;

#[test]
fn a_callback_from_inside_a_host_call_is_counted_and_traps_nothing() {
    for (import, export) in [("proxy_http_call", "proxy_on_tick"), ("proxy_get_header_map_pairs", "proxy_on_done")] {
        let host = Host::new();
        let worker = host.worker(&audit());
        host.reenter(import, export, &[worker.root()]);
        worker.exchange(&Request::get("/"));
        assert_eq!(unexpected(&host), 1, "{export}");
        let lines = host.events("unexpected");
        assert_eq!((lines.len(), &lines[0].1["what"]), (1, &json!("reentry")));
        worker.exchange(&Request::get("/"));
        worker.answer_all(&Answer::upstream(200));
        assert_eq!((host.stat("audit", "delivered"), unexpected(&host)), (2, 1));
        assert_balanced(&host, "audit");
    }
}
