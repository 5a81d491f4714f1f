//! Copies of gRPC requests, with tonic on both sides.

use std::collections::BTreeMap;

use serde_json::{json, Value};
use tempfile::TempDir;
use tonic::Code;

use crate::claims::claims;
use crate::scene::{count_anew, target};
use crate::support::answer::{Answer, Behaviour};
use crate::support::bootstrap::Filter;
use crate::support::envoy::Envoy;
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::grpc::{GrpcUpstream, Note, Reply, Streams};
use crate::support::grpc_client::GrpcClient;
use crate::support::log::Event;
use crate::support::setup::Setup;
use crate::support::upstream::{Refusing, Upstream};

/// A service, its copies, and an Envoy with a listener for each configuration between. Each target is called `audit` but for two that have no
/// service.
struct Stage {
    envoy: Envoy,
    primary: GrpcUpstream,
    target: GrpcUpstream,
    /// Speaks no gRPC. Of the listener `plain` by HTTP/2, of the listener `template` by HTTP/1.1.
    plain: Upstream,
    _hanging: Upstream,
    _refusing: Refusing,
    _directory: TempDir,
}

impl Stage {
    async fn start() -> Self {
        let (primary, target) = (GrpcUpstream::start().await, GrpcUpstream::start().await);
        let (plain, hanging, refusing) =
            (Upstream::start().await, Upstream::behaving(Behaviour::Hang).await, Refusing::reserve());
        let directory = tempfile::tempdir().unwrap();
        let mut setup = Setup::new()
            .http2_cluster("primary", primary.address())
            .http2_cluster("audit", target.address())
            .http2_cluster("hanging", hanging.address())
            .http2_cluster("refusing", refusing.address())
            .http2_cluster("plain", plain.address())
            .cluster("plain-http1", plain.address())
            .http2_behind_a_hop("hop", target.address(), &directory.path().join("hop"));
        for (listener, fields) in [
            ("main", json!({})),
            ("retry", json!({"retry": {"max_attempts": 2, "backoff": {"base": "1ms", "max": "2ms"}}})),
            // ALREADY_EXISTS and ABORTED stand for 409.
            ("lenient", json!({"success": ["2xx", "409"]})),
            ("after", json!({"after": "response"})),
            ("compare", json!({"compare": {}})),
            ("plain", json!({"cluster": "plain"})),
            (
                "template",
                json!({"cluster": "plain-http1", "request": {
                    "path": "/events",
                    "body": {"template": {"method": "${path}", "message": "${body_base64}"}},
                }}),
            ),
            ("before-hop", json!({"cluster": "hop"})),
        ] {
            let audit = target_with("audit", fields);
            setup = setup.listener(listener, Filter::json(&json!({ "targets": [audit] })));
        }
        let impatient = ["hanging", "refusing"].map(|name| target_with(name, json!({"timeout": "200ms"})));
        let envoy = setup.listener("no-service", Filter::json(&json!({ "targets": impatient }))).start().await;
        Self { envoy, primary, target, plain, _hanging: hanging, _refusing: refusing, _directory: directory }
    }

    async fn anew(&self) {
        count_anew(&self.envoy).await;
        for upstream in [&self.primary, &self.target] {
            upstream.reply(Reply::Note("noted".into()));
            upstream.take(0).await;
        }
        self.plain.behave(Behaviour::Answer(Answer::status(200)));
        self.plain.take(0).await;
    }

    async fn client(&self, listener: &str) -> GrpcClient {
        GrpcClient::connect(self.envoy.address(listener)).await
    }

    /// The lines of the filter after the first `count`.
    fn events_after(&self, count: usize) -> Vec<Event> {
        self.envoy.events().split_off(count)
    }
}

fn target_with(name: &str, fields: Value) -> Value {
    let mut target = target(name);
    for (field, value) in fields.as_object().unwrap() {
        target[field] = value.clone();
    }
    target
}

