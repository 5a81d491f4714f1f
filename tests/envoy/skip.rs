//! `sidecast render --skip` in a real Envoy: requests that a target wants enter the module, and others do not.
//!
//! The rules are random. Each set of them has a listener with three filters, one behind the other: the filter as it is, the filter behind a matcher, and
//! the filter that routes enable. All three must send the same copies.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use hyper::header::{HeaderName, HeaderValue};
use hyper::Request;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{json, Value};

use crate::scene::target;
use crate::support::answer::{Answer, Behaviour, Gate};
use crate::support::bootstrap::{self, Filter, Protocol};
use crate::support::client::{full, Client, SendBody};
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::setup::{binaries, default_wasm, Setup};
use crate::support::upstream::Upstream;

/// Sets of random rules, and how many random requests each gets.
const RANDOM_SETS: usize = 64;
const REQUESTS: usize = 40;
/// A request's number is that of its set, times this, and its place in it.
const STEP: usize = 1_000;

/// How the three filters of a listener begin the names of their targets.
const FORMS: [&str; 3] = ["plain", "matcher", "routes"];

const METHODS: &[&str] = &["GET", "POST", "PUT", "BREW"];
const PATHS: &[&str] = &["/", "/a", "/A", "/a/", "/ab", "/a/b", "/a%2Fb", "/b", "/a.b", "/a,b", "/é", "/a/b/c"];
const PATH_PATTERNS: &[&str] = &[
    "/a.*",
    "/[a-z]+",
    "/(?i)a",
    ".*b",
    "/a|/ab",
    "/[^/]*",
    "^/a$",
    "/a/?b?",
    r"/\w*",
    "(?i)/A/.*",
    r"/a\b.*",
    "/a[?#]?b?",
    "/(a|b){1,2}",
    r"/\S*",
    "(?s)/a.b",
    "/é+",
    ".+",
    "",
    r"/a\.b",
    "/.",
    "/[^b]+",
    "/[[:alpha:]]+",
    "(?i:/A)[^B]*",
];
const QUERIES: &[&str] = &[
    "",
    "",
    "?",
    "?b=1",
    "?b",
    "?b=",
    "?c=2&b=1",
    "?b=1&b=2",
    "?b=2&b=1",
    "?%62=1",
    "?b=%31",
    "?B=1",
    "?b=1+2",
    "?b=1%202",
    "?bb=1",
    "?a=b=1",
    "?x?b=1",
    "?b=10",
    "?=1",
    "?b%3D1",
    "?b==1",
    "?&b=1&",
    "?b=%",
    "?b=%FF",
    "?b=%c3%a9",
    "?b+c=1",
    "?b%20c=1",
    "?b=1;c=2",
    "?c=%25",
];
const PARAMETERS: &[&str] = &["b", "c", "b c", "é", "B"];
const NAMES: &[&str] = &["x-a", "x-b", "accept"];
const VALUES: &[&str] = &[
    "", "v", "V", "vv", "v,w", "w", "v w", "é", "véw", "v, w", ",", "wv", "1", "10", "1 2", "2", "%", "=1", "true", "010", "a.b",
];
const PATTERNS: &[&str] = &[
    "v+",
    "[a-z]*",
    ".*v",
    "(?i)v.*",
    "v|w",
    "[^v]*",
    "v.w",
    r"\w+",
    "",
    "^v$",
    r"\bv.*",
    "é",
    "(?i)[^v]+",
    "v{1,2}",
    r"\d+|v",
    "[[:alpha:]]+",
    "(v|w)?,?.*",
    r"[^,]+",
    r"(?x) v \# ",
    "v$",
    r"\D*",
    "(?-i)V",
    "[v-w]+",
    "(?i:V)W?",
    r"[\w ]+",
    "v,w",
    ".",
    "[^v]",
    "[é-ü]",
    ".{3}",
    "(?s).v",
];
const AUTHORITIES: &[&str] = &["shop.example", "SHOP.example", "shop.example:80", "a.shop.example", "x", "k.example"];
const AUTHORITY_PATTERNS: &[&str] = &["shop.*", r".*\.example(:[0-9]+)?", "[^k]+", "(?-i)SHOP.example", "[A-Z.]+", "", "x|k.*"];

fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> + Clone {
    prop::sample::select(texts).prop_map(str::to_owned)
}

