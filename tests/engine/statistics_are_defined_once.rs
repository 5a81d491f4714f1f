//! Statistics are defined with the configuration that needs them, and timers run only while something waits.

use crate::{
    configurations::{mirroring, target, targets},
    host::{Answer, Host, Request, Stat},
};
use std::time::Duration;

#[test]
fn without_anything_to_wait_for_no_timer_runs() {
    let (_host, worker) = mirroring();
    assert_eq!(worker.tick_period(), None);
    worker.exchange(&Request::get("/"));
    worker.answer_all(&Answer::upstream(500));
    assert_eq!(worker.tick_period(), None);
}

#[test]
fn updates_define_statistics_of_new_targets_alone() {
    let many =
        |numbers: std::ops::Range<usize>| targets(&numbers.map(|number| target(&format!("t{number}"))).collect::<Vec<_>>());
    let host = Host::new();
    let worker = host.worker(&many(0..32));
    let defined = worker.definitions();
    for update in 0..50 {
        assert!(worker.configure(many(0..32 - update % 5).to_string()));
        worker.pass(&host, Duration::from_secs(1));
    }
    assert_eq!(worker.definitions(), defined);
    let before = host.stats().len();
    assert!(worker.configure(many(1..33).to_string()));
    assert_eq!(worker.definitions() - defined, host.stats().len() - before, "one more target");
    worker.exchange(&Request::get("/"));
    worker.answer_all(&Answer::upstream(200));
    assert_eq!([1, 31, 32].map(|number| host.stat(&format!("t{number}"), "delivered")), [1; 3]);
}

#[test]
fn statistics_are_defined_with_the_configuration_and_never_again() {
    let (host, worker) = mirroring();
    let defined = worker.definitions();
    assert_eq!(defined, host.stats().len());
    worker.exchange(&Request::get("/"));
    worker.answer_all(&Answer::upstream(404));
    assert_eq!(worker.definitions(), defined);
    let kinds = host.stats();
    assert!(kinds.values().any(|stat| matches!(stat, Stat::Histogram(samples) if samples.len() == 1)));
}
