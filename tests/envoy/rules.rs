//! Which requests a target gets, by authority, query and body, and which it does not get.

use serde_json::{json, Value};

use crate::scene::target;
use crate::stage::{in_one_envoy, Stage};
use crate::support::client::full;
use crate::support::setup::Setup;

fn with_rules(name: &str, field: &str, rules: Value) -> Value {
    let mut target = target(name);
    target[field] = rules;
    target
}

#[tokio::test]
async fn rules_decide_who_gets_what() {
    in_one_envoy!(Setup::new() =>
        targets_get_what_authority_query_and_body_say_and_no_exceptions,
        a_body_that_decides_and_cannot_be_read_is_counted,
    );
}

async fn targets_get_what_authority_query_and_body_say_and_no_exceptions(stage: &Stage) {
    let names = ["host", "query", "body", "but"];
    let targets = json!([
        with_rules("host", "match", json!([{"authority": {"suffix": ".Shop.example"}}])),
        with_rules("query", "match", json!([{"query": [{"name": "audit", "exact": "yes & no"}]}])),
        with_rules(
            "body",
            "match",
            json!([{"body": [{"pointer": "/type", "exact": "order"}, {"pointer": "/total", "exact": 51}]}])
        ),
        with_rules("but", "except", json!([{"path": {"exact": "/health"}}, {"body": [{"pointer": "/test", "exact": true}]}])),
    ]);
    let scene = stage.part(names, json!({ "targets": targets })).await;
    let requests = [
        ("GET", "/health", "a.SHOP.example", "", [true, false, false, false]),
        ("GET", "/?audit=yes+%26%20no", "a.other.example", "", [false, true, false, true]),
        ("GET", "/?audit=no&audit=yes+%26%20no", "shop.example", "", [false, false, false, true]),
        ("POST", "/", "other.example", r#"{"type":"order","total":51.00}"#, [false, false, true, true]),
        ("POST", "/", "other.example", r#"{"type":"order","total":51.01,"test":false}"#, [false, false, false, true]),
        ("POST", "/", "other.example", r#"{"type":"order","total":"51","test":true}"#, [false, false, false, false]),
    ];
    for (client, version) in [(scene.client(), 1), (scene.http2_client(), 2)] {
        for (method, path, host, body, wanted) in requests {
            let request = client.request(method, &format!("http://{host}{path}"));
            client.send(request.body(full(body)).unwrap()).await;
            assert_eq!(scene.primary.take_one().await.authority, host, "HTTP/{version}");
            for (target, wanted) in scene.targets.iter().zip(wanted) {
                if wanted {
                    assert_eq!(target.take_one().await.body(), body, "HTTP/{version} {method} {path} {body}");
                }
            }
        }
    }
    for (index, name) in names.into_iter().enumerate() {
        let wanted = 2 * requests.iter().filter(|(.., wanted)| wanted[index]).count() as u64;
        let stats = scene.envoy.settled_at(name, wanted).await;
        assert_eq!((stats.of(name, "delivered"), stats.drops(name)), (wanted, [].into()), "{name}");
    }
    assert!(scene.targets.iter().all(|target| target.received().is_empty()));
}

async fn a_body_that_decides_and_cannot_be_read_is_counted(stage: &Stage) {
    let audit =
        with_rules("reader", "match", json!([{"path": {"prefix": "/orders"}, "body": [{"pointer": "/type", "exact": "order"}]}]));
    let scene = stage.part(["reader"], json!({ "targets": [audit] })).await;
    let client = scene.client();
    for (path, body) in [
        ("/orders", "type=order"),
        ("/carts", "type=order"),
        ("/orders", r#"{"type":"cart"}"#),
        ("/orders", r#"{"type":"order"}"#),
    ] {
        client.post(path, body).await;
    }
    let stats = scene.envoy.settled_at("reader", 2).await;
    assert_eq!((stats.of("reader", "delivered"), stats.drops("reader")), (1, [("body_not_json".to_owned(), 1)].into()));
    assert_eq!(scene.target().take_one().await.body(), r#"{"type":"order"}"#);
}
