//! Standard input, forms of output, exit statuses.

use super::{
    position_of,
    tool::{sidecast, sidecast_reading},
};

const GOOD: &str = "targets: [{name: a, cluster: c}]";
const BAD: &str = "targets: [{name: a, cluster: c, timeut: 1s}]";
const UNWISE: &str = "targets: [{name: a, cluster: c, statuses: [201]}]";
const NOTED: &str = "targets: [{name: a, cluster: c, retry: {}}]";

#[test]
fn the_exit_status_tells_how_bad_it_is() {
    let status = |arguments: &[&str], input| sidecast_reading(&[&["check"], arguments].concat(), input).status;
    assert_eq!(status(&["-"], GOOD), 0);
    assert_eq!(status(&["-"], BAD), 1);
    assert_eq!(status(&["-"], UNWISE), 0);
    assert_eq!(status(&["--deny-warnings", "-"], UNWISE), 1);
    assert_eq!(status(&["--deny-warnings", "--allow", "unused-statuses", "-"], UNWISE), 0);
    assert_eq!(status(&["--deny-warnings", "-"], NOTED), 0);
    assert_eq!(status(&["no-such-file.yaml"], ""), 2);
    assert_eq!(status(&[], ""), 2);
    assert_eq!(status(&["--allow", "no-such-code", "-"], GOOD), 2);
}

#[test]
fn a_file_that_cannot_be_read_does_not_hide_the_others() {
    let run = sidecast_reading(&["check", "no-such-file.yaml", "-", "tests/cli/broken/zero_timeout.yaml"], BAD);
    assert_eq!(run.status, 2);
    assert!(run.err.contains("no-such-file.yaml: No such file"), "{}", run.err);
    assert!(run.err.ends_with("2 configurations: 2 errors, 0 warnings\n"), "{}", run.err);
    assert!(run.out.contains("-:1:33: error: targets[0].timeut: unknown field"), "{}", run.out);
    assert!(run.out.contains("tests/cli/broken/zero_timeout.yaml:5:12: error: targets[1].timeout:"), "{}", run.out);
}

#[test]
fn where_nothing_could_be_read_nothing_is_summed_up() {
    let run = sidecast(&["check", "no-such-file.yaml", "no-such-other.yaml"]);
    assert_eq!((run.status, run.out.as_str(), run.err.lines().count()), (2, "", 2), "{}", run.err);
    assert!(run.err.lines().all(|line| line.contains(".yaml: No such file")), "{}", run.err);
}

#[test]
fn files_of_others_are_passed_over_where_that_is_asked_for() {
    let run = |arguments: &[&str], input| sidecast_reading(&[&["check"], arguments, &["-"]].concat(), input);
    for input in ["kind: Service\napiVersion: v1\n", "", "services: {}\n---\na: 1\n"] {
        assert_eq!(run(&[], input).status, 1, "{input:?}");
        for format in ["text", "json"] {
            let skipped = run(&["--skip-unrelated", "--deny-warnings", "--format", format], input);
            assert_eq!((skipped.status, skipped.out.as_str()), (0, ""), "{input:?}");
        }
    }
    let among = run(&["--skip-unrelated", "tests/cli/kinds/plain.yaml", "Cargo.toml", "envoy/docker-compose.yaml"], GOOD);
    assert_eq!(among.status, 1);
    assert!(among.err.ends_with("2 configurations: 2 errors, 0 warnings\n"), "{}", among.err);
    // Nobody knows what is in what cannot be read.
    for input in ["a: [", "targets:\n- name: {{ .Values.name }}\n"] {
        assert_eq!(run(&["--skip-unrelated"], input).status, 1, "{input:?}");
    }
    assert_eq!(run(&["--skip-unrelated", "no-such-file.yaml"], GOOD).status, 2);
    assert_eq!(run(&["--skip-unrelated"], BAD).status, 1);
}

#[test]
fn as_json_each_finding_is_an_object_on_a_line() {
    let run =
        sidecast_reading(&["check", "--format", "json", "-"], "targets: [{name: a, cluster: c, timeut: 1s, statuses: [201]}]");
    let findings = run.findings();
    assert_eq!(run.err, "");
    let error = serde_json::json!({
        "file": "-", "line": 1, "column": 33, "severity": "error", "code": null, "path": "targets[0].timeut",
        "message": findings[0]["message"], "hint": "did you mean `timeout`?",
    });
    let warning = serde_json::json!({
        "file": "-", "line": 1, "column": 45, "severity": "warning", "code": "unused-statuses", "path": "targets[0].statuses",
        "message": "has an effect only with `after: response`", "hint": null,
    });
    assert_eq!(findings, [error, warning]);
}

