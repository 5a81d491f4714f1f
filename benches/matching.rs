//! What it costs to find out that no rule of a target wants a request: with one rule and with 1,000, of several shapes.
//!
//! `cargo bench --bench matching` prints nanoseconds for each request, the least of 40 rounds in which both take turns.
use std::hint::black_box;
use std::time::Instant;

use sidecast::config::Config;
use sidecast::http::headers::{HeaderMap, Pairs};
use sidecast::http::loop_mark::LoopGuard;
use sidecast::http::request_head::RequestHead;
use sidecast::select::{self, Verdict};

const ROUNDS: usize = 40;
const RULES: usize = 1_000;

/// Method, path, and a header beside the usual ones.
type Asked = (&'static str, &'static str, Option<(&'static str, &'static str)>);

struct Request {
    headers: HeaderMap,
}

impl From<&Asked> for Request {
    fn from((method, path, header): &Asked) -> Self {
        let usual = [
            (":authority", "shop.example.com"),
            (":path", *path),
            (":method", *method),
            (":scheme", "https"),
            ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)"),
            ("accept", "*/*"),
            ("accept-encoding", "gzip, br"),
            ("content-type", "application/json"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-request-id", "0a1b2c3d-0000-4000-8000-000000000000"),
            ("cookie", "session=abcdef0123456789"),
        ];
        Self { headers: HeaderMap::from(&usual.into_iter().chain(*header).collect::<Pairs>()) }
    }
}