/// A condition on a text.
fn condition(texts: &'static [&'static str], patterns: &'static [&'static str]) -> BoxedStrategy<Value> {
    prop_oneof![
        3 => one_of(texts).prop_map(|text| json!({"exact": text})),
        2 => one_of(texts).prop_map(|text| json!({"prefix": text})),
        2 => one_of(texts).prop_map(|text| json!({"suffix": text})),
        3 => one_of(patterns).prop_map(|text| json!({"regex": text})),
        1 => any::<bool>().prop_map(|flag| json!({"present": flag})),
    ]
    .boxed()
}

fn named(names: &'static [&'static str], patterns: &'static [&'static str]) -> impl Strategy<Value = Value> {
    (one_of(names), condition(VALUES, patterns)).prop_map(|(name, mut condition)| {
        condition["name"] = name.into();
        condition
    })
}

fn rule() -> impl Strategy<Value = Value> {
    let path = prop_oneof![
        one_of(PATHS).prop_map(|text| json!({"exact": text})),
        one_of(PATHS).prop_map(|text| json!({"prefix": text})),
        one_of(PATH_PATTERNS).prop_map(|text| json!({"regex": text})),
    ];
    let some = |weight, strategy: BoxedStrategy<Value>| prop::option::weighted(weight, strategy);
    let list = |strategy: BoxedStrategy<Value>| prop::collection::vec(strategy, 1..3).prop_map(Value::from).boxed();
    let methods = prop::sample::subsequence(METHODS, 1..=2).prop_map(|methods| json!(methods));
    let body = prop_oneof![Just(json!([{"pointer": "/t", "exact": 1}])), Just(json!([{"pointer": "/t", "present": false}]))];
    (
        some(0.3, methods.boxed()),
        some(0.5, path.boxed()),
        some(0.2, condition(AUTHORITIES, AUTHORITY_PATTERNS)),
        some(0.4, list(named(NAMES, PATTERNS).boxed())),
        some(0.2, list(named(PARAMETERS, PATTERNS).boxed())),
        some(0.08, body.boxed()),
    )
        .prop_map(|(methods, path, authority, headers, query, body)| {
            let fields = [
                ("methods", methods),
                ("path", path),
                ("authority", authority),
                ("headers", headers),
                ("query", query),
                ("body", body),
            ];
            let given = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
            let rule: serde_json::Map<String, Value> = given.collect();
            if rule.is_empty() {
                json!({"path": {"exact": "/a"}})
            } else {
                rule.into()
            }
        })
}

/// What the targets of a set want.
fn targets() -> impl Strategy<Value = Vec<Value>> {
    let rules = || prop::collection::vec(rule(), 1..3).prop_map(Value::from);
    let after = prop::sample::select(&["request", "request", "response"][..]);
    let target = (prop::option::weighted(0.95, rules()), prop::option::weighted(0.3, rules()), after);
    let target = target.prop_map(|(wanted, except, after)| match (wanted, except) {
        (Some(wanted), None) => json!({"match": wanted, "after": after}),
        (Some(wanted), Some(except)) => json!({"match": wanted, "except": except, "after": after}),
        (None, except) => json!({"except": except.unwrap_or_else(|| json!([{"methods": ["GET"]}])), "after": after}),
    });
    prop::collection::vec(target, 1..3)
}

#[derive(Clone, Debug)]
struct Sent {
    method: String,
    path: String,
    authority: String,
    headers: Vec<(String, Vec<u8>)>,
    body: &'static str,
}