fn drops(reason: &str, count: u64) -> BTreeMap<String, u64> {
    [(reason.to_owned(), count)].into()
}

#[tokio::test]
async fn a_copy_of_a_grpc_request_is_one_and_is_judged_by_its_status() {
    // The first three look for lines in the log: of each kind ten are written in a second.
    claims!(
        Stage::start().await,
        a_unary_request_reaches_the_copy_and_its_status_is_seen,
        what_envoy_answers_in_the_place_of_a_service_is_told_apart_from_its_own_status,
        a_target_behind_a_listener_of_the_same_envoy_is_reached_and_its_status_is_seen,
        an_error_under_a_200_is_no_delivery_wherever_its_status_stands,
        a_grpc_status_can_count_as_delivered_and_be_named_as_worth_a_try,
        a_copy_that_waits_for_the_primary_looks_at_its_grpc_status,
        answers_of_grpc_are_compared_by_their_status_and_bytes,
        an_answer_that_is_not_grpc_is_judged_by_its_status,
        streams_are_left_alone_and_counted,
        a_template_makes_a_plain_request_of_a_grpc_one,
    );
}

async fn a_unary_request_reaches_the_copy_and_its_status_is_seen(stage: &Stage) {
    let before = stage.envoy.events().len();
    stage.target.reply(Reply::Note("of the copy".into()));
    assert_eq!(stage.client("main").await.send("an order").await.unwrap(), Note::from("noted"));
    let (primary, copy) = (stage.primary.take_one().await, stage.target.take_one().await);
    assert_eq!((primary.note, copy.note.clone()), (Note::from("an order"), Note::from("an order")));
    assert_eq!(
        (copy.values("te"), copy.values("content-type")),
        (vec!["trailers".to_owned()], vec!["application/grpc".to_owned()])
    );
    let stats = stage.envoy.settled_at("audit", 1).await;
    assert_eq!((stats.of("audit", "delivered"), stats.of("audit", "attempt_failures")), (1, 0));
    let delivered: Vec<String> =
        stage.events_after(before).iter().map(|event| event.text("outcome").to_owned()).filter(|text| !text.is_empty()).collect();
    assert_eq!(delivered, ["grpc_0"]);
}

