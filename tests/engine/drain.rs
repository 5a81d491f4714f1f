//! A configuration that is replaced gives what it holds a bounded time to end.

use crate::{
    configurations::{assert_balanced, audit_with, dropped, mirroring_with, with},
    host::{Answer, Host, Request, Worker},
};
use serde_json::{json, Value};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A target of one place, whose retries wait for long, with five seconds for a drain.
fn draining_with(more: &Value) -> (Host, Worker) {
    let target = json!({
        "timeout": "60s",
        "limits": {"max_in_flight": 1, "max_queued": 10},
        "retry": {"max_attempts": 2, "backoff": {"base": "60s", "max": "60s"}, "expire_after": "600s"},
    });
    mirroring_with(&with(audit_with(&with(target, more)), &json!({"drain_timeout": "5s"})))
}

/// One that waits for its retry, one under way, two queued; then the configuration is replaced.
fn replaced_with(more: &Value) -> (Host, Worker, u32) {
    let (host, worker) = draining_with(more);
    worker.exchange(&Request::post("/retried").body("body"));
    worker.call_out().answer(Answer::upstream(503).header("retry-after", "60"));
    for path in ["/under_way", "/queued/1", "/queued/2"] {
        worker.exchange(&Request::get(path));
    }
    let old = worker.root();
    assert!(worker.configure(audit_with(&json!({"timeout": "3s"})).to_string()));
    assert!(worker.is_draining(old));
    assert_eq!((host.stat("audit", "inflight"), host.stat("audit", "queued")), (1, 3));
    (host, worker, old)
}

#[test]
fn what_has_not_ended_in_time_is_counted_and_the_root_ends() {
    let (host, worker, old) = replaced_with(&json!({}));
    worker.pass(&host, 4 * SECOND + SECOND / 2);
    assert!(worker.is_draining(old));
    assert_eq!(dropped(&host, "audit"), []);
    worker.pass(&host, SECOND);
    assert!(worker.is_deleted(old));
    assert_eq!(dropped(&host, "audit"), [("shutdown".to_owned(), 4)]);
    assert_balanced(&host, "audit");
}

#[test]
fn what_ends_in_time_is_delivered() {
    let (host, worker, old) = replaced_with(&json!({}));
    worker.pass(&host, 4 * SECOND);
    assert_eq!(worker.answer_all(&Answer::upstream(200)), 3);
    assert!(worker.is_draining(old), "a retry still waits");
    worker.pass(&host, 2 * SECOND);
    assert!(worker.is_deleted(old));
    assert_eq!((host.stat("audit", "delivered"), dropped(&host, "audit")), (3, vec![("shutdown".to_owned(), 1)]));
    assert_balanced(&host, "audit");
}

#[test]
fn what_has_not_ended_in_time_becomes_dead_letters() {
    let (host, worker, old) = replaced_with(&json!({"dead_letter": {"cluster": "dlq", "timeout": "2s"}}));
    let attempt = worker.call_out();
    worker.pass(&host, 6 * SECOND);
    assert!(worker.is_draining(old), "letters are under way");
    let mut letters = Vec::new();
    loop {
        let calls = worker.call_outs();
        for call in &calls {
            assert_eq!(call.cluster(), "dlq");
            let letter: Value = serde_json::from_slice(call.body()).unwrap();
            assert_eq!(letter["reason"], "shutdown");
            letters.push((letter["request"]["path"].as_str().unwrap().to_owned(), letter["attempts"].as_u64().unwrap()));
            call.answer(Answer::upstream(202));
        }
        if calls.is_empty() {
            break;
        }
    }
    letters.sort();
    let wanted = [("/queued/1", 0), ("/queued/2", 0), ("/retried", 1), ("/under_way", 1)];
    assert_eq!(letters, wanted.map(|(path, attempts)| (path.to_owned(), attempts)));
    assert!(attempt.is_cancelled() && worker.is_deleted(old));
    assert_eq!(host.stat("audit", "dead_lettered"), 4);
    assert_balanced(&host, "audit");
}

#[test]
fn an_answer_after_the_end_of_the_drain_changes_nothing() {
    let (host, worker, _) = replaced_with(&json!({"dead_letter": {"cluster": "dlq", "timeout": "2s"}}));
    let attempt = worker.call_out();
    worker.pass(&host, 6 * SECOND);
    attempt.answer(Answer::upstream(200));
    assert_eq!(host.stat("audit", "delivered"), 0);
    worker.answer_all(&Answer::upstream(200));
    assert_eq!(host.stat("audit", "dead_lettered"), 4);
    assert_balanced(&host, "audit");
}

#[test]
fn letters_have_their_own_time_and_no_more() {
    let (host, worker, old) = replaced_with(&json!({"dead_letter": {"cluster": "dlq", "timeout": "2s"}}));
    worker.pass(&host, 6 * SECOND);
    worker.pass(&host, SECOND / 2);
    assert!(worker.is_draining(old));
    worker.pass(&host, SECOND);
    assert!(worker.is_deleted(old));
    assert_eq!(dropped(&host, "audit"), [("shutdown".to_owned(), 4)]);
    assert_balanced(&host, "audit");
}

#[test]
fn a_letter_that_is_under_way_when_the_time_is_over_is_not_lost() {
    let (host, worker) = draining_with(&json!({"dead_letter": {"cluster": "dlq", "timeout": "60s", "on": ["not_retryable"]}}));
    worker.exchange(&Request::get("/"));
    worker.call_out().answer(Answer::upstream(404));
    let letter = worker.call_out();
    assert!(worker.configure(audit_with(&json!({"timeout": "3s"})).to_string()));
    worker.pass(&host, 7 * SECOND);
    letter.answer(Answer::upstream(200));
    assert_eq!(host.stat("audit", "dead_lettered"), 1);
    assert_balanced(&host, "audit");
}