fn request() -> impl Strategy<Value = Sent> {
    let long = |text: &'static str| Just(format!("{text}{}", "b".repeat(4_000)));
    let path = prop_oneof![20 => one_of(PATHS), 1 => long("/a")];
    let value = prop_oneof![
        20 => one_of(VALUES).prop_map(String::into_bytes),
        1 => long("v").prop_map(String::into_bytes),
        1 => Just(b"v\xff".to_vec()),
        1 => Just(b"\xe0\x80\x80".to_vec()),
    ];
    let headers = prop::collection::vec((one_of(NAMES), value), 0..4);
    let body = prop::sample::select(&["", r#"{"t":1}"#, "{}", "t"][..]);
    (one_of(METHODS), path, one_of(QUERIES), one_of(AUTHORITIES), headers, body).prop_map(
        |(method, path, query, authority, headers, body)| Sent { method, path: path + &query, authority, headers, body },
    )
}

impl Sent {
    fn build(&self, client: &Client, number: usize) -> Option<Request<SendBody>> {
        let mut request = client.request(&self.method, &format!("http://{}{}", self.authority, self.path)).header("x-n", number);
        for (name, value) in &self.headers {
            request = request.header(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value).unwrap());
        }
        request.body(full(self.body)).ok()
    }

    /// True if Envoy sees each header as the module does: no commas, which may be between two values, and text.
    fn is_plain(&self) -> bool {
        let mut names = BTreeSet::new();
        self.headers.iter().all(|(name, value)| !value.contains(&b',') && value.is_ascii() && names.insert(name))
            && self.path.is_ascii()
    }
}

/// A set of rules in its three forms.
struct Set {
    targets: Vec<Value>,
    listener: Value,
    requests: Vec<Sent>,
    /// True if the form expresses the rules fully: of the matcher, of the routes.
    exact: [bool; 2],
}

/// What the tool wrote, and what it said.
fn rendered(arguments: &[&str], file: &Value) -> Option<(Value, String)> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sidecast"))
        .arg("render")
        .args(arguments)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(file.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    match output.status.code() {
        Some(0) => Some((serde_saphyr::from_slice(&output.stdout).unwrap(), said)),
        Some(1) if said.ends_with("there is nothing to skip\n") => None,
        status => panic!("{status:?}: {said}"),
    }
}

fn filter_of(listener: &mut Value) -> &mut Value {
    &mut listener["filter_chains"][0]["filters"][0]["typed_config"]
}

impl Set {
    fn new(name: &str, targets: Vec<Value>, requests: Vec<Sent>) -> Option<Self> {
        let configured = |form: &str| {
            let named = targets.iter().enumerate().map(|(index, target)| {
                let mut target = target.clone();
                target["name"] = format!("{form}-{name}-{index}").into();
                target["cluster"] = "sink".into();
                target["timeout"] = "15s".into();
                target["circuit_breaker"] = json!({"mode": "disabled"});
                target["limits"] = json!({"max_in_flight": 10_000});
                target
            });
            let configuration = json!({"targets": named.collect::<Vec<_>>()});
            let mut listener = bootstrap::listener(name, &Filter::json(&configuration), &default_wasm());
            filter_of(&mut listener)["http_filters"][0]["name"] = form.into();
            listener
        };
        let [mut listener, by_matcher, by_routes] = FORMS.map(configured);
        let file = |listener: &Value| json!({"static_resources": {"listeners": [listener]}});
        let (matcher, said) = rendered(&["--skip"], &file(&by_matcher))?;
        let (mut routes, said_of_routes) = rendered(&["--skip=routes"], &file(&by_routes))?;
        let manager = filter_of(&mut listener);
        manager["http_filters"].as_array_mut().unwrap().splice(1..1, [matcher[0].clone(), routes["http_filters"][0].clone()]);
        for route in routes["route_config"]["virtual_hosts"][0]["routes"].as_array_mut().unwrap() {
            if route["typed_per_filter_config"]["routes"].is_object() {
                route["request_headers_to_add"] = json!([{"header": {"key": "x-entered", "value": "1"}}]);
            }
        }
        manager["route_config"] = routes["route_config"].take();
        let looks_at_query = json!(targets).to_string().contains("\"query\"");
        // These are written so that they match more, or in an exception less.
        let is_exact = |target: &Value| {
            let (wanted, except) = (target["match"].to_string(), target["except"].to_string());
            !except.contains("regex") && ![r"\\b", "(?i)[^", "(?i:/A)[^"].iter().any(|part| wanted.contains(part))
        };
        let exact = !looks_at_query && targets.iter().all(is_exact);
        let exact = [said, said_of_routes].map(|said| exact && said.is_empty());
        Some(Self { targets, listener, requests, exact })
    }
}

/// Reproducible: the same values in each run.
fn generator() -> TestRunner {
    TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[16; 32]))
}

fn drawn<S: Strategy>(runner: &mut TestRunner, strategy: &S) -> S::Value {
    strategy.new_tree(runner).unwrap().current()
}

/// Every pattern, with every text, in a rule and in an exception. The methods keep the targets of a set apart.
fn every_pattern() -> Vec<(Vec<Value>, Vec<Sent>)> {
    let of = |method: &str, path: &str, values: &[&str]| Sent {
        method: method.to_owned(),
        path: path.to_owned(),
        authority: "x".to_owned(),
        headers: values.iter().map(|value| ("x-a".to_owned(), value.as_bytes().to_vec())).collect(),
        body: "",
    };
    let paths = PATHS.iter().flat_map(|path| [path.to_string(), format!("{path}?b=/a")]);
    let lines = paths.flat_map(|path| ["PUT", "DELETE"].map(|method| of(method, &path, &[])));
    let values = VALUES.iter().flat_map(|value| [vec![*value], vec!["w", *value]]).chain([vec![]]);
    let headers = values.flat_map(|values| ["POST", "GET"].map(|method| of(method, "/", &values)));
    let requests: Vec<Sent> = lines.chain(headers).collect();
    let (in_rules, in_exceptions): (Vec<Sent>, Vec<Sent>) =
        requests.into_iter().partition(|request| ["PUT", "POST"].contains(&request.method.as_str()));
    let patterns = PATTERNS.iter().zip(PATH_PATTERNS.iter().cycle()).flat_map(|(pattern, path)| {
        let header = json!([{"name": "x-a", "regex": pattern}]);
        let rule = json!({"match": [{"methods": ["PUT"], "path": {"regex": path}}, {"methods": ["POST"], "headers": header}]});
        let exceptions = [
            json!({"match": [{"methods": ["GET"]}], "except": [{"headers": header}]}),
            json!({"match": [{"methods": ["DELETE"]}], "except": [{"path": {"regex": path}}]}),
        ];
        [(vec![rule], in_rules.clone()), (exceptions.to_vec(), in_exceptions.clone())]
    });
    patterns.collect()
}

