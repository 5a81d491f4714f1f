//! What `sidecast convert` makes of mirrors wants what Envoy mirrors, and sends it in the same form.
//!
//! The routes are random. Each table has a listener with both: the mirrors of its routes, and the filter with the configuration that was made of them.
//! Copies of the filter are known by `x-sidecast-target`. Where the tool remarks on nothing, both send the same; where it does, the filter sends no
//! copy that Envoy does not send.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use hyper::header::{HeaderName, HeaderValue};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{json, Value};

use crate::support::bootstrap::{self, Filter, Protocol};
use crate::support::client::{full, Client};
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::recorded::Recorded;
use crate::support::setup::{default_wasm, Setup};
use crate::support::upstream::Upstream;

const TABLES: usize = 80;
const REQUESTS: usize = 40;
const STEP: usize = 1_000;
const MIRRORS: [&str; 3] = ["m0", "m1", "m2"];

const METHODS: &[&str] = &["GET", "POST", "PUT", "DELETE"];
const PATHS: &[&str] = &["/", "/a", "/A", "/a/", "/ab", "/a/b", "/a/b/c", "/b", "/b/7", "/b/77/x", "/a.b", "/t/x/y", "/t/x/y/z"];
const PREFIXES: &[&str] = &["/", "", "/a", "/a/", "/A", "/b", "/a/b", "b"];
const PATTERNS: &[&str] = &["/a.*", "/[a-z]+", "/b/[0-9]+", "/(a|b)/.*", "/a", "(?i)/A/b", "/b/\\d{1,2}(/.*)?", "/\\pL+"];
const QUERIES: &[&str] = &["", "", "?q=1", "?q=2&q=1", "?r=1&q=1", "?q", "?q=", "?Q=1"];
const NAMES: &[&str] = &["x-a", "x-b", "content-type"];
const VALUES: &[&str] = &[
    "",
    "v",
    "V",
    "vw",
    "w",
    "7",
    "-3",
    "+12",
    "007",
    "120",
    "application/grpc",
    "application/grpc+proto",
    "application/grpc-web",
    "application/grpcx",
];
const HOSTS: &[&str] = &[
    "shop.example",
    "SHOP.example",
    "shop.example:80",
    "a.shop.example",
    "b.a.shop.example",
    ".shop.example",
    "admin.test",
    "admin.",
    "x",
];
const DOMAINS: &[&str] =
    &["shop.example", "a.shop.example", "*.shop.example", "*.example", "*.a.shop.example", "admin.*", "shop.example:80"];

fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> + Clone {
    prop::sample::select(texts).prop_map(str::to_owned)
}

fn text() -> BoxedStrategy<Value> {
    let not_empty = || one_of(&VALUES[1..]);
    prop_oneof![
        3 => one_of(VALUES).prop_map(|text| json!({"exact": text})),
        1 => not_empty().prop_map(|text| json!({"prefix": text})),
        1 => not_empty().prop_map(|text| json!({"suffix": text})),
        1 => not_empty().prop_map(|text| json!({"contains": text})),
        1 => Just(json!({"safe_regex": {"regex": "[a-z]+|7?"}})),
    ]
    .prop_flat_map(|text| {
        any::<bool>().prop_map(move |ignores| {
            let mut text = text.clone();
            if ignores && text.get("safe_regex").is_none() {
                text["ignore_case"] = true.into();
            }
            text
        })
    })
    .boxed()
}

fn header() -> impl Strategy<Value = Value> {
    let of_methods = prop_oneof![
        one_of(METHODS).prop_map(|method| json!({"name": ":method", "string_match": {"exact": method}})),
        Just(json!({"name": ":method", "string_match": {"safe_regex": {"regex": "^(GET|PUT)$"}}})),
    ];
    let condition = prop_oneof![
        5 => text().prop_map(|text| json!({"string_match": text})),
        1 => any::<bool>().prop_map(|present| json!({"present_match": present})),
        1 => (-10_i64..20, 0_i64..200).prop_map(|(start, more)| json!({"range_match": {"start": start, "end": start + more}})),
    ];
    let named = (one_of(NAMES), condition).prop_map(|(name, mut condition)| {
        condition["name"] = name.into();
        condition
    });
    (prop_oneof![1 => of_methods, 3 => named], any::<bool>(), any::<bool>()).prop_map(|(mut header, inverts, is_empty)| {
        if inverts {
            header["invert_match"] = true.into();
        }
        if is_empty && header.get("present_match").is_none() {
            header["treat_missing_header_as_empty"] = true.into();
        }
        header
    })
}

