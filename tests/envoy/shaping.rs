//! What a target receives that asks for something else than the primary's request.

use bytes::Bytes;
use serde_json::{json, Value};

use crate::letter::Letter;
use crate::scene::{noise, target};
use crate::stage::{in_one_envoy, Part, Stage};
use crate::support::answer::{Answer, Behaviour};
use crate::support::bootstrap::Filter;
use crate::support::client::full;
use crate::support::setup::Setup;

const ORDER: &str = r#"{"id":7,"card":{"number":"4111-1111","name":"J"},"items":[{"ssn":"123-45","n":1.50},{"ssn":"678-90"}]}"#;

/// Two targets: one gets requests as they are, the other as it asks for.
async fn beside_a_plain_one(stage: &Stage, names: [&str; 2], request: Value) -> Part<2> {
    let [plain, mut shaped] = names.map(target);
    shaped["request"] = request;
    stage.part(names, json!({"targets": [plain, shaped]})).await
}

#[tokio::test]
async fn targets_receive_what_they_ask_for() {
    in_one_envoy!(Setup::new() =>
        a_target_receives_what_it_asks_for_and_the_others_what_was_sent,
        nothing_of_a_redacted_value_is_sent_logged_or_dead_lettered,
        a_variable_is_sent_to_its_target_and_shown_to_nobody_else,
        a_body_can_be_left_out,
        sensitive_headers_go_where_that_is_asked_for,
        a_body_that_cannot_be_read_is_dropped_for_those_who_read_it_alone,
        properties_of_envoy_can_stand_in_a_request,
        each_attempt_says_its_number_and_the_time_of_the_request,
    );
}

async fn a_target_receives_what_it_asks_for_and_the_others_what_was_sent(stage: &Stage) {
    let request = json!({
        "method": "PATCH",
        "path": "/events/${query:user}?src=${path}&id=${body:/id}",
        "authority": "${target}.internal:8080",
        "headers": {
            "forward": ["x-tenant", "cookie"],
            "remove": ["x-request-id"],
            "set": {"authorization": "Basic ${env:RABBIT_BASIC}", "x-source": "sidecast", "x-tenant-and-more": "${header:x-tenant}/${correlation_id}"},
        },
        "body": {
            "redact": ["/card/number", "/items/*/ssn"],
            "template": {"order": "${body:/id}", "card": "${body:/card}", "first": "${body:/items/0}", "text": "order ${body:/id}", "none": "${body:/x}", "$${": "$${"},
        },
    });
    let scene = beside_a_plain_one(stage, ["plain", "shaped"], request).await;
    let [plain, shaped] = &scene.targets;
    for (client, version) in [(scene.client(), 1), (scene.http2_client(), 2)] {
        let request = client
            .request("POST", "/orders/1%20a?user=J%C3%B6rg%20%26&b=2")
            .header("content-type", "application/json; charset=utf-8")
            .header("x-tenant", "t1")
            .header("x-other", "o")
            .header("cookie", "session")
            .header("authorization", "Bearer of-the-user")
            .header("x-request-id", "c0ffee");
        client.send(request.body(full(ORDER)).unwrap()).await;
        let (primary, copy, event) = (scene.primary.take_one().await, plain.take_one().await, shaped.take_one().await);
        assert_eq!((primary.body(), copy.body()), (Bytes::from(ORDER), Bytes::from(ORDER)));
        assert_eq!(
            (primary.only("authorization"), primary.path.as_str()),
            ("Bearer of-the-user".to_owned(), "/orders/1%20a?user=J%C3%B6rg%20%26&b=2")
        );
        assert_eq!((copy.method.as_str(), copy.path.as_str()), ("POST", "/orders/1%20a?user=J%C3%B6rg%20%26&b=2"));
        assert_eq!(event.method, "PATCH", "HTTP/{version}");
        assert_eq!(event.path, "/events/J%C3%B6rg%20%26?src=/orders/1%2520a&id=7");
        assert_eq!(event.authority, "shaped.internal:8080");
        assert_eq!(event.only("content-type"), "application/json");
        assert_eq!(event.only("content-length"), event.body().len().to_string());
        assert_eq!(event.only("authorization"), format!("Basic {}", crate::support::rabbitmq::BASIC));
        assert_eq!(
            (event.only("x-tenant"), event.only("cookie"), event.only("x-source")),
            ("t1".to_owned(), "session".to_owned(), "sidecast".to_owned())
        );
        assert_eq!(event.only("x-tenant-and-more"), "t1/c0ffee");
        for gone in ["x-other", "x-request-id", "content-encoding"] {
            assert_eq!(event.values(gone), [] as [&str; 0], "{gone}");
        }
        let expected = concat!(
            r#"{"$${":"${","card":{"number":"[redacted]","name":"J"},"first":{"ssn":"[redacted]","n":1.50},"none":null,"#,
            r#""order":7,"text":"order 7"}"#
        );
        assert_eq!(event.body(), expected);
    }
}

