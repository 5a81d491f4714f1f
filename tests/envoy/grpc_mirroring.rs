//! Copies of gRPC requests, with tonic on both sides.

use std::collections::BTreeMap;

use serde_json::{json, Value};
use tonic::Code;

use crate::scene::{everything_to, target};
use crate::support::answer::{Answer, Behaviour};
use crate::support::bootstrap::Filter;
use crate::support::envoy::Envoy;
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::grpc::{GrpcUpstream, Note, Reply, Streams};
use crate::support::grpc_client::GrpcClient;
use crate::support::setup::Setup;
use crate::support::upstream::{Refusing, Upstream};

/// A service, its copy, and an Envoy between.
struct Stage {
    envoy: Envoy,
    primary: GrpcUpstream,
    target: GrpcUpstream,
}

impl Stage {
    async fn mirroring(configuration: Value) -> Self {
        let (primary, target) = (GrpcUpstream::start().await, GrpcUpstream::start().await);
        let setup = Setup::new().http2_cluster("primary", primary.address()).http2_cluster("audit", target.address());
        let envoy = setup.listener("main", Filter::json(&configuration)).start().await;
        Self { envoy, primary, target }
    }

    async fn client(&self) -> GrpcClient {
        GrpcClient::connect(self.envoy.address("main")).await
    }
}

fn patient(retry: Value) -> Value {
    let mut audit = target("audit");
    audit["retry"] = retry;
    json!({ "targets": [audit] })
}

fn drops(reason: &str, count: u64) -> BTreeMap<String, u64> {
    [(reason.to_owned(), count)].into()
}

#[tokio::test]
async fn a_unary_request_reaches_the_copy_and_its_status_is_seen() {
    let stage = Stage::mirroring(everything_to(&["audit"])).await;
    stage.target.reply(Reply::Note("of the copy".into()));
    assert_eq!(stage.client().await.send("an order").await.unwrap(), Note::from("noted"));
    let (primary, copy) = (stage.primary.take_one().await, stage.target.take_one().await);
    assert_eq!((primary.note, copy.note.clone()), (Note::from("an order"), Note::from("an order")));
    assert_eq!(
        (copy.values("te"), copy.values("content-type")),
        (vec!["trailers".to_owned()], vec!["application/grpc".to_owned()])
    );
    let stats = stage.envoy.settled_at("audit", 1).await;
    assert_eq!((stats.of("audit", "delivered"), stats.of("audit", "attempt_failures")), (1, 0));
    let delivered: Vec<String> =
        stage.envoy.events().iter().map(|event| event.text("outcome").to_owned()).filter(|text| !text.is_empty()).collect();
    assert_eq!(delivered, ["grpc_0"]);
}

#[tokio::test]
async fn an_error_under_a_200_is_no_delivery_wherever_its_status_stands() {
    let replies = |code| [Reply::TrailersOnly(code), Reply::Status(code), Reply::NoteThenStatus("half".into(), code)];
    // What is final, and what is tried again.
    for (code, attempts, reason) in [
        (Code::InvalidArgument, 1, "not_retryable"),
        (Code::NotFound, 1, "not_retryable"),
        (Code::Unavailable, 2, "retries_exhausted"),
        (Code::ResourceExhausted, 2, "retries_exhausted"),
        (Code::Unknown, 2, "retries_exhausted"),
    ] {
        let stage = Stage::mirroring(patient(json!({"max_attempts": 2, "backoff": {"base": "1ms", "max": "2ms"}}))).await;
        let client = stage.client().await;
        for (matched, reply) in replies(code).into_iter().enumerate() {
            stage.target.reply(reply.clone());
            assert!(client.send("an order").await.is_ok());
            let matched = matched as u64 + 1;
            let stats = stage.envoy.settled_at("audit", matched).await;
            let seen = (stats.of("audit", "attempts"), stats.of("audit", "delivered"), stats.drops("audit"));
            assert_eq!(seen, (attempts * matched, 0, drops(reason, matched)), "{reply:?}");
        }
    }
}

#[tokio::test]
async fn a_grpc_status_can_count_as_delivered_and_be_named_as_worth_a_try() {
    let mut audit = target("audit");
    // ALREADY_EXISTS and ABORTED stand for 409.
    audit["success"] = json!(["2xx", "409"]);
    let stage = Stage::mirroring(json!({ "targets": [audit] })).await;
    stage.target.reply(Reply::TrailersOnly(Code::AlreadyExists));
    stage.client().await.send("an order").await.unwrap();
    assert_eq!(stage.envoy.settled_at("audit", 1).await.of("audit", "delivered"), 1);
}

