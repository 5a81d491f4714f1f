//! A bad configuration is refused as a whole and tells every problem; the old one keeps serving.

use serde_json::{json, Value};

use crate::scene::{everything_to, Scene};
use crate::stage::{in_one_envoy, one_after_another, Since, Stage};
use crate::support::bootstrap::{self, Filter, Protocol};
use crate::support::envoy::Envoy;
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::log::{self, Event};
use crate::support::setup::Setup;

/// Many problems at once: each has its path.
fn bad() -> Value {
    json!({
        "targets": [
            {"name": "audit", "cluster": "audit", "retry": {"max_atempts": 3}, "batch": {"format": "xml"}, "timeout": "soon"},
            {"name": "audit", "cluster": "audit", "match": [{"path": {"regex": "("}}]},
            {"name": "No Name", "cluster": ""},
        ],
        "limits": {"max_body_bytes": -1},
        "surprise": true,
    })
}

const PROBLEMS: [&str; 9] = [
    "targets[0].batch.format: unknown value",
    "targets[0].retry.max_atempts: unknown field",
    "targets[0].timeout: ",
    "targets[1].name: ",
    "targets[1].match[0].path",
    "targets[2].name: ",
    "targets[2].cluster: ",
    "limits.max_body_bytes: ",
    "surprise: unknown field",
];

#[track_caller]
fn assert_every_problem_is_told(events: &[Event]) {
    let rejected: Vec<&Event> = events.iter().filter(|event| event.name() == "configuration_rejected").collect();
    for start in PROBLEMS {
        let told = rejected.iter().filter(|event| event.text("problem").starts_with(start));
        assert!(told.count() >= 1, "{start:?} is missing in {rejected:#?}");
    }
    for event in rejected {
        assert_eq!(event.level, "error");
        let known = PROBLEMS.iter().any(|start| event.text("problem").starts_with(start));
        assert!(known, "unexpected: {event:?}");
    }
}

async fn lds(envoy: &Envoy, counter: &str, wanted: u64) {
    let name = format!("listener_manager.lds.{counter}");
    eventually(PATIENCE, &name, async || match envoy.stats().await.find(&name) {
        Some(seen) if seen >= wanted => Ok(()),
        seen => Err(format!("{seen:?}")),
    })
    .await;
}

/// The log of an Envoy that refused to start with this filter.
async fn log_of_refusal(filter: Filter) -> String {
    let cluster = bootstrap::cluster("primary", None, Protocol::Http1);
    Setup::new().cluster_json(cluster).listener("main", filter).refused().await
}

#[tokio::test]
async fn a_bad_configuration_is_refused_with_every_problem_and_its_path() {
    for filter in [Filter::json(&bad()), Filter::Struct(bad())] {
        let log = log_of_refusal(filter).await;
        assert_every_problem_is_told(&log::events(&log));
        assert!(log::traps(&log).is_empty(), "{log}");
    }
}

#[tokio::test]
async fn bad_updates_are_refused_and_a_good_one_takes_effect() {
    let scene = Scene::updatable(["audit"], everything_to(&["audit"])).await;
    one_after_another!(&scene =>
        a_refused_update_leaves_the_old_configuration_serving,
        text_that_is_no_configuration_is_refused,
        a_good_update_takes_effect,
    );
}

async fn text_that_is_no_configuration_is_refused(scene: &Scene<1>) {
    let rejected = || scene.envoy.events().iter().filter(|event| event.name() == "configuration_rejected").count();
    for text in ["", "{", "null", "[]", "targets: []", "{\"targets\": []}", "{}", "{\"targets\": 7}"] {
        let (updates, told) = (scene.envoy.stats().await.find("listener_manager.lds.update_rejected").unwrap(), rejected());
        scene.envoy.replace_listeners(&[("main", Filter::Text(text.to_owned()))]);
        lds(&scene.envoy, "update_rejected", updates + 1).await;
        assert!(rejected() > told, "{text:?}: {}", scene.envoy.log());
        scene.client().post("/", text).await;
        assert_eq!(scene.target().take_one().await.body(), text);
    }
}

