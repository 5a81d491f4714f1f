//! Configurations are replaced, workers come and go, and nothing in flight is lost.

use crate::{
    configurations::{assert_balanced, audit, audit_with, mirroring, mirroring_with, target, targets},
    host::{Answer, Request},
};
use serde_json::json;

/// Another configuration for the same target.
fn changed() -> String {
    audit_with(&json!({"timeout": "3s"})).to_string()
}

#[test]
fn an_idle_root_is_done_at_once() {
    let (_host, worker) = mirroring();
    let old = worker.root();
    assert!(worker.configure(changed()));
    assert!(worker.is_deleted(old));
    assert_ne!(worker.root(), old);
}

#[test]
fn a_replaced_root_stays_until_its_last_answer() {
    let (host, worker) = mirroring();
    let old = worker.root();
    worker.exchange(&Request::get("/1"));
    worker.exchange(&Request::get("/2"));
    let calls = worker.call_outs();
    assert!(worker.configure(changed()));
    assert!(worker.is_draining(old));
    calls[0].answer(Answer::upstream(200));
    assert!(worker.is_draining(old));
    calls[1].answer(Answer::upstream(200));
    assert!(worker.is_deleted(old));
    assert_eq!(host.stat("audit", "delivered"), 2);
    assert_balanced(&host, "audit");
}

#[test]
fn what_waits_in_a_replaced_root_is_still_delivered() {
    let narrow = audit_with(&json!({"limits": {"max_in_flight": 1, "max_queued": 10}}));
    let (host, worker) = mirroring_with(&narrow);
    let old = worker.root();
    for _ in 0..4 {
        worker.exchange(&Request::get("/"));
    }
    assert!(worker.configure(changed()));
    assert!(worker.is_draining(old));
    assert_eq!(worker.answer_all(&Answer::upstream(200)), 4);
    assert!(worker.is_deleted(old));
    assert_eq!(host.stat("audit", "delivered"), 4);
    assert_balanced(&host, "audit");
}

#[test]
fn a_replaced_root_waits_for_its_streams_and_mirrors_them_by_its_own_rules() {
    let (host, worker) = mirroring_with(&targets(&[target("before")]));
    let old = worker.root();
    let stream = worker.begin(&Request::post("/"), false);
    assert!(worker.configure(targets(&[target("after")]).to_string()));
    assert!(!worker.is_deleted(old));
    worker.exchange(&Request::get("/"));
    assert_eq!(worker.call_out().cluster(), "after");
    stream.chunk("late", true);
    let late = worker.call_out();
    assert_eq!(late.cluster(), "before");
    stream.close();
    assert!(worker.is_draining(old));
    late.answer(Answer::upstream(200));
    assert!(worker.is_deleted(old));
    assert_balanced(&host, "before");
}

#[test]
fn several_old_roots_drain_side_by_side() {
    let (host, worker) = mirroring();
    let mut roots = Vec::new();
    for seconds in 3..8 {
        worker.exchange(&Request::get("/"));
        roots.push(worker.root());
        let next = audit_with(&json!({"timeout": format!("{seconds}s")}));
        assert!(worker.configure(next.to_string()));
    }
    assert!(roots.iter().all(|&root| worker.is_draining(root)));
    assert_eq!(host.stat("audit", "inflight"), 5);
    assert_eq!(worker.answer_all(&Answer::upstream(200)), 5);
    assert!(roots.iter().all(|&root| worker.is_deleted(root)));
    assert_eq!(host.stat("audit", "delivered"), 5);
    assert_balanced(&host, "audit");
}

#[test]
fn a_listener_that_goes_away_lets_its_call_outs_end() {
    let (host, worker) = mirroring();
    let root = worker.root();
    worker.exchange(&Request::get("/"));
    let call = worker.call_out();
    worker.shut_down();
    assert!(worker.is_draining(root));
    assert!(!call.is_cancelled());
    call.answer(Answer::connect_error());
    assert!(worker.is_deleted(root));
    assert_balanced(&host, "audit");
}

#[test]
fn the_statistics_of_a_target_go_on_over_configurations() {
    let (host, worker) = mirroring();
    worker.exchange(&Request::get("/"));
    worker.answer_all(&Answer::upstream(200));
    assert!(worker.configure(changed()));
    worker.exchange(&Request::get("/"));
    worker.answer_all(&Answer::upstream(200));
    assert_eq!(host.stat("audit", "delivered"), 2);
    assert_balanced(&host, "audit");
}

#[test]
fn two_workers_add_up() {
    let (host, first) = mirroring();
    let second = host.worker(&audit());
    for _ in 0..3 {
        first.exchange(&Request::get("/"));
    }
    second.exchange(&Request::get("/"));
    assert_eq!(host.stat("audit", "matched"), 4);
    assert_eq!(host.stat("audit", "inflight"), 4);
    assert_eq!(first.answer_all(&Answer::upstream(200)), 3);
    assert_eq!(host.stat("audit", "inflight"), 1);
    assert_eq!(second.answer_all(&Answer::upstream(404)), 1);
    assert_eq!(host.stat("audit", "delivered"), 3);
    assert_balanced(&host, "audit");
}

#[test]
fn each_worker_drains_on_its_own() {
    let (host, first) = mirroring();
    let second = host.worker(&audit());
    first.exchange(&Request::get("/"));
    second.exchange(&Request::get("/"));
    let (old_first, old_second) = (first.root(), second.root());
    assert!(first.configure(changed()));
    assert!(second.configure(changed()));
    first.answer_all(&Answer::upstream(200));
    assert!(first.is_deleted(old_first));
    assert!(second.is_draining(old_second));
    assert_eq!(host.stat("audit", "inflight"), 1);
    second.answer_all(&Answer::upstream(200));
    assert!(second.is_deleted(old_second));
    assert_balanced(&host, "audit");
}
