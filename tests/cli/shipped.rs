//! What is shipped is what is recommended.

use std::path::{Path, PathBuf};

use super::tool::sidecast;

/// Every file that holds a plugin of Envoy, Istio or Envoy Gateway.
pub(crate) fn files_with_plugins(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("helm/sidecast/templates") {
            // No YAML before Helm has filled them in.
            continue;
        }
        if path.is_dir() {
            files_with_plugins(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path).unwrap();
            if ["filters.http.wasm.v3.Wasm", "kind: WasmPlugin", "kind: EnvoyExtensionPolicy"]
                .iter()
                .any(|sign| text.contains(sign))
            {
                found.push(path);
            }
        }
    }
}

#[test]
fn every_file_that_is_shipped_has_no_problem_and_no_warning() {
    let mut files = Vec::new();
    files_with_plugins(&Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy"), &mut files);
    assert!(files.iter().any(|file| file.ends_with("envoy/envoy.yaml")) && files.len() >= 2, "{files:?}");
    for file in files {
        let mut arguments = vec!["check", "--deny-warnings", "--allow", "retry-post", file.to_str().unwrap()];
        if file.ends_with("envoy/compose/gateway.yaml") {
            // Which cluster gets its dead letters, the composition adds to it.
            arguments.extend(["--allow", "unknown-cluster"]);
        }
        let run = sidecast(&arguments);
        assert_eq!((run.status, run.out.as_str()), (0, ""), "{}", run.err);
    }
}