#[tokio::test]
async fn what_a_target_wants_is_never_skipped_and_nothing_else_enters() {
    let mut runner = generator();
    let (rules, request) = (targets(), request());
    let mut sets: Vec<Set> = Vec::new();
    while sets.len() < RANDOM_SETS {
        let requests = (0..REQUESTS).map(|_| drawn(&mut runner, &request)).collect();
        sets.extend(Set::new(&format!("set{}", sets.len()), drawn(&mut runner, &rules), requests));
    }
    for (targets, requests) in every_pattern() {
        sets.extend(Set::new(&format!("set{}", sets.len()), targets, requests));
    }
    for binary in binaries() {
        compare(binary, &sets).await;
    }
}

/// Sends the requests and compares what the three filters do with them.
async fn compare(binary: PathBuf, sets: &[Set]) {
    let (primary, sink) = (Upstream::start().await, Upstream::start().await);
    let cluster = |name, upstream: &Upstream| bootstrap::cluster(name, Some(upstream.address()), Protocol::Http1);
    let listeners: Vec<&Value> = sets.iter().map(|set| &set.listener).collect();
    let envoy = Setup::whole(json!({
        "admin": {"address": bootstrap::loopback(0)},
        "static_resources": {"clusters": [cluster("primary", &primary), cluster("sink", &sink)], "listeners": listeners},
    }));
    let envoy = Arc::new(envoy.binary(binary.clone()).wasm_level("warning").start().await);
    let mut sent = 0;
    for (set, rules) in sets.iter().enumerate() {
        let address = envoy.address(&format!("set{set}"));
        let clients = [Client::http1(address), Client::http2(address)];
        for (index, request) in rules.requests.iter().enumerate() {
            let client = &clients[index % 2];
            let Some(request) = request.build(client, set * STEP + index) else { continue };
            sent += usize::from(client.try_send(request).await.is_ok_and(|answer| answer.status == 200));
        }
    }
    let all: usize = sets.iter().map(|set| set.requests.len()).sum();
    // Over HTTP/1.1, Envoy refuses methods that it does not know.
    assert!(sent > all * 3 / 4, "only {sent} of {all} requests were answered");
    let targets: Vec<(usize, usize)> =
        sets.iter().enumerate().flat_map(|(set, rules)| (0..rules.targets.len()).map(move |target| (set, target))).collect();
    let stats = {
        eventually(PATIENCE, "all copies", async || {
            let stats = envoy.stats().await;
            let mut all =
                FORMS.iter().flat_map(|form| targets.iter().map(move |(set, target)| format!("{form}-set{set}-{target}")));
            all.try_for_each(|name| stats.settled(&name))
        })
        .await;
        envoy.stats().await
    };
    // The targets that got each request, by the filter that sent it.
    let mut copies: BTreeMap<&str, BTreeMap<usize, Vec<String>>> = BTreeMap::new();
    for copy in sink.received() {
        let name = copy.only("x-sidecast-target");
        let form = FORMS.into_iter().find(|form| name.starts_with(form)).unwrap();
        let target = name[form.len()..].to_owned();
        copies.entry(form).or_default().entry(copy.only("x-n").parse().unwrap()).or_default().push(target);
    }
    copies.values_mut().flat_map(BTreeMap::values_mut).for_each(|targets| targets.sort());
    let plain = &copies["plain"];
    let text =
        |number: usize| format!("{:?} for {}", sets[number / STEP].requests[number % STEP], json!(sets[number / STEP].targets));
    for form in ["matcher", "routes"] {
        for number in 0..sets.len() * STEP {
            assert_eq!(copies[form].get(&number), plain.get(&number), "{form}: {}", text(number));
        }
    }
    for (set, target) in &targets {
        let [plain, others @ ..] = FORMS.map(|form| stats.target(&format!("{form}-set{set}-{target}")));
        let counts = |stats: &BTreeMap<String, u64>| {
            stats
                .iter()
                .filter(|(name, _)| name.starts_with("matched") || name.starts_with("dropped"))
                .map(|(name, count)| (name.clone(), *count))
                .collect::<Vec<_>>()
        };
        others
            .iter()
            .for_each(|other| assert_eq!(counts(other), counts(&plain), "set{set}-{target}: {}", json!(sets[*set].targets)));
    }
    // What entered is what was wanted, where Envoy sees what the rules look at.
    let entered: BTreeSet<usize> = primary
        .received()
        .iter()
        .filter(|request| request.has("x-entered"))
        .map(|request| request.only("x-n").parse().unwrap())
        .collect();
    let (mut skipped, mut exact_sets) = (0, 0);
    for (number, set) in sets.iter().enumerate() {
        let own = |index: &usize| index / STEP == number;
        let is_plain = |index: &usize| set.requests[index % STEP].is_plain();
        let wanted: BTreeSet<usize> = plain.keys().copied().filter(own).collect();
        if set.exact[1] {
            for index in entered.iter().filter(|index| own(index) && is_plain(index)) {
                assert!(wanted.contains(index), "the routes let in {}", text(*index));
            }
        }
        let made = stats.find(&format!("http.set{number}.composite.filter_delegation_success")).unwrap_or_default() as usize;
        assert!(made >= wanted.len(), "set {number}: the filter was made {made} times for {} requests", wanted.len());
        skipped += set.requests.len() - made;
        if set.exact[0] {
            exact_sets += 1;
            let others = set.requests.iter().filter(|request| !request.is_plain()).count();
            assert!(
                made <= wanted.len() + others,
                "set {number}: made {made} times for {} requests: {}",
                wanted.len(),
                json!(set.targets)
            );
        }
    }
    let mirrored = plain.len();
    println!(
        "{}: {sent} of {all} answered, {mirrored} wanted, {skipped} did not enter by the matcher, {exact_sets} sets are exact",
        binary.display()
    );
    assert!(mirrored > all / 10 && skipped > all / 4 && exact_sets > RANDOM_SETS / 4);
}