async fn nothing_of_a_redacted_value_is_sent_logged_or_dead_lettered(stage: &Stage) {
    let mut audit = target("blind");
    audit["request"] = json!({
        "path": "/p/${body:/card/number}?all=${body}",
        "headers": {"set": {"x-body": "${body_text}", "x-base64": "${body_base64}"}},
        "body": {"redact": ["/card", "/items/*/ssn"]},
    });
    audit["retry"] = json!({"max_attempts": 2, "backoff": {"base": "1ms", "max": "2ms"}});
    audit["dead_letter"] = json!({"cluster": "letters-of-blind", "headers": {"set": {"x-all": "${body_text}"}}, "body": {"template": ["${dead_letter}", "${body}", "${body:/items}"]}});
    let scene = stage.part(["blind", "letters-of-blind"], json!({ "targets": [audit] })).await;
    let [target, keeper] = &scene.targets;
    target.behave(Behaviour::Answer(Answer::status(503)));
    // One that can be read, and one that cannot.
    scene.client().post("/orders", ORDER).await;
    scene.client().post("/orders", format!("{ORDER}{{")).await;
    let stats = scene.envoy.settled_at("blind", 2).await;
    assert_eq!((stats.of("blind", "dead_lettered"), stats.drops("blind")), (1, [("body_not_json".to_owned(), 1)].into()));
    let letter = keeper.take_one().await;
    let attempts = target.take(2).await;
    assert_eq!(attempts.len(), 2);
    let mut seen = scene.envoy.log().into_bytes();
    for call in attempts.iter().chain([&letter]) {
        seen.extend(format!("{call:?}").into_bytes());
        seen.extend(call.body());
        for encoded in call.values("x-base64") {
            seen.extend(data_encoding::BASE64.decode(encoded.as_bytes()).unwrap());
        }
    }
    let seen = String::from_utf8_lossy(&seen);
    for secret in ["4111-1111", "123-45", "678-90"] {
        assert!(!seen.contains(secret), "{secret}");
    }
    // It was looked for in the right place.
    assert!(seen.contains("[redacted]") && seen.contains("1.50"));
}

