//! Runs the tool.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// What the tool printed, and its exit status.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs the tool in the clone.
pub(crate) fn sidecast(arguments: &[&str]) -> Ran {
    run(arguments, &[], "")
}

/// Runs the tool in the clone, with variables in its environment.
pub(crate) fn sidecast_with(arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    run(arguments, variables, "")
}

/// Runs the tool in the clone, with this as its standard input.
pub(crate) fn sidecast_reading(arguments: &[&str], input: &str) -> Ran {
    run(arguments, &[], input)
}

fn run(arguments: &[&str], variables: &[(&str, &str)], input: &str) -> Ran {
    let mut child = start(Path::new(env!("CARGO_MANIFEST_DIR")), arguments, variables);
    // A run that does not read its input may be over before.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    ended(child)
}

/// Starts the tool in a directory, with variables in its environment.
pub(crate) fn start(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_sidecast"))
        .args(arguments)
        .current_dir(directory)
        .env_remove("CLICOLOR_FORCE")
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for its end.
pub(crate) fn ended(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { status: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

impl Ran {
    /// What was printed, of a run without errors.
    pub(crate) fn printed(self) -> String {
        assert_eq!((self.status, self.err.as_str()), (0, ""), "{}", self.out);
        self.out
    }

    /// What `check` found, if that was asked for as JSON.
    pub(crate) fn findings(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }
}