#[tokio::test]
async fn a_copy_that_waits_for_the_primary_looks_at_its_grpc_status() {
    let mut audit = target("audit");
    audit["after"] = "response".into();
    let stage = Stage::mirroring(json!({ "targets": [audit] })).await;
    let client = stage.client().await;
    for (matched, reply) in
        [Reply::TrailersOnly(Code::NotFound), Reply::Status(Code::Aborted), Reply::NoteThenStatus("half".into(), Code::Internal)]
            .into_iter()
            .enumerate()
    {
        stage.primary.reply(reply.clone());
        assert!(client.send("an order").await.is_err());
        let stats = stage.envoy.settled_at("audit", matched as u64 + 1).await;
        assert_eq!(stats.drops("audit"), drops("primary_failed", matched as u64 + 1), "{reply:?}");
    }
    stage.primary.reply(Reply::Note("noted".into()));
    client.send("an order").await.unwrap();
    assert_eq!(stage.envoy.settled_at("audit", 4).await.of("audit", "delivered"), 1);
    assert_eq!(stage.target.take_one().await.note, Note::from("an order"));
}

#[tokio::test]
async fn answers_of_grpc_are_compared_by_their_status_and_bytes() {
    let mut audit = target("audit");
    audit["compare"] = json!({});
    let stage = Stage::mirroring(json!({ "targets": [audit] })).await;
    let client = stage.client().await;
    let failing = || Reply::Status(Code::NotFound);
    let cases = [
        (Reply::Note("same".into()), Reply::Note("same".into()), [1, 0, 0]),
        (Reply::Note("same".into()), Reply::Note("other".into()), [1, 0, 1]),
        (Reply::Note("same".into()), failing(), [1, 1, 1]),
        (failing(), Reply::TrailersOnly(Code::NotFound), [2, 1, 1]),
    ];
    for (matched, (primary, target, expected)) in cases.into_iter().enumerate() {
        stage.primary.reply(primary);
        stage.target.reply(target);
        let _ = client.send("an order").await;
        stage.envoy.settled_at("audit", matched as u64 + 1).await;
        eventually(PATIENCE, "the comparison", async || {
            let stats = stage.envoy.stats().await;
            let names = ["compare.match", "compare.status_mismatch", "compare.body_mismatch"];
            match names.map(|name| stats.of("audit", name)) {
                seen if seen == expected => Ok(()),
                seen => Err(format!("{seen:?} of {expected:?}")),
            }
        })
        .await;
    }
}

#[tokio::test]
async fn what_envoy_answers_in_the_place_of_a_service_is_told_apart_from_its_own_status() {
    let (primary, hanging, refusing) =
        (GrpcUpstream::start().await, Upstream::behaving(Behaviour::Hang).await, Refusing::reserve());
    let named = |name: &str| {
        let mut target = target(name);
        target["timeout"] = "200ms".into();
        target
    };
    let envoy = Setup::new()
        .http2_cluster("primary", primary.address())
        .http2_cluster("hanging", hanging.address())
        .http2_cluster("refusing", refusing.address())
        .listener("main", Filter::json(&json!({"targets": [named("hanging"), named("refusing")]})))
        .start()
        .await;
    GrpcClient::connect(envoy.address("main")).await.send("an order").await.unwrap();
    envoy.settled(["hanging", "refusing"]).await;
    let outcomes: BTreeMap<String, String> = envoy
        .events()
        .iter()
        .filter(|event| event.name() == "attempt_failed")
        .map(|event| (event.text("target").to_owned(), event.text("outcome").to_owned()))
        .collect();
    let expected = [("hanging", "timeout"), ("refusing", "connect_failure")];
    assert_eq!(outcomes, expected.map(|(target, outcome)| (target.to_owned(), outcome.to_owned())).into());
}

