//! Paths that targets ask for, and what Envoy knows about a request.

use serde_json::{json, Value};

use crate::claims::claims;
use crate::scene::{target, Scene};
use crate::support::bootstrap::Filter;
use crate::support::client::Client;
use crate::support::setup::Setup;

fn with_request(name: &str, request: Value) -> Value {
    let mut target = target(name);
    target["request"] = request;
    target
}

#[tokio::test]
async fn paths_go_as_they_came_are_rewritten_as_routes_do_and_never_lead_elsewhere() {
    let targets = json!([
        with_request("as-it-came", json!({"path": "/v2${path}"})),
        with_request("with-query", json!({"path": "/v2${path}?${query}"})),
        with_request("prefix", json!({"prefix_rewrite": {"prefix": "/v1/", "replacement": "/v2/"}})),
        with_request("regex", json!({"regex_rewrite": {"pattern": "^/v1/([a-z]+)/([0-9]+)", "substitution": r"/v2/\2/\1"}})),
        with_request("value", json!({"path": "/users/${header:x-user}/orders"})),
    ]);
    let names = ["as-it-came", "with-query", "prefix", "regex", "value"];
    let scene = Scene::configured(names, json!({ "targets": targets })).await;
    for (client, version) in [(scene.client(), 1), (scene.http2_client(), 2)] {
        for (path, user, sent) in [
            (
                "/files/a%20b?page=2",
                "anna",
                [
                    Some("/v2/files/a%20b"),
                    Some("/v2/files/a%20b?page=2"),
                    Some("/files/a%20b?page=2"),
                    Some("/files/a%20b?page=2"),
                    Some("/users/anna/orders"),
                ],
            ),
            (
                "/v1/user/7/ping?page=2&sort=asc",
                "..",
                [
                    Some("/v2/v1/user/7/ping"),
                    Some("/v2/v1/user/7/ping?page=2&sort=asc"),
                    Some("/v2/user/7/ping?page=2&sort=asc"),
                    Some("/v2/7/user/ping?page=2&sort=asc"),
                    None,
                ],
            ),
            ("/v1/../admin", "a/../b", [None, None, None, Some("/v1/../admin"), None]),
            ("/v1/user/7/%2E%2e?x", ".", [None, None, None, None, None]),
            ("/plain", "%2e", [Some("/v2/plain"), Some("/v2/plain"), Some("/plain"), Some("/plain"), None]),
        ] {
            let request = client.request("GET", path).header("x-user", user);
            client.send(request.body(crate::support::client::empty()).unwrap()).await;
            assert_eq!(scene.primary.take_one().await.path, path, "HTTP/{version}");
            for (target, sent) in scene.targets.iter().zip(sent) {
                if let Some(sent) = sent {
                    assert_eq!(target.take_one().await.path, sent, "HTTP/{version}");
                }
            }
        }
    }
    for (name, unsafe_paths) in names.into_iter().zip([4, 4, 4, 2, 8]) {
        let stats = scene.envoy.settled_at(name, 10).await;
        assert_eq!(stats.drops(name), [("unsafe_path".to_owned(), unsafe_paths)].into(), "{name}");
        assert_eq!(stats.of(name, "delivered"), 10 - unsafe_paths, "{name}");
    }
    assert!(scene.targets.iter().all(|target| target.received().is_empty()));
}

/// One property of each kind that Envoy does not have as text, and two that it has.
const PROPERTIES: [(&str, &str); 18] = [
    ("port", "destination.port"),
    ("size", "request.size"),
    ("headers", "request.headers_bytes"),
    ("connection", "connection.id"),
    ("direction", "xds.listener_direction"),
    ("mtls", "connection.mtls"),
    ("time", "request.time"),
    ("duration", "request.duration"),
    ("protocol", "request.protocol"),
    ("agent", "request.headers.user-agent"),
    ("number", "xds.route_metadata.filter_metadata.test.number"),
    ("fraction", "xds.route_metadata.filter_metadata.test.fraction"),
    ("flag", "xds.route_metadata.filter_metadata.test.flag"),
    ("text", "xds.route_metadata.filter_metadata.test.text"),
    ("list", "xds.route_metadata.filter_metadata.test.list"),
    ("map", "xds.route_metadata.filter_metadata.test.map"),
    ("node", "xds.node.id"),
    ("none", "no.such.thing"),
];

