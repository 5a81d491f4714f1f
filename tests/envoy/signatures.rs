//! Signatures, verified by the library of the Standard Webhooks specification and by another implementation of HMAC.

use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use hmac_sha256::HMAC;
use hyper::header::{HeaderMap, HeaderName};
use serde_json::{json, Value};
use standardwebhooks::Webhook;

use crate::letter::Letter;
use crate::scene::target;
use crate::stage::{in_one_envoy, Stage};
use crate::support::answer::{Answer, Behaviour};
use crate::support::client::full;
use crate::support::rabbitmq::BASIC;
use crate::support::recorded::Recorded;
use crate::support::setup::Setup;

const OLD: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const NEW: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A target whose copies are webhooks, signed with the old and the new secret.
fn signing(name: &str) -> Value {
    let mut signing = target(name);
    signing["request"] = json!({"sign": {"standard_webhooks": {"secrets": [OLD, NEW]}}});
    signing
}

/// What a receiver with this secret says of what arrived, with this body.
pub(crate) fn is_verified(call: &Recorded, secret: &str, body: &Bytes) -> bool {
    let headers: HeaderMap = call
        .headers
        .iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.as_slice().try_into().unwrap()))
        .collect();
    Webhook::new(secret).unwrap().verify(body, &headers).is_ok()
}

/// Asserts that holders of each secret take what arrived, and nobody takes anything else.
fn assert_verified(call: &Recorded) {
    let body = call.body();
    let of = |secret| is_verified(call, secret, &body);
    assert_eq!([OLD, NEW, OTHER].map(of), [true, true, false], "{call:?}");
    let longer = [&body[..], b" "].concat().into();
    assert!(!is_verified(call, OLD, &longer), "{call:?}");
    assert_eq!(call.only("webhook-id"), call.only("x-sidecast-loop"));
    assert_eq!(call.only("webhook-signature").split(' ').count(), 2);
}

/// One worker, so that both requests of a batch meet in it.
#[tokio::test]
async fn what_arrives_is_verified_by_others() {
    in_one_envoy!(Setup::new().concurrency(1) =>
        each_attempt_is_signed_anew_and_the_clients_headers_are_not_sent,
        a_batch_is_signed_as_a_whole_and_its_letters_are_not,
        the_forms_of_known_services_can_be_made,
    );
}