async fn a_variable_is_sent_to_its_target_and_shown_to_nobody_else(stage: &Stage) {
    let basic = crate::support::rabbitmq::BASIC;
    let mut audit = target("hook");
    audit["request"] = json!({
        "path": "/hooks/${env:RABBIT_BASIC}",
        "headers": {"set": {"authorization": "Basic ${env:RABBIT_BASIC}"}},
        "body": {"template": {"key": "${env:RABBIT_BASIC}"}},
    });
    audit["dead_letter"] = json!({"cluster": "letters-of-hook"});
    let scene = stage.part(["hook", "letters-of-hook"], json!({ "targets": [audit] })).await;
    let [target, keeper] = &scene.targets;
    target.behave(Behaviour::Answer(Answer::status(503)));
    scene.client().post("/", "{}").await;
    scene.envoy.settled_at("hook", 1).await;
    let call = target.take_one().await;
    assert_eq!(call.only("authorization"), format!("Basic {basic}"));
    assert_eq!(call.body(), json!({ "key": basic }).to_string());
    let letter = keeper.take_one().await;
    let shown = format!("{letter:?}{}{}", String::from_utf8_lossy(&letter.body()), scene.envoy.log());
    assert!(!shown.contains(basic), "{shown}");
    let letter = Letter::parse(&letter.body());
    assert_eq!((letter.request("path"), letter.body()), (Some("/hooks/%5Bredacted%5D"), br#"{"key":"[redacted]"}"#.to_vec()));
}

async fn a_body_can_be_left_out(stage: &Stage) {
    let scene = beside_a_plain_one(stage, ["whole", "bodiless"], json!({"body": {"omit": true}})).await;
    let client = scene.client();
    let request = client.request("POST", "/").header("content-type", "application/json").header("content-language", "de");
    client.send(request.body(full(noise(100_000))).unwrap()).await;
    let [plain, shaped] = &scene.targets;
    assert_eq!(plain.take_one().await.body().len(), 100_000);
    let copy = shaped.take_one().await;
    assert_eq!((copy.method.as_str(), copy.body().len()), ("POST", 0));
    assert_eq!((copy.values("content-type"), copy.values("content-language")), (vec![], vec![]));
}

async fn sensitive_headers_go_where_that_is_asked_for(stage: &Stage) {
    let scene = beside_a_plain_one(stage, ["careful", "trusted"], json!({"headers": {"sensitive": "forward"}})).await;
    let client = scene.client();
    let request = client.request("GET", "/").header("authorization", "Bearer t").header("x-api-key", "k");
    client.send(request.body(full("")).unwrap()).await;
    let [plain, shaped] = &scene.targets;
    let (copy, shaped) = (plain.take_one().await, shaped.take_one().await);
    assert_eq!((copy.values("authorization"), copy.values("x-api-key")), (vec![], vec![]));
    assert_eq!((shaped.only("authorization"), shaped.only("x-api-key")), ("Bearer t".to_owned(), "k".to_owned()));
}

async fn a_body_that_cannot_be_read_is_dropped_for_those_who_read_it_alone(stage: &Stage) {
    let scene = beside_a_plain_one(stage, ["copier", "reader"], json!({"body": {"template": {"id": "${body:/id}"}}})).await;
    let [plain, shaped] = &scene.targets;
    let bodies: [&[u8]; 5] = [b"{\"id\":1}", b"no json", b"", b"\xff\xfe{\0}\0", b"{\"id\":2} x"];
    for body in bodies {
        assert_eq!(scene.client().post("/", body.to_vec()).await.status, 200);
    }
    scene.envoy.settled_at("copier", 5).await;
    let stats = scene.envoy.settled_at("reader", 5).await;
    assert_eq!(stats.drops("reader"), [("body_not_json".to_owned(), 3)].into());
    assert_eq!((stats.of("reader", "attempts"), stats.of("copier", "delivered")), (2, 5));
    let seen: Vec<Bytes> = shaped.take(2).await.iter().map(|copy| copy.body()).collect();
    // There is nothing to be read in an empty one.
    assert_eq!(seen, ["{\"id\":1}", "{\"id\":null}"]);
    let copies: Vec<Bytes> = plain.take(5).await.iter().map(|copy| copy.body()).collect();
    assert_eq!(copies, bodies);
}

async fn properties_of_envoy_can_stand_in_a_request(stage: &Stage) {
    let scene = beside_a_plain_one(
        stage,
        ["unaware", "aware"],
        json!({"headers": {"set": {
            "x-listener": "${property:xds.listener_direction}",
            "x-protocol": "${property:request.protocol}",
            "x-port": "${property:destination.port}",
            "x-mtls": "${property:connection.mtls}",
            "x-none": "<${property:no.such.thing}>",
        }}}),
    )
    .await;
    scene.client().get("/").await;
    let copy = scene.targets[1].take_one().await;
    assert_eq!(copy.only("x-protocol"), "HTTP/1.1");
    assert_eq!(copy.only("x-port"), scene.address().port().to_string());
    assert_eq!((copy.only("x-mtls"), copy.only("x-none")), ("false".to_owned(), "<>".to_owned()));
}

async fn each_attempt_says_its_number_and_the_time_of_the_request(stage: &Stage) {
    let mut audit = target("failing");
    audit["request"] = json!({"body": {"template": {"attempt": "${attempt}", "id": "${delivery_id}", "at": "${now_ms}"}}});
    audit["retry"] = json!({"max_attempts": 3, "backoff": {"base": "30ms", "max": "60ms"}});
    let scene = stage.filtered(["failing"], &[], Filter::Struct(json!({ "targets": [audit] }))).await;
    scene.target().behave(Behaviour::Answer(Answer::status(503)));
    scene.client().post("/", "").await;
    let bodies: Vec<Value> =
        scene.target().take(3).await.iter().map(|copy| serde_json::from_slice(&copy.body()).unwrap()).collect();
    assert_eq!([&bodies[0]["attempt"], &bodies[1]["attempt"], &bodies[2]["attempt"]], [1, 2, 3]);
    assert!(bodies.iter().all(|body| body["id"] == bodies[0]["id"]));
    // By two clocks, so that a millisecond may lie between; the pauses are far longer.
    let times: Vec<i64> = bodies.iter().map(|body| body["at"].as_i64().unwrap()).collect();
    assert!(times.iter().all(|time| (time - times[0]).abs() <= 5), "{times:?}");
}