/// The listener's filter behind a matcher, with this configuration.
fn behind_a_matcher(configuration: &Value) -> Filter {
    let listener = bootstrap::listener("main", &Filter::json(configuration), &default_wasm());
    let (entry, said) = rendered(&["--skip"], &json!({"static_resources": {"listeners": [listener]}})).unwrap();
    assert_eq!(said, "");
    Filter::Entry(entry[0].clone())
}

fn audit_of(path: &str, after: &str) -> Value {
    let mut audit = target("audit");
    audit["match"] = json!([{"path": {"prefix": path}}]);
    audit["after"] = after.into();
    json!({"targets": [audit]})
}

#[tokio::test]
async fn a_copy_under_way_outlives_a_new_matcher() {
    let (primary, audit) = (Upstream::start().await, Upstream::start().await);
    let gate = Gate::shut();
    audit.behave(Behaviour::Gated(gate.clone(), Answer::status(200)));
    let envoy = Setup::new()
        .cluster("primary", primary.address())
        .cluster("audit", audit.address())
        .listener("main", behind_a_matcher(&audit_of("/a", "request")))
        .dynamic()
        .start()
        .await;
    let post = async |path| assert_eq!(Client::http1(envoy.address("main")).post(path, "body").await.status, 200);
    post("/a").await;
    post("/b").await;
    audit.arrived(1).await;
    envoy.replace_listeners(&[("main", behind_a_matcher(&audit_of("/b", "response")))]);
    eventually(PATIENCE, "the new matcher", async || {
        let stats = envoy.stats().await;
        stats
            .find("listener_manager.listener_in_place_updated")
            .filter(|updates| *updates == 1)
            .map(|_| ())
            .ok_or_else(String::new)
    })
    .await;
    envoy.draining(0).await;
    assert_eq!(envoy.stats().await.of("audit", "inflight"), 1);
    gate.open();
    assert_eq!(envoy.settled_at("audit", 1).await.of("audit", "delivered"), 1);
    post("/a").await;
    post("/b").await;
    assert_eq!(envoy.settled_at("audit", 2).await.of("audit", "delivered"), 2);
    let paths: Vec<String> = audit.received().into_iter().map(|copy| copy.path).collect();
    assert_eq!(paths, ["/a", "/b"]);
}