fn matcher(rules: &[String]) -> Config {
    let text = format!(r#"{{"targets":[{{"name":"t","cluster":"c","match":[{}]}}]}}"#, rules.join(","));
    Config::parse(text.as_bytes(), &|_| None).unwrap()
}

/// Nanoseconds for each request, by each matcher. None of them wants any.
fn measure<const N: usize>(matchers: [&Config; N], requests: &[Request]) -> [f64; N] {
    let guard = LoopGuard::new(None);
    let heads: Vec<RequestHead<'_>> = requests.iter().map(|request| RequestHead::read(&request.headers, &guard)).collect();
    let ask = |config: &Config, (head, request): (&RequestHead<'_>, &Request)| {
        let request = select::Request::new(black_box(head), black_box(&request.headers), &config.matched_parameters);
        black_box(config).targets[0].matcher.at_headers(&request) == Verdict::Yes
    };
    let pairs = || heads.iter().zip(requests);
    let started = Instant::now();
    for matcher in matchers {
        assert!(pairs().all(|pair| !ask(matcher, pair)));
    }
    // Some milliseconds for each round, also if one is slow.
    let repeats = (2_000_000 / started.elapsed().as_nanos().max(20)).clamp(2, 50_000);
    let mut least = [f64::MAX; N];
    for _ in 0..ROUNDS {
        for (least, matcher) in least.iter_mut().zip(matchers) {
            let started = Instant::now();
            for _ in 0..repeats {
                for pair in pairs() {
                    black_box(ask(matcher, pair));
                }
            }
            let asked = repeats as f64 * requests.len() as f64;
            *least = least.min(started.elapsed().as_nanos() as f64 / asked);
        }
    }
    least
}

/// Prints a line: the rule in the middle alone, and all of them.
fn shape(name: &str, rule: impl Fn(usize) -> String, requests: &[Asked]) {
    let (one, all) = (matcher(&[rule(RULES / 2)]), matcher(&(0..RULES).map(rule).collect::<Vec<_>>()));
    let [one, all] = measure([&one, &all], &requests.iter().map(Request::from).collect::<Vec<_>>());
    println!("{name:40} {one:8.1} {all:10.1} {:8.2}", all / one);
}

const ELSEWHERE: &[Asked] = &[
    ("GET", "/", None),
    ("GET", "/checkout/cart/items", None),
    ("POST", "/assets/img/logo.png", None),
    ("GET", "/orders/17", None),
];
const CLOSE: &[Asked] = &[
    ("GET", "/api/v1/team-7/unknown", None),
    ("GET", "/api/v1/team-99/svc-1000/x", None),
    ("POST", "/api/v1/", None),
    ("GET", "/api/v1/team-20/svc-500/", None),
];

fn prefix(number: usize) -> String {
    format!(r#"{{"path":{{"prefix":"/api/v1/team-{}/svc-{number}/"}}}}"#, number % 37)
}

fn exact(number: usize) -> String {
    format!(r#"{{"path":{{"exact":"/api/v1/team-{}/svc-{number}/"}}}}"#, number % 37)
}

fn word(number: usize) -> String {
    let words = ["orders", "cart", "pay", "users", "catalogue", "search", "auth", "mail", "billing", "stock"];
    format!("/{}/{}{}", words[number % 10], words[number / 10 % 10], number / 100)
}

fn write(number: usize) -> String {
    let json = r#"[{"name":"content-type","prefix":"application/json"}]"#;
    format!(r#"{{"methods":["POST","PUT"],"path":{{"prefix":"{}"}},"headers":{json}}}"#, word(number))
}

fn tenant(number: usize) -> String {
    format!(r#"{{"headers":[{{"name":"x-tenant","exact":"tenant-{number}"}}]}}"#)
}

fn mixed(number: usize) -> String {
    [prefix, exact, write, tenant][number % 4](number)
}

fn main() {
    println!("{:40} {:>8} {:>10} {:>8}", "ns for a request that no rule wants", "1 rule", "1,000", "ratio");
    shape("prefixes, elsewhere", prefix, ELSEWHERE);
    shape("prefixes, close", prefix, CLOSE);
    shape("exact paths, elsewhere", exact, ELSEWHERE);
    shape("exact paths, close", exact, &CLOSE[..3]);
    let words = |number| format!(r#"{{"path":{{"prefix":"{}"}}}}"#, word(number));
    shape(
        "prefixes of words",
        words,
        &[("GET", "/users/me/cart", None), ("GET", "/orders/17", None), ("GET", "/static/app.js", None)],
    );
    shape("method, prefix, header: another method", write, &[("GET", "/orders/orders5/7", None)]);
    shape("method, prefix, header: another path", write, &[("POST", "/orders/17", None), ("PUT", "/static/app.js", None)]);
    shape("header's value: no such header", tenant, ELSEWHERE);
    shape("header's value: another value", tenant, &[("GET", "/", Some(("x-tenant", "tenant-abc")))]);
    let host = |number| format!(r#"{{"headers":[{{"name":"x-host","suffix":".t-{number}.example.com"}}]}}"#);
    shape("header's end: another end", host, &[("GET", "/", Some(("x-host", "www.t-abc.example.com")))]);
    let flag = |number| format!(r#"{{"headers":[{{"name":"x-flag-{number}","exact":"on"}}]}}"#);
    shape("1,000 headers: another value", flag, &[("GET", "/", Some(("x-flag-500", "off")))]);
    let order = |number| format!(r#"{{"path":{{"prefix":"/orders"}},"headers":[{{"name":"x-tenant","exact":"t-{number}"}}]}}"#);
    shape("one prefix, 1,000 values: another value", order, &[("GET", "/orders/1", Some(("x-tenant", "t-1000")))]);
    let pattern = |number| format!(r#"{{"path":{{"regex":"/svc-{number}/[0-9]+(/items)?"}}}}"#);
    shape("patterns that begin with text", pattern, &[("GET", "/orders/17", None), ("GET", "/svc-x/17", None)]);
    let bare = |number| format!(r#"{{"path":{{"regex":"/[a-z]+/svc-{number}/[0-9]+"}}}}"#);
    shape("patterns that do not", bare, &[("GET", "/orders/17", None), ("GET", "/orders/svc-1000/17", None)]);

    let host = |number| format!(r#"{{"authority":{{"exact":"t-{number}.example.com"}}}}"#);
    shape("authorities: another", host, ELSEWHERE);
    let parameter = |number| format!(r#"{{"query":[{{"name":"tenant","exact":"t-{number}"}}]}}"#);
    shape("parameters: no query", parameter, ELSEWHERE);
    shape("parameters: another value", parameter, &[("GET", "/orders?page=2&tenant=t-abc&sort=asc", None)]);

    let several = matcher(&(0..4).map(mixed).collect::<Vec<_>>());
    let all = matcher(&(0..RULES).map(mixed).collect::<Vec<_>>());
    let other = ("GET", "/api/v1/team-7/unknown", Some(("x-tenant", "nobody")));
    let requests: Vec<_> = ELSEWHERE.iter().chain([&other]).map(Request::from).collect();
    let [several, all] = measure([&several, &all], &requests);
    println!("{:40} {several:8.1} {all:10.1} {:8.2}", "prefix, exact, write, tenant: 4 and 1,000", all / several);
}