#[tokio::test]
async fn an_answer_that_is_not_grpc_is_judged_by_its_status() {
    let (primary, plain) = (GrpcUpstream::start().await, Upstream::behaving(Behaviour::Answer(Answer::status(404))).await);
    let envoy = Setup::new()
        .http2_cluster("primary", primary.address())
        .http2_cluster("audit", plain.address())
        .listener("main", Filter::json(&everything_to(&["audit"])))
        .start()
        .await;
    let client = GrpcClient::connect(envoy.address("main")).await;
    client.send("an order").await.unwrap();
    let stats = envoy.settled_at("audit", 1).await;
    assert_eq!(stats.drops("audit"), drops("not_retryable", 1));
    // A 200 without a status of gRPC is none that any service would send: UNKNOWN.
    plain.behave(Behaviour::Answer(Answer::status(200)));
    client.send("an order").await.unwrap();
    let stats = envoy.settled_at("audit", 2).await;
    assert_eq!((stats.of("audit", "delivered"), stats.drops("audit")["retries_exhausted"]), (0, 1));
}

#[tokio::test]
async fn streams_are_left_alone_and_counted() {
    let stage = Stage::mirroring(everything_to(&["audit"])).await;
    let client = stage.client().await;
    assert!(client.collect(&["one", "two", "three"]).await.is_ok());
    let (notebook, mut answers) = client.chat().await.unwrap();
    for text in ["first", "second"] {
        notebook.send(text.into()).unwrap();
        assert_eq!(answers.message().await.unwrap(), Some(Note::from(text)));
    }
    // It is still open, and was given up at its second message.
    let stats = stage.envoy.settled_at("audit", 2).await;
    assert_eq!((stats.of("audit", "attempts"), stats.drops("audit")), (0, drops("grpc_stream", 2)));
    notebook.send("third".into()).unwrap();
    assert_eq!(answers.message().await.unwrap(), Some(Note::from("third")));
    drop(notebook);
    assert_eq!(answers.message().await.unwrap(), None);
    eventually(PATIENCE, "the streams to end", async || match stage.primary.streams() {
        Streams { begun: 2, notes: 6, ended: 2 } => Ok(()),
        seen => Err(format!("{seen:?}")),
    })
    .await;
    assert_eq!(stage.target.streams(), Streams::default());
    assert_eq!(stage.target.calls().len(), 0);
}

#[tokio::test]
async fn a_template_makes_a_plain_request_of_a_grpc_one() {
    let mut audit = target("audit");
    audit["request"] = json!({"path": "/events", "body": {"template": {"method": "${path}", "message": "${body_base64}"}}});
    let (primary, plain) = (GrpcUpstream::start().await, Upstream::start().await);
    let envoy = Setup::new()
        .http2_cluster("primary", primary.address())
        .cluster("audit", plain.address())
        .listener("main", Filter::json(&json!({ "targets": [audit] })))
        .start()
        .await;
    GrpcClient::connect(envoy.address("main")).await.send("hi").await.unwrap();
    let event = plain.take_one().await;
    assert_eq!((event.only("content-type"), event.values("te")), ("application/json".to_owned(), vec![]));
    let body: Value = serde_json::from_slice(&event.body()).unwrap();
    assert_eq!(body["method"], "/test.Notes/Send");
    let message = data_encoding::BASE64.decode(body["message"].as_str().unwrap().as_bytes()).unwrap();
    // A flag, the length, and field 1 of two bytes.
    assert_eq!(message, b"\0\0\0\0\x04\x0a\x02hi");
    assert_eq!(envoy.settled_at("audit", 1).await.of("audit", "delivered"), 1);
}

#[tokio::test]
async fn a_target_behind_a_listener_of_the_same_envoy_is_reached_and_its_status_is_seen() {
    let (primary, target) = (GrpcUpstream::start().await, GrpcUpstream::start().await);
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup::new().http2_cluster("primary", primary.address());
    let setup = setup.http2_behind_a_hop("audit", target.address(), &directory.path().join("audit"));
    let envoy = setup.listener("main", Filter::json(&everything_to(&["audit"]))).start().await;
    let client = GrpcClient::connect(envoy.address("main")).await;
    for (reply, code) in [(Reply::Note("of the copy".into()), 0), (Reply::Status(Code::NotFound), 5)] {
        target.reply(reply);
        assert_eq!(client.send("an order").await.unwrap(), Note::from("noted"));
        assert_eq!(target.take_one().await.note, Note::from("an order"));
        let wanted = format!("grpc_{code}");
        eventually(PATIENCE, "its outcome", async || {
            let events = envoy.events();
            events.iter().any(|event| event.text("outcome") == wanted).then_some(()).ok_or_else(|| envoy.log())
        })
        .await;
    }
    let stats = envoy.settled_at("audit", 2).await;
    assert_eq!((stats.of("audit", "delivered"), stats.drops("audit")), (1, drops("not_retryable", 1)));
}