fn matched() -> impl Strategy<Value = Value> {
    let path = prop_oneof![
        6 => one_of(PREFIXES).prop_map(|text| json!({"prefix": text})),
        3 => one_of(PATHS).prop_map(|text| json!({"path": text})),
        2 => prop::sample::select(&["/a", "/a/b", "/b"][..]).prop_map(|text| json!({"path_separated_prefix": text})),
        2 => one_of(PATTERNS).prop_map(|text| json!({"safe_regex": {"regex": text}})),
        1 => Just(json!({"path_match_policy": {"name": "t", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig", "path_template": "/t/{x}/{y=**}"}}})),
        1 => Just(json!({"connect_matcher": {}})),
    ];
    let few = |strategy: BoxedStrategy<Value>, weight| prop::option::weighted(weight, prop::collection::vec(strategy, 1..3));
    let parameter = prop_oneof![
        text().prop_map(|text| json!({"name": "q", "string_match": text})),
        Just(json!({"name": "q", "present_match": true})),
    ];
    let rare = prop::sample::select(&["", "", "", "", "", "", "grpc", "tls", "insensitive", "insensitive"][..]);
    (path, few(header().boxed(), 0.4), few(parameter.boxed(), 0.15), rare).prop_map(|(mut matched, headers, query, rare)| {
        if let Some(headers) = headers {
            matched["headers"] = headers.into();
        }
        if let Some(query) = query {
            matched["query_parameters"] = query.into();
        }
        match rare {
            "grpc" => matched["grpc"] = json!({}),
            "tls" => matched["tls_context"] = json!({"presented": true}),
            "insensitive" if matched.get("prefix").or(matched.get("path")).is_some() => matched["case_sensitive"] = false.into(),
            _ => {}
        }
        matched
    })
}

fn policies() -> impl Strategy<Value = Vec<Value>> {
    prop::sample::subsequence(&MIRRORS[..], 1..=2).prop_flat_map(|clusters| {
        let rewritten = prop::option::weighted(0.15, Just("policy.example"));
        rewritten.prop_map(move |host| {
            let policy = |cluster: &&str| match host {
                Some(host) => json!({"cluster": cluster, "host_rewrite_literal": host}),
                None => json!({"cluster": cluster}),
            };
            clusters.iter().map(policy).collect()
        })
    })
}

fn route() -> impl Strategy<Value = Value> {
    let change = prop_oneof![
        8 => Just(json!({})),
        1 => Just(json!({"prefix_rewrite": "/new"})),
        1 => Just(json!({"regex_rewrite": {"pattern": {"regex": "^/(.)/(.*)$"}, "substitution": "/r/\\1-\\2"}})),
        1 => Just(json!({"host_rewrite_literal": "rewritten.example"})),
        1 => Just(json!({"host_rewrite_header": "x-a"})),
    ];
    let answer = prop::sample::select(&[false, false, false, false, false, false, true][..]);
    (matched(), prop::option::weighted(0.6, policies()), change, answer).prop_map(|(matched, policies, change, answers)| {
        if answers && matched.get("connect_matcher").is_none() {
            return json!({"match": matched, "direct_response": {"status": 200}});
        }
        let mut route = change;
        // A template and CONNECT have no beginning to replace.
        if matched.get("path_match_policy").or(matched.get("connect_matcher")).is_some() {
            route = json!({});
        }
        route["cluster"] = "primary".into();
        if let Some(policies) = policies {
            route["request_mirror_policies"] = policies.into();
        }
        let headers = json!([{"header": {"key": "x-set", "value": "1"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]);
        json!({"match": matched, "route": route, "request_headers_to_add": headers, "request_headers_to_remove": ["x-b"]})
    })
}

/// A route configuration. Of its hosts, no two have the same domain.
fn table() -> impl Strategy<Value = Value> {
    let routes = || prop::collection::vec(route(), 1..6);
    let hosts = prop::sample::subsequence(DOMAINS, 0..4)
        .prop_flat_map(move |domains| (Just(domains.clone()), prop::collection::vec(routes(), domains.len()), any::<bool>()));
    let list = |weight| prop::option::weighted(weight, policies());
    (hosts, routes(), list(0.15), list(0.1), any::<bool>()).prop_map(
        |((domains, tables, joined), rest, of_host, of_config, any_port)| {
            let mut hosts = Vec::new();
            let mut add = |domains: Vec<&str>, routes: Vec<Value>| {
                let mut host = json!({"name": format!("h{}", hosts.len()), "domains": domains, "routes": routes});
                if let Some(policies) = &of_host {
                    host["request_mirror_policies"] = policies.clone().into();
                }
                hosts.push(host);
            };
            if joined {
                tables.into_iter().take(1).for_each(|routes| add(domains.clone(), routes));
            } else {
                domains.into_iter().zip(tables).for_each(|(domain, routes)| add(vec![domain], routes));
            }
            add(vec!["*"], rest);
            let mut config = json!({"virtual_hosts": hosts});
            if any_port && !config.to_string().contains("shop.example:80") {
                config["ignore_port_in_host_matching"] = true.into();
            }
            if let Some(policies) = of_config {
                config["request_mirror_policies"] = policies.into();
            }
            config
        },
    )
}

#[derive(Clone, Debug)]
struct Sent {
    method: String,
    path: String,
    host: String,
    headers: BTreeMap<String, String>,
}

fn request() -> impl Strategy<Value = Sent> {
    let headers = prop::collection::btree_map(one_of(NAMES), one_of(VALUES), 0..3);
    (one_of(METHODS), one_of(PATHS), one_of(QUERIES), one_of(HOSTS), headers)
        .prop_map(|(method, path, query, host, headers)| Sent { method, path: path + &query, host, headers })
}

/// A table, what the tool made of it, and what is sent.
struct Case {
    table: Value,
    configuration: Value,
    remarks: Vec<String>,
    requests: Vec<Sent>,
}

/// The configuration, and the remarks. `None` if there is nothing to convert.
fn converted(table: &Value) -> Option<(Value, Vec<String>)> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sidecast"))
        .args(["convert", "--format", "json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(table.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    if output.status.code() == Some(2) {
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("nothing to convert"), "{said}: {table}");
        return None;
    }
    let mut told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let remarks = told["remarks"].as_array().unwrap().iter().filter(|remark| remark["kind"] == "remark");
    let remarks: Vec<String> = remarks.map(|remark| remark["message"].as_str().unwrap().to_owned()).collect();
    assert_eq!(output.status.code(), Some(i32::from(!remarks.is_empty())), "{remarks:?}");
    Some((told["configurations"][0]["configuration"].take(), remarks))
}

impl Case {
    fn new(table: Value, requests: Vec<Sent>) -> Option<Self> {
        let (configuration, remarks) = converted(&table)?;
        Some(Self { table, configuration, remarks, requests })
    }

    /// A listener with both.
    fn listener(&self, name: &str) -> Value {
        let mut configuration = self.configuration.clone();
        for target in configuration["targets"].as_array_mut().unwrap() {
            target["name"] = format!("{name}-{}", target["name"].as_str().unwrap()).into();
            target["circuit_breaker"] = json!({"mode": "disabled"});
        }
        let mut listener = bootstrap::listener(name, &Filter::json(&configuration), &default_wasm());
        listener["filter_chains"][0]["filters"][0]["typed_config"]["route_config"] = self.table.clone();
        listener
    }
}

/// What one side sent of a request, without what is meant to differ.
type Copies = BTreeMap<(usize, &'static str), Vec<String>>;

fn copies(targets: &[(&'static str, Vec<Recorded>)], of_filter: bool) -> Copies {
    let mut copies = Copies::new();
    for (name, received) in targets {
        for copy in received.iter().filter(|copy| copy.has("x-sidecast-target") == of_filter) {
            // What cannot stand in a host, the filter leaves out of what a header says.
            let authority = copy.authority.to_ascii_lowercase().replacen("-shadow", "", usize::from(!of_filter)).replace('/', "");
            let shown =
                format!("{} {} of {authority}, x-set {}, x-b {}", copy.method, copy.path, copy.has("x-set"), copy.has("x-b"));
            copies.entry((copy.only("x-n").parse().unwrap(), *name)).or_default().push(shown);
        }
    }
    copies.values_mut().for_each(|copies| copies.sort());
    copies
}

/// Reproducible: the same values in each run.
fn cases() -> Vec<Case> {
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[23; 32]));
    let (tables, requests) = (table(), request());
    let mut cases = Vec::new();
    while cases.len() < TABLES {
        let table = tables.new_tree(&mut runner).unwrap().current();
        let sent = (0..REQUESTS).map(|_| requests.new_tree(&mut runner).unwrap().current()).collect();
        cases.extend(Case::new(table, sent));
    }
    cases
}

#[tokio::test]
async fn the_filter_wants_what_envoy_mirrors() {
    let cases = cases();
    let primary = Upstream::start().await;
    let mut mirrors = Vec::new();
    for name in MIRRORS {
        mirrors.push((name, Upstream::start().await));
    }
    let cluster = |name, upstream: &Upstream| bootstrap::cluster(name, Some(upstream.address()), Protocol::Http1);
    let mut clusters = vec![cluster("primary", &primary)];
    clusters.extend(mirrors.iter().map(|(name, upstream)| cluster(name, upstream)));
    let listeners: Vec<Value> = cases.iter().enumerate().map(|(index, case)| case.listener(&format!("t{index}"))).collect();
    let envoy = Setup::whole(json!({
        "admin": {"address": bootstrap::loopback(0)},
        "static_resources": {"clusters": clusters, "listeners": listeners},
    }));
    let envoy = envoy.wasm_level("warning").start().await;
    for (index, case) in cases.iter().enumerate() {
        let client = Client::http1(envoy.address(&format!("t{index}")));
        for (number, sent) in case.requests.iter().enumerate() {
            let mut request =
                client.request(&sent.method, &format!("http://x{}", sent.path)).header("x-n", index * STEP + number);
            request = request.header("host", &sent.host);
            for (name, value) in &sent.headers {
                request = request.header(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
            }
            client.send(request.body(full("body")).unwrap()).await;
        }
    }
    let names: Vec<String> = cases
        .iter()
        .enumerate()
        .flat_map(|(index, case)| {
            let targets = case.configuration["targets"].as_array().unwrap().clone();
            targets.into_iter().map(move |target| format!("t{index}-{}", target["name"].as_str().unwrap()))
        })
        .collect();
    let received = eventually(PATIENCE, "all copies", async || {
        let stats = envoy.stats().await;
        names.iter().try_for_each(|name| stats.settled(name))?;
        let mut all = Vec::new();
        for (name, upstream) in &mirrors {
            let received = upstream.received();
            let sent = stats.find(&format!("cluster.{name}.upstream_rq_total")).unwrap_or_default();
            let active = stats.find(&format!("cluster.{name}.upstream_rq_active")).unwrap_or_default();
            if active > 0 || sent != received.len() as u64 {
                return Err(format!("{name}: {active} under way, {} of {sent}", received.len()));
            }
            all.push((*name, received));
        }
        Ok(all)
    })
    .await;
    let (of_envoy, of_filter) = (copies(&received, false), copies(&received, true));
    let (mut exact, mut same, mut fewer) = (0, 0, 0);
    for (index, case) in cases.iter().enumerate() {
        let is_exact = case.remarks.is_empty();
        exact += usize::from(is_exact);
        for (number, sent) in case.requests.iter().enumerate() {
            for mirror in MIRRORS {
                let key = (index * STEP + number, mirror);
                let (native, own) = (of_envoy.get(&key), of_filter.get(&key));
                let told =
                    || format!("{sent:?} to {mirror}\n{:#}\nbecame\n{:#}\n{:?}", case.table, case.configuration, case.remarks);
                if is_exact || own.is_some() {
                    assert_eq!(own, native, "{}", told());
                }
                same += usize::from(own.is_some());
                fewer += usize::from(own.is_none() && native.is_some());
            }
        }
    }
    println!("{exact} of {} tables without remarks, {same} copies the same, {fewer} fewer", cases.len());
    assert!(exact > TABLES / 2 && same > TABLES * REQUESTS / 5, "{exact} {same} {fewer}");
    assert!(fewer * 4 < same, "{fewer} of {same} are missing");
}
