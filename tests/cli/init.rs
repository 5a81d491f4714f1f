//! `sidecast init`: a commented beginning of a configuration.

use std::fs;

use jsonschema::Validator;
use serde_json::Value;
use tempfile::TempDir;

use crate::schema::validator;
use crate::tool::{sidecast, sidecast_reading};

const PURPOSES: [&str; 4] = ["mirror", "audit", "shadow", "order"];

/// A setting that is left out: the lines of the text, from and to, and what is told before them.
struct Setting {
    lines: std::ops::Range<usize>,
    told: String,
}

/// The settings that are left out of a text.
fn settings(text: &str) -> Vec<Setting> {
    let lines: Vec<&str> = text.lines().collect();
    let comment = |index: usize| lines.get(index).and_then(|line| line.trim_start().strip_prefix('#'));
    let begins = |index: usize| comment(index).is_some_and(|rest| !rest.is_empty() && !rest.starts_with(' '));
    // The lines that belong to a setting are indented by two blanks, or are entries of a list.
    let goes_on = |index: usize| comment(index).is_some_and(|rest| rest.starts_with("  ") || rest.starts_with("- "));
    let mut found = Vec::new();
    for index in (0..lines.len()).filter(|index| begins(*index) && !goes_on(*index)) {
        let end = (index + 1..lines.len()).find(|index| !goes_on(*index)).unwrap_or(lines.len());
        let start =
            (0..index).rev().find(|index| !comment(*index).is_some_and(|rest| rest.starts_with(' '))).map_or(0, |last| last + 1);
        found.push(Setting { lines: index..end, told: lines[start..index].join("\n") });
    }
    found
}

/// The text with a setting that is used.
fn using(text: &str, setting: &Setting) -> String {
    let used = text.lines().enumerate().map(|(index, line)| match setting.lines.contains(&index) {
        true => line.replacen('#', "", 1),
        false => line.to_owned(),
    });
    used.collect::<Vec<_>>().join("\n")
}

/// All of these texts are taken, without a warning.
#[track_caller]
fn assert_fine(texts: &[String], validator: &Validator) {
    let ran = sidecast_reading(&["check", "--deny-warnings", "-"], &texts.join("\n---\n"));
    let plural = if texts.len() == 1 { "" } else { "s" };
    let summary = format!("{} configuration{plural}: 0 errors, 0 warnings\n", texts.len());
    assert_eq!((ran.status, &ran.err), (0, &summary), "{}", ran.out);
    for text in texts {
        let value: Value = serde_saphyr::from_str(text).unwrap();
        if let Err(error) = validator.validate(&value) {
            panic!("{error}: {text}");
        }
    }
}

#[test]
fn every_beginning_is_fine_and_so_is_every_setting_that_is_left_out() {
    let validator = validator();
    for purpose in PURPOSES {
        let text = sidecast(&["init", "--for", purpose]).printed();
        assert!(text.starts_with("# yaml-language-server: $schema=sidecast.schema.json\n"));
        let settings = settings(&text);
        assert!(settings.len() > 8, "{}", settings.len());
        let mut all: Vec<String> = settings.iter().map(|setting| using(&text, setting)).collect();
        let used = text.lines().map(|line| match line.trim_start().strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') || rest.starts_with("  ") => line.replacen('#', "", 1),
            _ => line.to_owned(),
        });
        all.push(used.collect::<Vec<_>>().join("\n"));
        all.push(text);
        assert_fine(&all, &validator);
    }
}

#[test]
fn a_setting_that_is_told_with_its_default_changes_nothing_and_every_other_does() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (before, after) = (path("before.yaml"), path("after.yaml"));
    for purpose in PURPOSES {
        let text = sidecast(&["init", "--for", purpose]).printed();
        let settings = settings(&text);
        let used: Vec<String> = settings.iter().map(|setting| using(&text, setting)).collect();
        fs::write(&before, vec![text.as_str(); settings.len()].join("\n---\n")).unwrap();
        fs::write(&after, used.join("\n---\n")).unwrap();
        let ran = sidecast(&["diff", "--format", "json", &before, &after]);
        let told: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        for (setting, told) in settings.iter().zip(told["configurations"].as_array().unwrap()) {
            let is_default = setting.told.contains("Default");
            assert!(is_default != setting.told.contains("Without it"), "{}", setting.told);
            assert_eq!(told["differs"], !is_default, "{}\n{told:#}", setting.told);
        }
    }
}

#[test]
fn targets_are_those_that_are_given_whatever_their_names_look_like() {
    let targets = ["audit=outbound|80||audit.ns.svc.cluster.local", "on=true", "007=1e3", "a=b: \"c\" #d", "x=y=z"];
    let arguments: Vec<&str> = targets.iter().flat_map(|target| ["--target", target]).collect();
    for purpose in PURPOSES {
        let text = sidecast(&[&["init", "--for", purpose], arguments.as_slice()].concat()).printed();
        let ran = sidecast_reading(&["check", "-"], &text);
        assert_eq!(ran.status, 0, "{}\n{text}", ran.out);
        let value: Value = serde_saphyr::from_str(&text).unwrap();
        let found = value["targets"].as_array().unwrap().iter();
        let found: Vec<String> =
            found.map(|target| format!("{}={}", target["name"].as_str().unwrap(), target["cluster"].as_str().unwrap())).collect();
        assert_eq!(found, targets);
    }
}

#[test]
fn a_file_is_written_once() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("new.yaml");
    let name = file.to_str().unwrap();
    let ran = sidecast(&["init", name]);
    assert_eq!((ran.status, ran.out.as_str()), (0, ""));
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text, sidecast(&["init"]).printed());
    fs::write(&file, "mine").unwrap();
    let ran = sidecast(&["init", name]);
    assert_eq!((ran.status, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("File exists"), "{}", ran.err);
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
}

#[test]
fn arguments_that_make_no_configuration_are_mistakes() {
    let many: Vec<String> = (0..33).map(|number| format!("--target=t{number}=c")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let wrong: [&[&str]; 7] = [
        &["--target", "a"],
        &["--target", "A=b"],
        &["--target", "a="],
        &["--target", "=b"],
        &["--target", "a=b", "--target", "a=c"],
        &["--for", "nothing"],
        &many,
    ];
    for arguments in wrong {
        let ran = sidecast(&[&["init"], arguments].concat());
        assert_eq!((ran.status, ran.out.as_str()), (2, ""), "{arguments:?}");
        assert!(!ran.err.is_empty());
    }
}