async fn a_refused_update_leaves_the_old_configuration_serving(scene: &Scene<1>) {
    let (client, since) = (scene.client(), Since::now(&scene.envoy).await);
    client.post("/", "before").await;
    assert_eq!(scene.target().take_one().await.body(), "before");

    scene.update(&bad());
    lds(&scene.envoy, "update_rejected", 1).await;
    assert_every_problem_is_told(&scene.envoy.events());
    for client in [client, scene.client()] {
        assert_eq!(client.post("/", "after").await.status, 200);
        assert_eq!(scene.target().take_one().await.body(), "after");
    }
    let stats = since.settled_at(&scene.envoy, "audit", 3).await;
    assert_eq!(stats.of("audit", "delivered"), 3);
}

async fn a_good_update_takes_effect(scene: &Scene<1>) {
    let mut narrow = everything_to(&["audit"]);
    narrow["targets"][0]["match"] = json!([{"path": {"prefix": "/new"}}]);
    let audit = scene.target();
    scene.client().get("/old").await;
    assert_eq!(audit.take_one().await.path, "/old");
    let updates = scene.envoy.stats().await.find("listener_manager.lds.update_success").unwrap();
    scene.update(&narrow);
    lds(&scene.envoy, "update_success", updates + 1).await;
    // Workers take the new filter chain over one by one.
    eventually(PATIENCE, "the new rules", async || {
        let before = audit.received().len();
        scene.client().get("/old").await;
        scene.envoy.settled(["audit"]).await;
        let after = audit.received().len();
        if before == after {
            Ok(())
        } else {
            Err(format!("{after} copies"))
        }
    })
    .await;
    audit.take(0).await;
    scene.client().get("/new/1").await;
    assert_eq!(audit.take_one().await.path, "/new/1");
}

type Account = (std::collections::BTreeMap<String, u64>, String, usize);

#[tokio::test]
async fn text_and_struct_give_the_same_filter() {
    let (text, structured) = in_one_envoy!(Setup::new() =>
        a_configuration_is_taken_as_it_is_and_that_is_told("text", Filter::json),
        a_configuration_is_taken_as_it_is_and_that_is_told("struct", |configuration| Filter::Struct(configuration.clone())),
    );
    assert_eq!(text, structured);
}

async fn a_configuration_is_taken_as_it_is_and_that_is_told(stage: &Stage, name: &str, filter: fn(&Value) -> Filter) -> Account {
    // Every number is a double in a Struct.
    let configuration = json!({
        "targets": [{
            "name": name, "cluster": name, "timeout": "1.5s", "success": ["2xx", "404"],
            "match": [{"methods": ["POST"], "headers": [{"name": "x-tier", "prefix": "go"}]}],
            "limits": {"max_in_flight": 8, "max_queued": 16},
            "circuit_breaker": {"mode": "disabled"},
        }],
        "limits": {"max_body_bytes": 1000, "max_buffered_bytes": 1e6},
        "correlation": {"header": "x-correlation", "traceparent": true},
        "loop_guard": {"secret": "s"},
    });
    let scene = stage.filtered([name], &[], filter(&configuration)).await;
    let client = scene.client();
    for (path, tier, size) in [("/a", "gold", 1000), ("/b", "gold", 1001), ("/c", "silver", 10)] {
        let request = client.request("POST", path).header("x-tier", tier).header("x-correlation", "7");
        let body = crate::support::client::full(vec![b'x'; size]);
        client.send(request.body(body).unwrap()).await;
    }
    let stats = scene.envoy.settled_at(name, 2).await;
    let copies = scene.target().take(1).await;
    let copy = &copies[0];
    assert_eq!((copies.len(), copy.path.as_str(), copy.body().len()), (1, "/a", 1000));
    let told: Vec<_> = scene.envoy.events().into_iter().filter(|event| event.name() == "configured").collect();
    assert!(told.len() >= 2 && told.iter().all(|event| event.level == "info"), "{told:?}");
    (stats.target(name), copy.only("x-correlation"), copy.only("x-sidecast-loop").len())
}
