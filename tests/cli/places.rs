//! What looks like a configuration of Sidecast where none is expected, and what only has its name.

use serde_json::Value;

use super::{position, position_of, tool::sidecast_reading};

const TARGETS: &str = "targets: [{name: audit, cluster: audit, timeout: 2s}]";

/// What is found in a file that may be unrelated.
fn found(text: &str) -> Vec<Value> {
    sidecast_reading(&["check", "--format", "json", "--skip-unrelated", "-"], text).findings()
}

fn object(api_version: &str, kind: &str, name: &str, spec: &str) -> String {
    format!("apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n  {spec}\n")
}

#[test]
fn a_configuration_in_a_place_that_is_not_known_is_told() {
    let istio = "extensions.istio.io/v1alpha1";
    let module = "url: oci://registry.example/sidecast:0.1.0";
    let envoy = |inside: &str| {
        format!("http_filters:\n- name: sidecast\n  typed_config:\n    '@type': type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm\n    {inside}\n")
    };
    for (text, at, hint) in [
        // A field is misspelt, or stands too high or too low.
        (
            object(istio, "TrafficExtension", "mirror", &format!("wasm: {{pluginconfig: {{{TARGETS}}}}}")),
            "targets: [",
            Some("did you mean `pluginConfig`?"),
        ),
        (object(istio, "TrafficExtension", "sidecast", &format!("wams: {{{module}}}")), "oci:", None),
        (object(istio, "TrafficExtension", "mirror", &format!("wasm: {{vmConfig: {{{TARGETS}}}}}")), "targets: [", None),
        (object(istio, "WasmPlugin", "mirror", &format!("{TARGETS}\n  pluginConfig: {{}}")), "targets: [", None),
        (envoy(&format!("confg: {{{TARGETS}}}")), "targets: [", Some("did you mean `config`?")),
        (envoy("config: {vm_confg: {runtime: envoy.wasm.runtime.v8}}"), "sidecast", None),
        // A kind that is not known.
        (object("proxies.example/v1", "WasmFilter", "sidecast", "x: 1"), "sidecast", None),
        (object("proxies.example/v1", "Filter", "mirror", "wasm: {image: 'registry.example/sidecast:1'}"), "'registry", None),
        (object("proxies.example/v1", "Filter", "mirror", "module: {file: /lib/sidecast.wasm}"), "/lib", None),
        (object("proxies.example/v1", "Filter", "mirror", "plugin: {rootId: sidecast}"), "sidecast", None),
        (object("proxies.example/v1", "Filter", "mirror", &format!("plugin: {{settings: {{{TARGETS}}}}}")), "targets: [", None),
        // Values of a chart, which end up nobody knows where.
        (format!("mirror:\n  enabled: true\n  {TARGETS}\n"), "targets: [", None),
        ("mirror: {targets: [{name: a, cluster: b, tiemout: 1s}]}".to_owned(), "targets", None),
        // Inside of a text.
        (object("proxies.example/v1", "Filter", "mirror", &format!("inline: |\n    a:\n      {TARGETS}")), "targets: [", None),
        (format!("items:\n- {TARGETS}\n"), "targets: [", None),
    ] {
        let findings = found(&text);
        assert_eq!(findings.len(), 1, "{text}{findings:?}");
        assert_eq!((&findings[0]["code"], &findings[0]["severity"]), (&"unknown-place".into(), &"warning".into()), "{text}");
        assert_eq!(findings[0]["hint"].as_str(), hint, "{text}");
        assert_eq!(position_of(&findings[0]), position(&text, text.rfind(at).unwrap()), "{text}");
    }
}