async fn each_attempt_is_signed_anew_and_the_clients_headers_are_not_sent(stage: &Stage) {
    let mut signed = signing("webhooks");
    signed["request"]["body"] = json!({"template": {"order": "${body:/id}", "text": "ä"}});
    signed["retry"] = json!({"max_attempts": 2, "backoff": {"base": "1ms", "max": "10s"}});
    let scene = stage.part(["webhooks"], json!({ "targets": [signed] })).await;
    let mut busy = Answer::status(503);
    // The timestamp counts seconds.
    busy.headers.push(("retry-after", "2".to_owned()));
    scene.target().behave(Behaviour::Answer(busy));
    let client = scene.client();
    let request = client
        .request("POST", "/")
        .header("webhook-id", "forged")
        .header("webhook-timestamp", "1")
        .header("webhook-signature", "v1,forged")
        .header("webhook_signature", "v1,forged");
    assert_eq!(client.send(request.body(full(r#"{"id": 7}"#)).unwrap()).await.status, 200);
    scene.target().arrived(1).await;
    scene.target().behave(Behaviour::Answer(Answer::status(200)));
    let stats = scene.envoy.settled_at("webhooks", 1).await;
    assert_eq!((stats.of("webhooks", "delivered"), stats.of("webhooks", "attempts")), (1, 2));
    let attempts = scene.target().take(2).await;
    for attempt in &attempts {
        assert_eq!(attempt.body(), r#"{"order":7,"text":"ä"}"#);
        assert_verified(attempt);
        assert_eq!(attempt.values("webhook_signature"), [] as [&str; 0]);
    }
    let [first, second] = [&attempts[0], &attempts[1]];
    assert_eq!(first.only("webhook-id"), second.only("webhook-id"));
    let times: Vec<u64> = attempts.iter().map(|attempt| attempt.only("webhook-timestamp").parse().unwrap()).collect();
    assert!(times[0] < times[1], "{times:?}");
    assert_ne!(first.only("webhook-signature"), second.only("webhook-signature"));
    // The primary got the client's own.
    assert_eq!(scene.primary.take_one().await.only("webhook-id"), "forged");
}

async fn a_batch_is_signed_as_a_whole_and_its_letters_are_not(stage: &Stage) {
    let mut batched = signing("signed-batches");
    batched["batch"] = json!({"max_items": 2, "max_delay": "1h"});
    batched["retry"] = json!({"max_attempts": 2, "backoff": {"base": "1ms", "max": "2ms"}});
    batched["dead_letter"] = json!({"cluster": "letters-of-signed-batches"});
    let scene = stage.part(["signed-batches", "letters-of-signed-batches"], json!({ "targets": [batched] })).await;
    let [target, keeper] = &scene.targets;
    target.behave(Behaviour::Answer(Answer::status(503)));
    let client = scene.client();
    for id in 0..2 {
        let request = client.request("POST", "/").header("webhook-id", "forged");
        assert_eq!(client.send(request.body(full(format!("{{\"id\": {id}}}"))).unwrap()).await.status, 200);
    }
    scene.envoy.settled_at("signed-batches", 2).await;
    let attempts = target.take(2).await;
    for attempt in &attempts {
        assert_eq!(attempt.body(), r#"[{"id":0},{"id":1}]"#);
        assert_verified(attempt);
    }
    assert_eq!(attempts[0].only("webhook-id"), attempts[1].only("webhook-id"));
    for call in keeper.take(2).await {
        let names: Vec<String> = Letter::parse(&call.body()).headers().into_iter().map(|(name, _)| name).collect();
        assert!(names.contains(&"idempotency-key".to_owned()), "{names:?}");
        assert!(!names.iter().any(|name| name.starts_with("webhook")), "{names:?}");
        assert!(!call.headers.iter().any(|(name, _)| name.starts_with("webhook")), "{call:?}");
    }
}

async fn the_forms_of_known_services_can_be_made(stage: &Stage) {
    let of = |name: &str, mut hmac: Value| {
        hmac["secrets"] = json!(["${env:RABBIT_BASIC}"]);
        let mut target = target(name);
        target["request"] = json!({"sign": {"hmac_sha256": hmac}});
        target
    };
    let mut stripe = of("stripe", json!({"header": "stripe-signature", "prefix": "v1=", "timestamp": {"prefix": "t="}}));
    stripe["request"]["sign"]["hmac_sha256"]["secrets"] = json!(["${env:RABBIT_BASIC}", "next"]);
    let targets = json!([
        of("github", json!({"header": "X-Hub-Signature-256", "prefix": "sha256="})),
        stripe,
        of("shopify", json!({"header": "x-shopify-hmac-sha256", "encoding": "base64"})),
    ]);
    let scene = stage.part(["github", "stripe", "shopify"], json!({ "targets": targets })).await;
    // Bytes that are no text, as they are.
    let body = b"\xff\x00 an order".as_slice();
    let client = scene.client();
    let request = client.request("POST", "/").header("x-hub-signature-256", "sha256=forged");
    assert_eq!(client.send(request.body(full(body)).unwrap()).await.status, 200);
    let [github, stripe, shopify] = &scene.targets;
    let tag = HMAC::mac(body, BASIC.as_bytes());
    assert_eq!(github.take_one().await.only("x-hub-signature-256"), format!("sha256={}", HEXLOWER.encode(&tag)));
    assert_eq!(shopify.take_one().await.only("x-shopify-hmac-sha256"), BASE64.encode(&tag));
    let value = stripe.take_one().await.only("stripe-signature");
    let time = value.strip_prefix("t=").unwrap().split(',').next().unwrap();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!(now.abs_diff(time.parse().unwrap()) < 300, "{value}");
    let dated = [time.as_bytes(), b".", body].concat();
    let tags = [BASIC, "next"].map(|secret| format!("v1={}", HEXLOWER.encode(&HMAC::mac(&dated, secret.as_bytes()))));
    assert_eq!(value, format!("t={time},{}", tags.join(",")));
}
