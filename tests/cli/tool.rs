//! Runs the tool.

use std::ffi::OsStr;
use std::process::{Command, Output};

/// What the tool printed, and its exit status.
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs the tool in the clone.
pub(crate) fn sidecast<A: AsRef<OsStr>>(arguments: &[A]) -> Ran {
    sidecast_with(arguments, &[])
}

/// Runs the tool in the clone, with variables in its environment.
pub(crate) fn sidecast_with<A: AsRef<OsStr>>(arguments: &[A], variables: &[(&str, &str)]) -> Ran {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_sidecast"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(arguments)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { status: status.code().unwrap(), out: text(stdout), err: text(stderr) }
}

impl Ran {
    /// What was printed, of a run without errors.
    pub(crate) fn printed(self) -> String {
        assert_eq!((self.status, self.err.as_str()), (0, ""), "{}", self.out);
        self.out
    }
}