#[test]
fn what_only_has_the_name_or_a_field_of_this_name_is_passed_over() {
    let workload = "selector: {matchLabels: {app: sidecast}}\n  template:\n    metadata: {labels: {app: sidecast}, annotations: {sidecast/bootstrap: '1'}}\n    spec:\n      \
        containers: [{name: sidecast, image: 'registry.example/sidecast:0.1.0', args: [--module, /lib/sidecast.wasm], volumeMounts: [{name: sidecast, mountPath: /var/lib/sidecast.wasm, subPath: sidecast.wasm}]}]\n      \
        volumes: [{name: sidecast, image: {reference: 'oci://registry.example/sidecast:0.1.0'}, hostPath: {path: /opt/sidecast.wasm}}]";
    for text in [
        object("apps/v1", "Deployment", "sidecast", workload),
        object("v1", "Service", "sidecast", "selector: {app: sidecast}"),
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: sidecast, labels: {app: sidecast}}\ndata: {url: 'oci://registry.example/sidecast', sidecast.sh: 'exec sidecast [: {{ x }}'}\n".to_owned(),
        object("batch/v1", "CronJob", "sidecast", "jobTemplate: {spec: {template: {spec: {containers: [{name: a, env: [{name: url, value: /sidecast.wasm}]}]}}}}"),
        object("monitoring.coreos.com/v1", "PrometheusRule", "sidecast", "groups: [{name: sidecast, rules: [{alert: SidecastDropping, expr: 'rate(sidecast_dropped{target=\"a\"}[5m]) > 0'}]}]"),
        object("monitoring.coreos.com/v1", "ServiceMonitor", "sidecast", "endpoints: [{port: pages}]"),
        object("networking.istio.io/v1", "ServiceEntry", "sidecast-archive", "hosts: [sidecast.example]"),
        object("networking.istio.io/v1", "VirtualService", "sidecast", "http: [{route: [{destination: {host: sidecast}}]}]"),
        object("networking.istio.io/v1alpha3", "EnvoyFilter", "sidecast-buffer",
            "configPatches: [{applyTo: HTTP_FILTER, patch: {value: {name: envoy.filters.http.buffer, typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer, max_request_bytes: 1}}}}]"),
        object("extensions.istio.io/v1alpha1", "TrafficExtension", "sidecast-headers", "lua: {inlineCode: 'function envoy_on_request(h) end -- for sidecast'}"),
        object("extensions.istio.io/v1alpha1", "WasmPlugin", "other", "url: oci://registry.example/other:1\n  pluginConfig: {targets: [a], cluster: c}"),
        object("extensions.istio.io/v1alpha1", "WasmPlugin", "sidecast", "priority: 10"),
        object("gateway.networking.k8s.io/v1", "GatewayClass", "sidecast", "controllerName: gateway.envoyproxy.io/gatewayclass-controller"),
        object("gateway.envoyproxy.io/v1alpha1", "EnvoyPatchPolicy", "sidecast-clusters",
            "jsonPatches: [{name: sidecast-audit, operation: {op: add, path: '', value: {name: sidecast-audit, connect_timeout: 1s}}}]"),
        object("argoproj.io/v1alpha1", "Application", "sidecast",
            "source: {repoURL: 'oci://registry.example/charts', chart: sidecast, helm: {values: \"image: registry.example/sidecast\\n\", url: 'https://x/sidecast.wasm'}}"),
        object("argoproj.io/v1alpha1", "ApplicationSet", "sidecast", "generators: [{list: {elements: [{cluster: a, url: 'https://sidecast.example'}]}}]"),
        object("fleet.cattle.io/v1alpha1", "GitRepo", "sidecast", "targets: [{name: prod, clusterSelector: {matchLabels: {env: prod}}}, {name: dev, clusterName: dev}]"),
        // Values of charts, compositions, pipelines.
        "sidecast:\n  enabled: true\n  image: {repository: registry.example/sidecast, tag: 0.1.0}\n  wasm: {url: 'oci://registry.example/sidecast:0.1.0', file: sidecast.wasm}\n".to_owned(),
        "services:\n  sidecast: {image: 'registry.example/sidecast:0.1.0', volumes: ['./dist/sidecast.wasm:/etc/sidecast.wasm'], build: {target: cluster}}\n".to_owned(),
        "jobs: {build: {steps: [{uses: actions/checkout, with: {path: sidecast.wasm}}, {run: 'sidecast check envoy.yaml'}]}}\n".to_owned(),
        "# sidecast: targets: [{name: a, cluster: c}]\na: 1\n".to_owned(),
        // Others' targets.
        "scrape_configs: [{job_name: sidecast, static_configs: [{targets: ['envoy:9901'], labels: {cluster: a, name: b}}]}]\n".to_owned(),
        "[{\"targets\": [\"a:1\"], \"labels\": {\"cluster\": \"a\"}}]".to_owned(),
        "{\"panels\": [{\"title\": \"a\", \"targets\": [{\"refId\": \"A\", \"expr\": \"sum(sidecast_matched)\", \"datasource\": {\"uid\": \"x\"}}]}]}".to_owned(),
        "{\"title\": \"a\", \"targets\": [{\"refId\": \"A\", \"query\": \"x\", \"cluster\": \"kusto\", \"database\": \"y\"}]}".to_owned(),
        "{\"name\": \"app\", \"targets\": {\"build\": {\"executor\": \"@nx/js:tsc\", \"options\": {\"cluster\": 1}}, \"test\": {\"executor\": \"x\"}}}".to_owned(),
        "targets: [all, check]\n".to_owned(),
        "target: es2022\n".to_owned(),
        "limits: {cpu: 100m, memory: 64Mi}\n".to_owned(),
        "targets: {App: {type: application, platform: iOS}}\n".to_owned(),
        "targets:\n- {refId: A, expr: up, legendFormat: x}\n".to_owned(),
        "environments: {prod: {targets: [{name: eu, cluster: eu-1, namespace: shop}]}}\n".to_owned(),
        "_format_version: '3.0'\nupstreams: [{name: a, targets: [{target: 'b:80', weight: 1}]}]\n".to_owned(),
        "groups: [{name: sidecast, rules: [{alert: A, expr: up}]}]\n".to_owned(),
    ] {
        assert_eq!(found(&text), [] as [Value; 0], "{text}");
    }
}