async fn an_error_under_a_200_is_no_delivery_wherever_its_status_stands(stage: &Stage) {
    let replies = |code| [Reply::TrailersOnly(code), Reply::Status(code), Reply::NoteThenStatus("half".into(), code)];
    // What is final, and what is tried again.
    for (code, attempts, reason) in [
        (Code::InvalidArgument, 1, "not_retryable"),
        (Code::NotFound, 1, "not_retryable"),
        (Code::Unavailable, 2, "retries_exhausted"),
        (Code::ResourceExhausted, 2, "retries_exhausted"),
        (Code::Unknown, 2, "retries_exhausted"),
    ] {
        stage.anew().await;
        let client = stage.client("retry").await;
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

async fn a_grpc_status_can_count_as_delivered_and_be_named_as_worth_a_try(stage: &Stage) {
    stage.target.reply(Reply::TrailersOnly(Code::AlreadyExists));
    stage.client("lenient").await.send("an order").await.unwrap();
    assert_eq!(stage.envoy.settled_at("audit", 1).await.of("audit", "delivered"), 1);
}

async fn a_copy_that_waits_for_the_primary_looks_at_its_grpc_status(stage: &Stage) {
    let client = stage.client("after").await;
    for (matched, reply) in
        [Reply::TrailersOnly(Code::NotFound), Reply::Status(Code::Aborted), Reply::NoteThenStatus("half".into(), Code::Internal)]
            .into_iter()
            .enumerate()
    {
        stage.primary.reply(reply.clone());
        assert!(client.send("an order").await.is_err());
        let stats = stage.envoy.settled_at("audit", matched as u64 + 1).await;
        assert_eq!((stats.of("audit", "not_triggered"), stats.drops("audit")), (matched as u64 + 1, [].into()), "{reply:?}");
    }
    stage.primary.reply(Reply::Note("noted".into()));
    client.send("an order").await.unwrap();
    assert_eq!(stage.envoy.settled_at("audit", 4).await.of("audit", "delivered"), 1);
    assert_eq!(stage.target.take_one().await.note, Note::from("an order"));
}

async fn answers_of_grpc_are_compared_by_their_status_and_bytes(stage: &Stage) {
    let client = stage.client("compare").await;
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

async fn what_envoy_answers_in_the_place_of_a_service_is_told_apart_from_its_own_status(stage: &Stage) {
    let before = stage.envoy.events().len();
    stage.client("no-service").await.send("an order").await.unwrap();
    stage.envoy.settled(["hanging", "refusing"]).await;
    let outcomes: BTreeMap<String, String> = stage
        .events_after(before)
        .iter()
        .filter(|event| event.name() == "attempt_failed")
        .map(|event| (event.text("target").to_owned(), event.text("outcome").to_owned()))
        .collect();
    let expected = [("hanging", "timeout"), ("refusing", "connect_failure")];
    assert_eq!(outcomes, expected.map(|(target, outcome)| (target.to_owned(), outcome.to_owned())).into());
}

async fn an_answer_that_is_not_grpc_is_judged_by_its_status(stage: &Stage) {
    stage.plain.behave(Behaviour::Answer(Answer::status(404)));
    let client = stage.client("plain").await;
    client.send("an order").await.unwrap();
    let stats = stage.envoy.settled_at("audit", 1).await;
    assert_eq!(stats.drops("audit"), drops("not_retryable", 1));
    // A 200 without a status of gRPC is none that any service would send: UNKNOWN.
    stage.plain.behave(Behaviour::Answer(Answer::status(200)));
    client.send("an order").await.unwrap();
    let stats = stage.envoy.settled_at("audit", 2).await;
    assert_eq!((stats.of("audit", "delivered"), stats.drops("audit")["retries_exhausted"]), (0, 1));
}

async fn streams_are_left_alone_and_counted(stage: &Stage) {
    let client = stage.client("main").await;
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

async fn a_template_makes_a_plain_request_of_a_grpc_one(stage: &Stage) {
    stage.client("template").await.send("hi").await.unwrap();
    let event = stage.plain.take_one().await;
    assert_eq!((event.only("content-type"), event.values("te")), ("application/json".to_owned(), vec![]));
    let body: Value = serde_json::from_slice(&event.body()).unwrap();
    assert_eq!(body["method"], "/test.Notes/Send");
    let message = data_encoding::BASE64.decode(body["message"].as_str().unwrap().as_bytes()).unwrap();
    // A flag, the length, and field 1 of two bytes.
    assert_eq!(message, b"\0\0\0\0\x04\x0a\x02hi");
    assert_eq!(stage.envoy.settled_at("audit", 1).await.of("audit", "delivered"), 1);
}

async fn a_target_behind_a_listener_of_the_same_envoy_is_reached_and_its_status_is_seen(stage: &Stage) {
    let before = stage.envoy.events().len();
    let client = stage.client("before-hop").await;
    for (reply, code) in [(Reply::Note("of the copy".into()), 0), (Reply::Status(Code::NotFound), 5)] {
        stage.target.reply(reply);
        assert_eq!(client.send("an order").await.unwrap(), Note::from("noted"));
        assert_eq!(stage.target.take_one().await.note, Note::from("an order"));
        let wanted = format!("grpc_{code}");
        eventually(PATIENCE, "its outcome", async || {
            let events = stage.events_after(before);
            events.iter().any(|event| event.text("outcome") == wanted).then_some(()).ok_or_else(|| stage.envoy.log())
        })
        .await;
    }
    let stats = stage.envoy.settled_at("audit", 2).await;
    assert_eq!((stats.of("audit", "delivered"), stats.drops("audit")), (1, drops("not_retryable", 1)));
}
