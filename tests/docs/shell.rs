//! Commands: those of a page are one script, as a reader would type them into one shell.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use regex_lite::Regex;
use rustix::process::{kill_process_group, Pid, Signal};

use crate::clone::Clone;
use crate::markdown::{Block, Page};

/// Before the commands: the first that fails ends the script and is named; at the end nothing of it stays.
const BEGIN: &str = "set -eEu -o pipefail
trap 'printf \"failed: %s\\n\" \"$BASH_COMMAND\"' ERR
";

/// So long may the commands of a page take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the commands of a page, and looks for what it says that they print.
pub(crate) fn run(page: &Page) -> Result<(), String> {
    let commands: Vec<&Block> = page.blocks.iter().filter(|block| block.runs()).collect();
    let outputs: Vec<&Block> = page.blocks.iter().filter(|block| block.is_output()).collect();
    if commands.is_empty() {
        return if outputs.is_empty() { Ok(()) } else { Err(format!("{}: an output of no command", page.path)) };
    }
    let clone = Clone::new();
    for block in &page.blocks {
        if let Some(file) = block.file().filter(|file| !file.starts_with('/')) {
            fs::write(clone.path().join(file), clone.with_ports(&block.text)).unwrap();
        }
    }
    let script: String = commands.iter().map(|block| format!("# line {}\n{}", block.line, block.commands())).collect();
    fs::write(clone.path().join("script.sh"), format!("{BEGIN}{}", clone.with_ports(&script))).unwrap();
    let printed = clone.without_ports(&printed_by(&clone, "script.sh").map_err(|error| format!("{}: {error}", page.path))?);
    let mut left = printed.lines().map(comparable);
    for (line, wanted) in outputs.iter().flat_map(|block| block.text.lines().map(move |line| (block.line, line))) {
        if wanted.trim() != "..." && !left.any(|printed| printed == comparable(wanted)) {
            return Err(format!("{}:{line}: not printed, or not in this order: {wanted}\nprinted was:\n{printed}", page.path));
        }
    }
    Ok(())
}

/// A line without what differs from run to run.
fn comparable(line: &str) -> String {
    let uuid = Regex::new("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").unwrap();
    let hash = Regex::new("[0-9a-f]{64}").unwrap();
    let time = Regex::new("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z").unwrap();
    let line = uuid.replace_all(line.trim_end(), "UUID");
    let line = hash.replace_all(&line, "HASH");
    time.replace_all(&line, "TIME").into_owned()
}

/// Runs a script with everything that it starts in a process group of its own, which is ended with it.
fn printed_by(clone: &Clone, script: &str) -> Result<String, String> {
    let file = clone.path().join("printed");
    let output = File::create(&file).unwrap();
    let mut command = clone.command("bash");
    command.arg(script).stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output).process_group(0);
    let mut child = command.spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait().unwrap() {
            None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
            status => break status,
        }
    };
    let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
    let _ = child.wait();
    let printed = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
    match status {
        Some(status) if status.success() => Ok(printed),
        Some(status) => Err(format!("its commands ended with {status}:\n{printed}")),
        None => Err(format!("its commands did not end:\n{printed}")),
    }
}

/// Commands that a shell can read, with make targets that exist.
pub(crate) fn check_syntax(clone: &Clone, commands: &str) -> Result<(), String> {
    let output = clone.command("bash").args(["-n", "-c", commands]).output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    if commands.trim().is_empty() {
        return Err("no command (in a console block, commands begin with \"$ \")".to_owned());
    }
    let simple = commands.split(['\n', ';', '|', '&']).map(|command| {
        let words = command.split_whitespace().skip_while(|word| word.contains('='));
        words.take_while(|word| !word.starts_with('#')).collect::<Vec<_>>().join(" ")
    });
    simple.filter(|command| command.starts_with("make ")).try_for_each(|command| check_make(clone, &command))
}

/// A call of make whose targets exist.
pub(crate) fn check_make(clone: &Clone, command: &str) -> Result<(), String> {
    let output = clone.command(clone.path().join("bin/make")).args(command.split_whitespace().skip(1)).output().unwrap();
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn commands_that_fail_and_outputs_that_were_not_printed_are_found() {
    let page = |text: &str| crate::markdown::parse("p.md", text);
    let run = |text: &str| run(&page(text));
    assert_eq!(run("```sh\necho a\n```\n\n```console\n$ echo b\nb\n```\n\n```text output\na\n...\nb\n```\n"), Ok(()));
    assert!(run("```sh\necho a; echo b\n```\n\n```text output\nb\na\n```\n").is_err());
    assert!(run("```sh\nfalse\ntrue\n```\n").unwrap_err().contains("failed: false"));
    assert!(run("```sh\nfalse | cat\n```\n").is_err());
    assert!(run("```sh\necho $nobody\n```\n").is_err());
    assert!(run("```text output\na\n```\n").is_err());
    assert!(run("```sh\nmake build no-such-target\n```\n").is_err());
    let clone = Clone::new();
    assert_eq!(check_syntax(&clone, "A=1 make test B=2 # words\nif true; then make lint && true; fi"), Ok(()));
    for bad in ["if true", "", "make nothing", "true && A=1 make nothing"] {
        assert!(check_syntax(&clone, bad).is_err(), "{bad}");
    }
}
