//! Completions and manual pages.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::tool::sidecast;

const COMMANDS: [&str; 11] =
    ["init", "check", "explain", "diff", "convert", "render", "status", "replay", "schema", "completions", "man"];

#[test]
fn bash_takes_the_completions_and_they_name_every_command() {
    let script = sidecast(&["completions", "bash"]).printed();
    let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let checked = bash.wait_with_output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    // What bash itself would offer.
    let mut asked = Command::new("bash").arg("-s").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let question = format!(
        "{script}\nCOMP_WORDS=(sidecast ''); COMP_CWORD=1; _sidecast sidecast '' sidecast; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    asked.stdin.take().unwrap().write_all(question.as_bytes()).unwrap();
    let offered = String::from_utf8(asked.wait_with_output().unwrap().stdout).unwrap();
    for command in COMMANDS {
        assert!(offered.lines().any(|word| word == command), "{command} in {offered}");
    }
}

#[test]
fn other_shells_have_completions_that_name_every_command() {
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let script = sidecast(&["completions", shell]).printed();
        assert!(COMMANDS.iter().all(|command| script.contains(command)), "{shell}: {script}");
    }
}

#[test]
fn a_shell_that_is_not_known_is_a_mistake() {
    let ran = sidecast(&["completions", "csh"]);
    assert_eq!((ran.status, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("bash"), "{}", ran.err);
}

#[test]
fn a_manual_page_tells_of_every_command_and_that_of_a_command_of_its_options() {
    let page = sidecast(&["man"]).printed();
    assert!(page.contains(".TH sidecast 1") && COMMANDS.iter().all(|command| page.contains(command)), "{page}");
    let page = sidecast(&["man", "explain"]).printed();
    assert!(page.contains(r"\-\-answer\-header") && page.contains("sidecast explain"), "{page}");
    assert_eq!(sidecast(&["man", "nothing"]).status, 2);
}
