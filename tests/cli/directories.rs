//! Directories: which files are looked at, and what is said of those that cannot be read.

use std::fs;
use std::path::Path;

use super::tool::{sidecast, Ran};

const GOOD: &str = "targets: [{name: a, cluster: c}]\n";
const BAD: &str = "targets: [{name: a, cluster: c, timeut: 1s}]\n";

fn write(root: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn run(root: &Path, arguments: &[&str]) -> Ran {
    sidecast(&[&["check"], arguments, &[root.to_str().unwrap()]].concat())
}

#[test]
fn files_of_a_directory_are_checked_in_order_and_others_are_passed_over() {
    let root = tempfile::tempdir().unwrap();
    write(
        root.path(),
        &[
            ("b.yaml", BAD),
            ("a/z.yml", BAD),
            ("a/y.json", r#"{"targets": [{"name": "a", "cluster": "c"}]}"#),
            ("package.json", r#"{"name": "x"}"#),
            ("service.yaml", "apiVersion: v1\nkind: Service\n"),
            ("notes.txt", BAD),
            (".hidden/c.yaml", BAD),
            ("node_modules/d.yaml", BAD),
            ("target/e.yaml", BAD),
        ],
    );
    std::os::unix::fs::symlink("..", root.path().join("a/up")).unwrap();
    let ran = run(root.path(), &["--format", "json"]);
    let files: Vec<_> = ran.findings().iter().map(|finding| finding["file"].as_str().unwrap().to_owned()).collect();
    let expected = ["a/z.yml", "b.yaml"].map(|name| root.path().join(name).display().to_string());
    assert_eq!((ran.status, files), (1, expected.to_vec()), "{ran:?}");
    let ran = run(root.path(), &[]);
    assert!(ran.err.ends_with("3 configurations: 2 errors, 0 warnings\n"), "{}", ran.err);
}

#[test]
fn a_directory_without_a_configuration_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    for files in [&[][..], &[("service.yaml", "apiVersion: v1\nkind: Service\n")]] {
        write(root.path(), files);
        let ran = run(root.path(), &["--format", "json"]);
        let findings = ran.findings();
        assert_eq!((ran.status, findings.len()), (1, 1), "{ran:?}");
        assert_eq!(findings[0]["file"], root.path().display().to_string());
        assert!(findings[0]["message"].as_str().unwrap().starts_with("no Sidecast configuration found in"), "{ran:?}");
        assert_eq!(run(root.path(), &["--skip-unrelated"]).status, 0);
    }
    write(root.path(), &[("a.yaml", GOOD)]);
    assert_eq!(run(root.path(), &["--deny-warnings"]).status, 0);
}

#[test]
fn what_cannot_be_read_is_an_error_if_it_may_be_a_configuration() {
    let template = "targets:\n- name: {{ .Values.name }}\n  cluster: c\n";
    for (name, text, severity) in [
        ("templates/a.yaml", template, "note"),
        ("templates/b.yaml", "{{- if .Values.x }}\na: 1\n{{- end }}\n", "note"),
        ("tsconfig.json", "{\n // a comment\n}", "note"),
        ("broken.yaml", "targets: [{name: a, cluster: c}\n", "error"),
        ("envoy.json", "{\"sidecast\": }", "error"),
    ] {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &[("good.yaml", GOOD), (name, text)]);
        let ran = run(root.path(), &["--format", "json", "--deny-warnings"]);
        let findings = ran.findings();
        assert_eq!(findings.len(), 1, "{name}: {ran:?}");
        assert_eq!((findings[0]["severity"].as_str().unwrap(), ran.status), (severity, i32::from(severity == "error")), "{name}");
        assert_eq!(findings[0]["code"] == "unreadable-file", severity == "note", "{name}");
        // Who names the file wants it read.
        let file = root.path().join(name);
        assert_eq!(sidecast(&["check", "--skip-unrelated", file.to_str().unwrap()]).status, 1, "{name}");
    }
}

#[test]
fn a_file_of_a_directory_that_is_not_there_any_more_is_told() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), &[("a.yaml", GOOD)]);
    std::os::unix::fs::symlink("nowhere", root.path().join("b.yaml")).unwrap();
    let ran = run(root.path(), &[]);
    assert_eq!(ran.status, 2);
    assert!(ran.err.contains("b.yaml: No such file"), "{}", ran.err);
    assert!(ran.err.ends_with("1 configuration: 0 errors, 0 warnings\n"), "{}", ran.err);
}

#[test]
fn the_configurations_that_ship_are_clean_as_a_directory() {
    let ran = sidecast(&["check", "--deny-warnings", "--allow", "unknown-cluster", "--allow", "no-stats-tags", "envoy"]);
    let told: Vec<&str> = ran.out.lines().filter(|line| !line.contains(": note: ") && !line.starts_with("  ")).collect();
    assert_eq!((ran.status, told), (0, Vec::new()), "{}", ran.err);
}

#[test]
fn the_help_names_every_code() {
    let long = sidecast(&["check", "--help"]).printed();
    let short = sidecast(&["check", "-h"]).printed();
    for code in ["unknown-place", "never-matches", "retry-post", "fail-closed"] {
        assert!(long.contains(code), "{long}");
    }
    for text in [&long, &short] {
        assert!(text.contains("Exit 1 on warnings too") && text.contains("Output format"), "{text}");
    }
    assert!(short.lines().count() < 25, "{short}");
}
