//! `sidecast status`, with what admin interfaces of Envoy 1.36, 1.38 and 1.40 said, and with admin interfaces that misbehave.

use std::fs;
use std::io::Write;
use std::time::Duration;

use expect_test::expect_file;
use serde_json::{json, Value};

use crate::admin::{write_answer, Admin};
use crate::tool::{sidecast, sidecast_reading, Ran};

const SAVED: [&str; 3] =
    ["tests/cli/status/envoy-1.36.json", "tests/cli/status/envoy-1.38.txt", "tests/cli/status/envoy-1.40.json"];

fn saved(name: &str) -> String {
    fs::read_to_string(format!("{}/tests/cli/status/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn status(arguments: &[&str]) -> Ran {
    sidecast(&[&["status"], arguments].concat())
}

fn json_of(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// Statistics as an Envoy with the filter says them.
fn page(numbers: &[(&str, u64)]) -> String {
    let all = [("wasmcustom.sidecast_build_info.0.1.0", 2), ("wasmcustom.sidecast_unexpected", 0)];
    let stats: Vec<Value> = all.iter().chain(numbers).map(|(name, value)| json!({"name": name, "value": value})).collect();
    json!({ "stats": stats }).to_string()
}

fn healthy() -> String {
    page(&[
        ("wasmcustom.sidecast.audit.matched", 5),
        ("wasmcustom.sidecast.audit.delivered", 5),
        ("wasmcustom.sidecast.audit.breaker.state", 0),
    ])
}

#[test]
fn saved_statistics_add_up_to_one_table() {
    let ran = status(&[&SAVED[..], &["--per-envoy"]].concat());
    assert_eq!(ran.status, 1);
    let told = format!("{}\n{}", ran.out, ran.err);
    expect_file![format!("{}/tests/cli/snapshots/status.txt", env!("CARGO_MANIFEST_DIR"))].assert_eq(&told);
}

#[test]
fn latencies_of_several_envoys_are_those_of_all_buckets() {
    let value = json_of(&status(&[&SAVED[..], &["--format", "json"]].concat()));
    let audit = &value["targets"][1];
    assert_eq!(
        (&audit["target"], &audit["matched"], &audit["delivered"], &audit["envoys"]),
        (&json!("audit"), &json!(111), &json!(111), &json!(3))
    );
    // Of 111 calls, 101 took less than 1 ms, 5 took 1 ms, and then one each 2, 3, 4, 5 and 6 ms. The 110th took 5 ms.
    assert_eq!(audit["latency_ms"], json!({"count": 111, "p50_below": 1, "p99_below": 6}));
    let other = &value["targets"][0];
    assert_eq!((&other["target"], &other["breaker"]), (&json!("a_b-c"), &json!({"closed": 0, "half_open": 0, "open": 3})));
    assert_eq!((&other["lost"], &other["dropped"]), (&json!(111), &json!({"circuit_open": 96, "retries_exhausted": 15})));
    assert_eq!(other["attempt_failures"], json!({"connect_failure": 15}));
}

#[test]
fn percentiles_alone_are_those_of_one_envoy_and_of_no_more() {
    let one = json_of(&status(&["tests/cli/status/percentiles.txt", "--format", "json"]));
    assert_eq!(one["targets"][1]["latency_ms"], json!({"p50": 0.0, "p99": 6.05}));
    let two = status(&["tests/cli/status/percentiles.txt", SAVED[0]]);
    assert!(two.out.contains("cannot be combined") && two.out.contains("histogram_buckets=detailed"), "{}", two.out);
}

#[test]
fn an_envoy_without_the_filter_is_told() {
    let ran = status(&["tests/cli/status/no-filter.txt"]);
    assert_eq!(ran.status, 1);
    assert!(ran.err.contains("no-filter.txt: no statistics of Sidecast"), "{}", ran.err);
    assert!(ran.out.starts_with("1 Envoy, 1 without the filter\n"), "{}", ran.out);
    let ran = status(&["tests/cli/status/no-filter.txt", "--allow", "no-filter"]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""));
}

#[test]
fn what_is_allowed_is_not_wrong() {
    let body = page(&[
        ("wasmcustom.sidecast.a.matched", 9),
        ("wasmcustom.sidecast.a.dropped.truncated", 2),
        ("wasmcustom.sidecast.a.dropped.queue_full", 1),
        ("wasmcustom.sidecast.a.breaker.state", 1),
        ("listener_manager.lds.update_rejected", 3),
    ]);
    let body = body.replace(r#"unexpected","value":0"#, r#"unexpected","value":4"#);
    let told = |allow: &[&str]| {
        let allow: Vec<&str> = allow.iter().flat_map(|what| ["--allow", what]).collect();
        let ran = sidecast_reading(&[&["status", "-"], allow.as_slice()].concat(), &body);
        (ran.status, ran.err)
    };
    let (exit, lines) = told(&[]);
    assert_eq!(exit, 1);
    for line in [
        "-: refused 3 updates of its listeners (listener_manager.lds.update_rejected)\n",
        "-: 4 unexpected events",
        "a: the circuit breaker is not closed (half-open): -\n",
        "a: 3 lost: truncated 2, queue_full 1\n",
    ] {
        assert!(lines.contains(line), "{line}{lines}");
    }
    assert_eq!(told(&["rejected,unexpected", "breaker"]), (1, "a: 3 lost: truncated 2, queue_full 1\n".to_owned()));
    assert_eq!(told(&["rejected,unexpected,breaker,truncated"]), (1, "a: 1 lost: queue_full 1\n".to_owned()));
    assert_eq!(told(&["rejected,unexpected,breaker,truncated,queue_full"]), (0, String::new()));
    assert_eq!(told(&["rejected,unexpected,breaker,lost"]), (0, String::new()));
}

#[test]
fn admin_interfaces_are_asked_for_buckets_and_no_more_than_is_needed() {
    let (one, two) = (Admin::saying(|_| healthy()), Admin::saying(|_| healthy()));
    let ran = status(&[&one.address.to_string(), &format!("http://{}/", two.address), "--format", "json"]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{}", ran.out);
    assert_eq!(json_of(&ran)["targets"][0]["delivered"], 10);
    let asked = one.asked();
    assert_eq!(asked.len(), 1);
    assert!(asked[0].starts_with("GET /stats?format=json&histogram_buckets=detailed&filter="), "{}", asked[0]);
}

#[test]
fn an_envoy_that_misbehaves_does_not_hide_the_others() {
    let good = Admin::saying(|_| healthy());
    let hangs = Admin::writing(|_, _| std::thread::sleep(Duration::from_secs(600)));
    let drips = Admin::writing(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let huge = Admin::writing(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"stats\":[");
        let piece = vec![b' '; 1 << 20];
        while stream.write_all(&piece).is_ok() {}
    });
    let no_json = Admin::saying(|_| "<html>\u{1b}[2J nothing".to_owned());
    let other_json = Admin::saying(|_| "{\"a\": 1}".to_owned());
    let deep = Admin::saying(|_| format!("{{\"stats\":[{{\"name\":\"a\",\"value\":{}", "[".repeat(1 << 20)));
    let odd = Admin::saying(|_| page(&[]).replace("0}", "-1}"));
    let refuses = Admin::writing(|_, stream| write_answer(stream, "403 Forbidden", "no"));
    let redirects = Admin::writing(|_, stream| write_answer(stream, "302 Found\r\nlocation: http://127.0.0.1:1/", ""));
    let breaks = Admin::writing(|_, stream| drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nx")));
    let all = [&hangs, &good, &drips, &huge, &no_json, &other_json, &deep, &odd, &refuses, &redirects, &breaks];
    let names: Vec<String> = all.iter().map(|admin| admin.address.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).chain(["127.0.0.1:1"]).collect();
    let ran = status(&[&names[..], &["--timeout", "2s", "--format", "json"]].concat());
    assert_eq!(ran.status, 2);
    let value = json_of(&ran);
    assert_eq!((&value["targets"][0]["delivered"], value["targets"].as_array().unwrap().len()), (&json!(5), 1));
    let wanted = [
        "no complete response within 2s",
        "",
        "no complete response within 2s",
        "more than 16777216 bytes",
        "neither JSON nor text",
        "missing field `stats`",
        "recursion limit exceeded",
        "expected a whole number, found -1",
        "expected status 200, found 403",
        "expected status 200, found 302",
        "the connection broke",
        "no connection",
    ];
    for (envoy, wanted) in value["envoys"].as_array().unwrap().iter().zip(wanted) {
        let error = envoy["error"].as_str().unwrap_or_default();
        assert_eq!(error.is_empty(), wanted.is_empty(), "{envoy}");
        assert!(error.contains(wanted) && !error.contains('\u{1b}'), "{wanted}: {envoy}");
    }
    assert_eq!(ran.err.lines().count(), 11, "{}", ran.err);
    assert!(!ran.err.contains('\u{1b}'), "{}", ran.err);
}

#[test]
fn rates_are_those_between_two_readings_and_never_negative() {
    let counted = |matched: u64, dropped: u64| {
        page(&[
            ("wasmcustom.sidecast.a.matched", matched),
            ("wasmcustom.sidecast.a.delivered", matched - dropped),
            ("wasmcustom.sidecast.a.dropped.expired", dropped),
        ])
    };
    let steady = Admin::saying(move |number| counted(1_000 + 10 * number as u64, 7));
    // The second time it was started anew; the third time it is not there; the fourth time it has lost something.
    let restarts = Admin::writing(move |number, stream| match number {
        0 => write_answer(stream, "200 OK", &counted(500, 0)),
        1 => write_answer(stream, "200 OK", &counted(3, 0)),
        2 => write_answer(stream, "503 Service Unavailable", ""),
        _ => write_answer(stream, "200 OK", &counted(9, 2)),
    });
    let arguments = [
        &steady.address.to_string(),
        &restarts.address.to_string(),
        "--watch=0.1",
        "--times",
        "4",
        "--format",
        "json",
        "--per-envoy",
    ];
    let ran = status(&arguments);
    let readings: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(readings.len(), 4);
    let rows = |reading: usize| readings[reading]["per_envoy"].as_array().unwrap().clone();
    assert!(rows(0).iter().all(|row| row.get("per_second").is_none()), "{:#}", readings[0]);
    for reading in 1..4 {
        for row in rows(reading) {
            let rates = row["per_second"].as_object().unwrap();
            assert!(rates.values().all(|rate| rate.as_f64().unwrap() >= 0.0), "{row}");
        }
    }
    assert_eq!((&readings[1]["envoys"][0]["restarted"], &readings[1]["envoys"][1]["restarted"]), (&json!(false), &json!(true)));
    assert_eq!(readings[1]["targets"][0]["matched"], 1_013);
    // What was lost before the first reading is none of the later ones.
    let kinds = |reading: usize| {
        readings[reading]["problems"].as_array().unwrap().iter().map(|problem| problem["kind"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        (kinds(0), kinds(1), kinds(2), kinds(3)),
        (vec![json!("lost")], vec![], vec![json!("unreachable")], vec![json!("lost")])
    );
    assert_eq!((ran.status, ran.err.as_str()), (1, "a: 2 lost: expired 2\n"));
    let text = status(&[&steady.address.to_string(), "--watch=0.1", "--times", "2"]);
    assert!(text.out.contains("matched/s") && text.out.contains("lost/s"), "{}", text.out);
    assert_eq!((text.status, text.err.as_str()), (0, ""));
}

#[test]
fn an_envoy_that_was_started_anew_and_has_counted_more_than_before_is_told_by_its_uptime() {
    let said = |number: usize| {
        let (uptime, lost) = if number == 0 { (900, 5) } else { (60, 5) };
        page(&[("wasmcustom.sidecast.a.matched", 9), ("wasmcustom.sidecast.a.dropped.expired", lost), ("server.uptime", uptime)])
    };
    let admin = Admin::saying(said);
    let ran = status(&[&admin.address.to_string(), "--watch=0.1", "--times", "2"]);
    assert_eq!((ran.status, ran.err.as_str()), (1, "a: 5 lost: expired 5\n"), "{}", ran.out);
    assert!(admin.asked()[0].contains("server"), "it is asked for");
}

#[test]
fn pages_that_were_put_together_are_those_of_several_envoys_or_refused() {
    let two = format!("{}\n{}", healthy(), healthy());
    let ran = sidecast_reading(&["status", "-", "--format", "json", "--per-envoy"], &two);
    assert_eq!(ran.status, 0, "{}", ran.err);
    let value = json_of(&ran);
    assert_eq!((&value["targets"][0]["matched"], &value["per_envoy"][1]["envoy"]), (&json!(10), &json!("-#2")));
    let text = saved("percentiles.txt");
    let ran = sidecast_reading(&["status", "-"], &format!("{text}{text}"));
    assert_eq!(ran.status, 2);
    assert!(ran.err.contains("twice: expected the statistics of one Envoy"), "{}", ran.err);
}

#[test]
fn files_that_are_no_statistics_are_told() {
    for (input, wanted) in [
        ("", "is empty"),
        ("hello\n", "is neither JSON nor text from `/stats`"),
        ("# TYPE envoy_cluster_x counter\nenvoy_cluster_x{} 1\n", "is for Prometheus"),
        ("{\"stats\": 1}", "is not the output of `/stats?format=json`"),
        ("wasmcustom.sidecast.a.matched: many\nx: 1\n", "wasmcustom.sidecast.a.matched: expected a whole number, found many"),
    ] {
        let ran = sidecast_reading(&["status", "-"], input);
        assert_eq!(ran.status, 2, "{input}");
        assert!(ran.err.contains(wanted), "{}", ran.err);
    }
    let terminal = page(&[("wasmcustom.sidecast.a\u{1b}[2J.matched", 1), ("wasmcustom.sidecast.a\u{1b}[2J.dropped.\u{7}", 1)]);
    let ran = sidecast_reading(&["status", "-", "--per-envoy"], &terminal);
    assert!(!ran.out.contains(['\u{1b}', '\u{7}']) && !ran.err.contains(['\u{1b}', '\u{7}']), "{ran:?}");
}

#[test]
fn numbers_do_not_overflow() {
    let large = page(&[
        ("wasmcustom.sidecast.a.matched", u64::MAX),
        ("wasmcustom.sidecast.a.dropped.expired", u64::MAX),
        ("wasmcustom.sidecast.a.dropped.shutdown", 9),
    ]);
    let ran = sidecast_reading(&["status", "-", "--format", "json"], &format!("{large}{large}"));
    let value = json_of(&ran);
    assert_eq!((&value["targets"][0]["matched"], &value["targets"][0]["lost"]), (&json!(u64::MAX), &json!(u64::MAX)));
}

#[test]
fn files_in_a_deep_directory_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let names = ["a.json", "b.json"].map(|name| {
        let path = directory.path().join("d".repeat(60));
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join(name), healthy()).unwrap();
        path.join(name).display().to_string()
    });
    let value = json_of(&status(&[&names[0], &names[1], "--format", "json"]));
    assert_eq!((&value["targets"][0]["matched"], &value["envoys"][1]["envoy"]), (&json!(10), &json!(names[1])));
}

#[test]
fn a_standard_error_that_nobody_reads_does_not_change_the_exit_status() {
    for arguments in [&["status", "127.0.0.1:1"][..], &["status", "no-such-file.json"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut tool = std::process::Command::new(env!("CARGO_BIN_EXE_sidecast"));
        let ended = tool.args(arguments).stdout(std::process::Stdio::null()).stderr(writer).status().unwrap();
        assert_eq!(ended.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn an_output_that_cannot_be_written_is_told() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut tool = std::process::Command::new(env!("CARGO_BIN_EXE_sidecast"));
    let ended = tool.args(["status", "tests/cli/status/percentiles.txt"]).stdout(full).output().unwrap();
    assert_eq!(ended.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&ended.stderr).starts_with("error: standard output: "), "{ended:?}");
}

#[test]
fn arguments_that_make_no_sense_are_mistakes() {
    for arguments in [
        &[][..],
        &["ftp://localhost:1"],
        &["localhost"],
        &["no-such-file.json"],
        &["http://user:password@localhost:9901"],
        &["http://localhost:9901/?a"],
        &["localhost:1", "localhost:1"],
        &["-", "--watch"],
        &["localhost:1", "--watch=0"],
        &["localhost:1", "--times", "2"],
        &["localhost:1", "--allow", "everything"],
        &["localhost:1", "--timeout", "5"],
    ] {
        let ran = status(arguments);
        assert_eq!((ran.status, ran.out.as_str()), (2, ""), "{arguments:?}: {}", ran.err);
        assert!(!ran.err.contains("password@"), "{}", ran.err);
    }
}
