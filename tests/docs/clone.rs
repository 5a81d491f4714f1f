//! A stand-in for a clone in which everything is built: its files with ports of their own, the filter, the tool and Envoy, and a `make` that only
//! says what it would do, since all of it is done.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::markdown::root;
use crate::support::setup::{default_binary, default_wasm};

/// The stand-in. It is gone when this is dropped.
pub(crate) struct Clone {
    directory: TempDir,
    /// The ports that documents speak of, and those that are free here.
    ports: BTreeMap<String, String>,
}

impl Clone {
    /// A clone, fresh and built.
    pub(crate) fn new() -> Self {
        let clone = Self { directory: tempfile::tempdir().unwrap(), ports: free_ports() };
        for name in ["Makefile", "scripts", "demo", "docs", "envoy"] {
            clone.copy(&root().join(name), &clone.path().join(name));
        }
        fs::create_dir_all(clone.path().join("dist")).unwrap();
        fs::create_dir_all(clone.path().join("target/envoy/1.40.0")).unwrap();
        fs::create_dir_all(clone.path().join("bin")).unwrap();
        for (from, to) in [
            (default_wasm(), "dist/sidecast.wasm"),
            (PathBuf::from(env!("CARGO_BIN_EXE_sidecast")), "dist/sidecast"),
            (default_binary(), "target/envoy/1.40.0/envoy"),
        ] {
            assert!(from.exists(), "{} is missing: make build envoy", from.display());
            symlink(from, clone.path().join(to)).unwrap();
        }
        let make = clone.path().join("bin/make");
        fs::write(&make, "#!/bin/sh\nPATH=${PATH#*:}\nexec make --dry-run \"$@\" >/dev/null\n").unwrap();
        fs::set_permissions(&make, fs::Permissions::from_mode(0o755)).unwrap();
        clone
    }

    /// Its root.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Text with the ports that are free here in the place of those that the documents name.
    pub(crate) fn with_ports(&self, text: &str) -> String {
        let mut out = String::new();
        for word in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
            let number = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            out.push_str(self.ports.get(number).map_or(number, String::as_str));
            out.push_str(&word[number.len()..]);
        }
        out
    }

    /// The ports that the documents name in the place of those that are free here.
    pub(crate) fn without_ports(&self, text: &str) -> String {
        self.ports.iter().fold(text.to_owned(), |text, (shown, used)| text.replace(used, shown))
    }

    /// A program in it, with its `make`.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let path = format!("{}:{}", self.path().join("bin").display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(program);
        // What this test was started with is not what a reader has.
        for variable in ["MAKEFLAGS", "MAKELEVEL", "ENVOY", "ENVOY_SMOKE", "SIDECAST_WASM", "PLAIN_FILTER_WASM", "CI"] {
            command.env_remove(variable);
        }
        command.current_dir(self.path()).env("PATH", path);
        command
    }

    fn copy(&self, from: &Path, to: &Path) {
        if from.is_dir() {
            fs::create_dir_all(to).unwrap();
            for entry in fs::read_dir(from).unwrap() {
                let entry = entry.unwrap();
                self.copy(&entry.path(), &to.join(entry.file_name()));
            }
        } else if let (true, Ok(text)) = (from.extension().is_some_and(|e| e == "yaml" || e == "py"), fs::read_to_string(from)) {
            fs::write(to, self.with_ports(&text)).unwrap();
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

/// Of the ports in the documents and the examples: Envoy's, its admin interface's, and those of upstreams.
fn free_ports() -> BTreeMap<String, String> {
    let shown = [9901, 10000, 8081, 8082, 8083, 8084, 8085, 8086, 8087];
    // All at once, so that none is given twice.
    let free: Vec<TcpListener> = shown.iter().map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port().to_string();
    shown.iter().map(ToString::to_string).zip(free.iter().map(port)).collect()
}