#[tokio::test]
async fn what_is_known_about_a_request_is_written_where_it_is_asked_for() {
    let mut letters = target("audit");
    letters["dead_letter"] = json!({"cluster": "dlq", "path": "/dead/${header:x-user}"});
    let mut flow = with_request(
        "audit",
        json!({"headers": {"set": {"x-id": "${correlation_id}"}}, "body": {"template": {"id": "${correlation_id}"}}}),
    );
    flow["success"] = json!(["204"]);
    let flow = json!({ "targets": [flow], "correlation": {"header": "x-flow"} });
    let template: serde_json::Map<String, Value> =
        PROPERTIES.iter().map(|(name, path)| ((*name).to_owned(), json!(format!("${{property:{path}}}")))).collect();
    let properties = json!({"targets": [with_request("audit", json!({"body": {"template": template}}))]});
    let metadata = json!({"filter_metadata": {"test": {
        "number": 17, "fraction": 1.5, "flag": true, "text": "some", "list": [1, "a"], "map": {"a": 1},
    }}});
    let add = |setup: Setup| {
        setup.listener("flow", Filter::json(&flow)).listener("properties", Filter::json(&properties)).with(
            "/static_resources/listeners/2/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes/1",
            "metadata",
            metadata,
        )
    };
    claims!(
        Scene::set_up(["audit", "dlq"], json!({ "targets": [letters] }), add).await,
        a_letter_is_not_posted_to_a_path_that_leads_elsewhere,
        a_correlation_id_is_whole_in_requests_and_cut_in_the_log,
        properties_of_envoy_are_text_whatever_envoy_keeps_them_as,
    );
}

async fn a_letter_is_not_posted_to_a_path_that_leads_elsewhere(scene: &Scene<2>) {
    scene.targets[0].behave(crate::support::answer::Behaviour::Answer(crate::support::answer::Answer::status(404)));
    let client = scene.client();
    for user in ["anna", ".."] {
        client.send(client.request("GET", "/").header("x-user", user).body(crate::support::client::empty()).unwrap()).await;
    }
    let stats = scene.envoy.settled_at("audit", 2).await;
    assert_eq!((stats.of("audit", "dead_lettered"), stats.drops("audit")), (1, [("not_retryable".to_owned(), 1)].into()));
    assert_eq!(scene.targets[1].take_one().await.path, "/dead/anna");
    assert!(scene.envoy.log().contains(r#""outcome":"unsafe_path""#));
}

async fn a_correlation_id_is_whole_in_requests_and_cut_in_the_log(scene: &Scene<2>) {
    let id = "0123456789".repeat(50);
    let client = Client::http1(scene.envoy.address("flow"));
    client.send(client.request("GET", "/").header("x-flow", &id).body(crate::support::client::empty()).unwrap()).await;
    let copy = scene.targets[0].take_one().await;
    assert_eq!((copy.only("x-flow"), copy.only("x-id")), (id.clone(), id.clone()));
    assert_eq!(copy.body(), json!({ "id": id }).to_string());
    scene.envoy.settled_at("audit", 1).await;
    let log = scene.envoy.log();
    assert!(log.contains(&format!(r#""correlation_id":"{}""#, &id[..128])), "{log}");
    assert!(!log.contains(&id[..129]), "{log}");
}

async fn properties_of_envoy_are_text_whatever_envoy_keeps_them_as(scene: &Scene<2>) {
    let client = Client::http1(scene.envoy.address("properties"));
    let request = client.request("POST", "/").header("user-agent", "test").body(crate::support::client::full("12345")).unwrap();
    client.send(request).await;
    let sent: Value = serde_json::from_slice(&scene.targets[0].take_one().await.body()).unwrap();
    let text = |name: &str| sent[name].as_str().unwrap_or_else(|| panic!("{name}: {sent}"));
    let port = scene.envoy.address("properties").port().to_string();
    for (name, wanted) in [
        ("port", port.as_str()),
        ("size", "5"),
        ("direction", "0"),
        ("mtls", "false"),
        ("protocol", "HTTP/1.1"),
        ("agent", "test"),
        ("number", "17"),
        ("fraction", "1.5"),
        ("flag", "true"),
        ("text", "some"),
    ] {
        assert_eq!(text(name), wanted, "{name}: {sent}");
    }
    for name in ["headers", "connection"] {
        assert!(text(name).parse::<u64>().is_ok(), "{name}: {sent}");
    }
    let time = humantime::parse_rfc3339(text("time")).unwrap();
    assert!(time.elapsed().is_ok_and(|age| age.as_secs() < 600), "{sent}");
    for name in ["duration", "list", "map", "none"] {
        assert_eq!(sent[name], Value::Null, "{name}: {sent}");
    }
}