#[test]
fn what_kubectl_repeats_of_an_object_is_not_told_twice() {
    let config = r#"{"targets": [{"name": "a", "cluster": "outbound|80||c.example", "retry": {"max_atempts": 3}}]}"#;
    let last = format!("{{\"kind\": \"WasmPlugin\", \"spec\": {{\"x\": {config}}}}}");
    let text = format!(
        "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata:\n  annotations:\n    kubectl.kubernetes.io/last-applied-configuration: '{last}'\nspec:\n  pluginConfig: {config}\n"
    );
    let findings = found(&text);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(position_of(&findings[0]), position(&text, text.rfind("\"max_atempts").unwrap()));
}

#[test]
fn a_file_in_which_only_an_unknown_place_is_found_has_no_configuration() {
    let text = format!("mirror: {{{TARGETS}}}\n");
    let run = |arguments: &[&str]| sidecast_reading(&[&["check", "-"], arguments].concat(), &text);
    assert_eq!((run(&[]).status, run(&["--skip-unrelated"]).status), (1, 0));
    assert_eq!(run(&["--skip-unrelated", "--deny-warnings"]).status, 1);
    assert_eq!(run(&["--skip-unrelated", "--deny-warnings", "--allow", "unknown-place"]).status, 0);
}

/// What every file of this project says, and what no file of another says.
#[test]
fn no_file_of_this_project_has_a_configuration_in_an_unknown_place() {
    let clone = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    super::found::walk(&clone.join("envoy"), &mut files);
    // No YAML before Helm has filled them in.
    files.retain(|file| !file.starts_with(clone.join("envoy/helm/sidecast/templates")));
    let is_read =
        |file: &std::path::Path| matches!(file.extension().and_then(|name| name.to_str()), Some("yaml" | "yml" | "json"));
    let files: Vec<_> = files.iter().filter(|file| is_read(file)).filter_map(|file| file.to_str()).collect();
    assert!(files.len() > 20, "{files:?}");
    let run = super::tool::sidecast(&[&["check", "--skip-unrelated", "--format", "json"], &files[..]].concat());
    let told: Vec<_> = run
        .findings()
        .into_iter()
        .filter(|finding| finding["code"] == "unknown-place" || finding["severity"] == "error")
        .collect();
    assert_eq!(told, [] as [Value; 0], "{}", run.err);
}

#[test]
fn a_file_in_a_config_map_is_found_where_a_text_holds_the_config_map() {
    let inner = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  sidecast.yaml: |\n    targets:\n    - name: a\n      cluster: b\n      tiemout: 2s\n";
    let indented = |indent: usize| inner.lines().map(|line| format!("{}{line}\n", " ".repeat(indent))).collect::<String>();
    for text in [
        format!("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\npatches:\n- patch: |-\n{}", indented(4)),
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: b}}\ndata:\n  a.yaml: |\n{}", indented(4)),
    ] {
        let findings = found(&text);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0]["path"], "targets[0].tiemout");
        assert_eq!(position_of(&findings[0]), position(&text, text.find("tiemout").unwrap()), "{text}");
    }
}