#[test]
fn findings_come_in_the_order_of_the_file() {
    let run = sidecast_reading(&["check", "--format", "json", "-"], "limits: {a: 1}\ntargets:\n- name: A\n- statuses: [1]\n");
    let places: Vec<_> = run.findings().iter().map(position_of).collect();
    assert!(places.len() >= 5 && places.is_sorted(), "{places:?}");
}

#[test]
fn there_is_colour_where_it_is_asked_for_and_none_in_a_pipe() {
    let colours = |variables: &[(&str, &str)]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sidecast"));
        command.args(["check", "tests/cli/broken/zero_timeout.yaml"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").envs(variables.iter().copied());
        command.output().unwrap().stdout.contains(&0x1b)
    };
    assert!(!colours(&[]));
    assert!(colours(&[("CLICOLOR_FORCE", "1")]));
    assert!(!colours(&[("CLICOLOR_FORCE", "0"), ("NO_COLOR", "1")]));
}

#[test]
fn nothing_reaches_a_terminal_that_it_would_obey() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("\u{1b}[35m.yaml");
    std::fs::write(&file, "targets: [{name: a, cluster: c, \"\\e[35m\\n\": 1}]").unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sidecast"));
    let output = command.arg("check").arg(&file).env("CLICOLOR_FORCE", "1").output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(out.lines().count(), 1, "{out:?}");
    assert!(out.contains("unknown field") && out.contains("\u{1b}[31m") && !out.contains("\u{1b}[35m"), "{out:?}");
}

#[test]
fn text_that_is_not_utf_8_is_a_problem_with_a_place() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("latin-1.yaml");
    std::fs::write(&file, b"targets:\n- name: \xe9\n").unwrap();
    let run = sidecast(&["check", "--format", "json", file.to_str().unwrap()]);
    assert_eq!((run.status, run.findings()[0]["message"].as_str()), (1, Some("not UTF-8")));
    assert_eq!(position_of(&run.findings()[0]), (2, 9));
}

#[test]
fn a_json_file_is_held_to_json() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.json");
    std::fs::write(&file, "{\"targets\": [{\"name\": \"a\", \"cluster\": \"c\"},]}").unwrap();
    let run = sidecast(&["check", "--format", "json", file.to_str().unwrap()]);
    assert_eq!(run.findings()[0]["message"], "not valid JSON: expected value");
    assert_eq!(position_of(&run.findings()[0]), (1, 44));
    std::fs::write(&file, "{\"targets\": [{\"name\": \"a\", \"cluster\": \"c\"}], \"targets\": []}").unwrap();
    let run = sidecast(&["check", "--format", "json", file.to_str().unwrap()]);
    assert!(
        run.findings().iter().any(|finding| finding["message"] == "given twice" && position_of(finding) == (1, 46)),
        "{}",
        run.out
    );
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_written_is_no_success_and_hides_no_error_of_a_later_file() {
    use std::process::{Command, Stdio};

    let run = |arguments: &[&str], out: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sidecast"));
        command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).stdout(out).stderr(Stdio::null());
        command.status().unwrap().code()
    };
    let full = || Stdio::from(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let unwise = file("unwise.yaml", "targets: [{name: a, cluster: 'http://a'}]");
    let wrong = file("wrong.yaml", "targets: [{name: a, cluster: a, timeot: 1s}]");
    let mirrors = file(
        "mirrors.yaml",
        "virtual_hosts: [{name: a, domains: ['*'], routes: [{match: {prefix: /}, route: {cluster: a, request_mirror_policies: [{cluster: b}]}}]}]",
    );
    assert_eq!(run(&["check", &unwise], full()), Some(2));
    assert_eq!(run(&["check", &unwise], closed()), Some(0));
    assert_eq!(run(&["check", &unwise, &wrong], closed()), Some(1));
    assert_eq!(run(&["convert", &mirrors], full()), Some(2));
    assert_eq!(run(&["convert", &mirrors], closed()), Some(0));
}
