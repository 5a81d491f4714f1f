//! Names of clusters and hosts: in Istio, behind TLS, outside.

use serde_json::Value;

use super::check;

fn codes(text: &str) -> Vec<String> {
    check(text).iter().map(|finding| finding["code"].as_str().unwrap_or_else(|| panic!("{finding}")).to_owned()).collect()
}

fn plugin(target: &str) -> String {
    format!(
        "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {{name: sidecast}}\nspec:\n  url: oci://registry.example/sidecast:1\n  \
         match: [{{mode: SERVER}}]\n  failStrategy: FAIL_OPEN\n  pluginConfig: {{targets: [{{name: a, {target}}}]}}\n"
    )
}

const NONE: [&str; 0] = [];

#[test]
fn a_cluster_of_istio_has_a_name_of_its_form() {
    for (cluster, hint) in [
        ("audit", None),
        ("audit.shop.svc.cluster.local", Some("outbound|80||audit.shop.svc.cluster.local")),
        ("audit.shop.svc.cluster.local:8080", Some("outbound|8080||audit.shop.svc.cluster.local")),
        ("http://audit.shop.svc.cluster.local/x", Some("outbound|80||audit.shop.svc.cluster.local")),
        ("https://archive.example.com", Some("outbound|443||archive.example.com")),
        ("outbound|8080|audit.shop.svc.cluster.local", None),
        ("outbound|http||audit.shop.svc.cluster.local", None),
        ("outbound|0||audit.shop.svc.cluster.local", None),
        ("outbound|8080||", None),
        ("outbound|8080||audit", None),
        ("outbound|8080||audit.shop.svc", Some("outbound|8080||audit.shop.svc.cluster.local")),
        ("outbound|8080||http://audit", None),
        ("outbund|8080||audit.shop.svc.cluster.local", None),
    ] {
        for place in
            [format!("cluster: '{cluster}'"), format!("cluster: 'outbound|1||a.b', dead_letter: {{cluster: '{cluster}'}}")]
        {
            let text = plugin(&place);
            let findings = check(&text);
            assert_eq!(codes(&text), ["cluster-name"], "{place}");
            assert_eq!(findings[0]["hint"].as_str(), hint.map(|hint| format!("did you mean `{hint}`?")).as_deref(), "{place}");
        }
        // A hint is taken.
        assert_eq!(hint.map_or_else(Vec::new, |hint| codes(&plugin(&format!("cluster: '{hint}'")))), NONE);
    }
    for cluster in [
        "outbound|8080||audit.shop.svc.cluster.local",
        "outbound|8080|v2|audit.shop.svc.cluster.local",
        "outbound|80||archive.example.com",
        "outbound_.8080_._.audit.shop.svc.cluster.local",
        "inbound|8080||",
        "PassthroughCluster",
        "BlackHoleCluster",
        "outbound|80||audit.shop.svc.corp.example",
    ] {
        assert_eq!(codes(&plugin(&format!("cluster: '{cluster}'"))), NONE, "{cluster}");
    }
    let entry = "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: a}\nspec: {hosts: [audit], ports: [{number: 80, name: http, protocol: HTTP}]}\n";
    assert_eq!(codes(&(plugin("cluster: 'outbound|80||audit'") + entry)), NONE);
}

const FILTER: &str = "apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: sidecast}
spec:
  configPatches:
  - applyTo: CLUSTER
    patch: {operation: ADD, value: {name: added, connect_timeout: 1s}}
  - applyTo: HTTP_FILTER
    match: {context: SIDECAR_INBOUND}
    patch:
      operation: INSERT_BEFORE
      value:
        name: sidecast
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
          config:
            fail_open: true
            vm_config: {runtime: envoy.wasm.runtime.v8}
            configuration:
              '@type': type.googleapis.com/google.protobuf.Struct
              value: {targets: [{name: a, cluster: added}]}
";

#[test]
fn a_cluster_that_the_file_adds_to_istio_is_known() {
    assert_eq!(codes(FILTER), NONE);
    assert_eq!(codes(&FILTER.replace("name: added", "name: other")), ["cluster-name"]);
}

#[test]
fn an_address_is_no_cluster_anywhere() {
    let plain = |cluster: &str| codes(&format!("targets: [{{name: a, cluster: '{cluster}'}}]"));
    for cluster in ["http://audit", "https://audit:8443/x", "audit:8080", "10.0.0.1:80"] {
        assert_eq!(plain(cluster), ["cluster-name"], "{cluster}");
    }
    for cluster in
        ["audit", "shop/audit/8080", "outbound|8080||audit.a.svc.cluster.local", "audit:v2", "consul:audit", "audit_8080"]
    {
        assert_eq!(plain(cluster), NONE, "{cluster}");
    }
}

#[test]
fn what_else_a_plugin_takes_is_told() {
    let good = plugin("cluster: 'outbound|80||a.b'");
    for (from, to, codes_of) in [
        ("  match: [{mode: SERVER}]\n", "", vec!["outbound-too"]),
        ("  match: [{mode: SERVER}]\n", "  selector: {matchLabels: {istio: ingressgateway}}\n", vec![]),
        ("  match: [{mode: SERVER}]\n", "  targetRefs: [{kind: Gateway, name: a}]\n", vec![]),
        ("  match: [{mode: SERVER}]\n", "  match: [{mode: CLIENT}]\n", vec![]),
        ("  match", "  phase: AUTHN\n  match", vec!["before-authorization"]),
        ("  match", "  phase: AUTHZ\n  match", vec!["before-authorization"]),
        ("  match", "  phase: STATS\n  match", vec![]),
        ("failStrategy: FAIL_OPEN", "failStrategy: FAIL_OPN", vec!["fail-closed"]),
        ("failStrategy: FAIL_OPEN", "failStratgy: FAIL_OPEN", vec!["fail-closed", "unknown-field"]),
        ("failStrategy: FAIL_OPEN", "failOpen: true", vec!["fail-closed", "unknown-field"]),
        ("failStrategy: FAIL_OPEN", "failStrategy: FAIL_OPEN\n  vmConfg: {env: []}", vec!["unknown-field"]),
        ("failStrategy: FAIL_OPEN", "failStrategy: FAIL_OPEN\n  somethingNew: 1", vec![]),
    ] {
        assert!(good.contains(from));
        let mut found = codes(&good.replacen(from, to, 1));
        found.sort_unstable();
        assert_eq!(found, codes_of, "{to}");
    }
    assert_eq!(codes(&FILTER.replace("match: {context: SIDECAR_INBOUND}", "match: {context: ANY}")), ["outbound-too"]);
    assert_eq!(codes(&FILTER.replace("match: {context: SIDECAR_INBOUND}", "match: {}")), ["outbound-too"]);
    assert_eq!(codes(&FILTER.replace("SIDECAR_INBOUND", "GATEWAY")), NONE);
    assert_eq!(codes(&FILTER.replace("fail_open", "failOpen")), NONE);
    let mut found = codes(&FILTER.replace("fail_open", "fail_opn"));
    found.sort_unstable();
    assert_eq!(found, ["fail-closed", "unknown-field"]);
}

#[test]
fn fields_of_a_plugin_without_a_module_are_told_as_well() {
    let plugin = |kind: &str, spec: &str| {
        format!("apiVersion: extensions.istio.io/v1alpha1\nkind: {kind}\nmetadata: {{name: a}}\nspec: {spec}\n")
    };
    let config = "pluginConfig: {targets: [{name: a, cluster: 'outbound|80||a.b'}]}";
    for (fields, codes_of) in [
        ("failStratgy: FAIL_OPEN", &["unknown-field"][..]),
        ("urll: 'oci://a/b'", &["unknown-field"]),
        ("vmConfg: {env: []}", &["unknown-field"]),
        // What a patch leaves out is in the object that it changes.
        ("failStrategy: FAIL_OPEN", &[]),
        ("phase: AUTHN", &[]),
    ] {
        assert_eq!(codes(&plugin("WasmPlugin", &format!("{{{fields}, {config}}}"))), codes_of, "{fields}");
        let inside = format!("{{wasm: {{{fields}, {config}}}}}");
        assert_eq!(codes(&plugin("TrafficExtension", &inside)), codes_of, "{fields}");
    }
}

#[test]
fn rules_of_higress_are_refused_by_the_filter() {
    let higress = |more: &str| {
        format!(
            "apiVersion: extensions.higress.io/v1alpha1\nkind: WasmPlugin\nmetadata: {{name: sidecast}}\nspec:\n  url: oci://registry.example/sidecast:1\n  \
             failStrategy: FAIL_OPEN\n  {more}\n"
        )
    };
    let config = "{targets: [{name: a, cluster: 'outbound|80||a.b'}]}";
    assert_eq!(codes(&higress(&format!("defaultConfig: {config}"))), NONE);
    let rules = format!("defaultConfigDisable: true\n  matchRules: [{{ingress: [a], config: {config}}}]");
    assert_eq!(codes(&higress(&rules)), ["higress-rules"]);
    assert_eq!(codes(&higress(&format!("defaultConfig: {config}\n  matchRules: [{{ingress: [a], configDisable: true}}]"))), NONE);
    assert_eq!(check(&higress("priority: 1"))[0]["message"], "`defaultConfig` is missing, but required");
}

/// A bootstrap with these clusters and this target.
fn bootstrap(clusters: &str, target: &str, routes: &str) -> String {
    format!(
        "{}static_resources:
  listeners:
  - filter_chains:
    - filters:
      - typed_config:
          route_config:
            virtual_hosts: [{{routes: [{{match: {{prefix: /}}, {routes}}}]}}]
          http_filters:
          - name: sidecast
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                vm_config: {{runtime: envoy.wasm.runtime.v8}}
                fail_open: true
                configuration:
                  '@type': type.googleapis.com/google.protobuf.Struct
                  value: {{targets: [{{name: a, {target}}}]}}
  clusters: [{clusters}]
",
        super::warnings::LABELS
    )
}

const PRIMARY: &str = "route: {cluster: primary}";
const TLS: &str = "{name: tls, connect_timeout: 1s, transport_socket: {name: tls, typed_config: {sni: archive.example.com}}}";

#[test]
fn a_target_behind_tls_has_an_authority() {
    let codes = |target: &str| codes(&bootstrap(&format!("{{name: primary, connect_timeout: 1s}}, {TLS}"), target, PRIMARY));
    assert_eq!(codes("cluster: tls"), ["missing-authority"]);
    assert_eq!(codes("cluster: tls, request: {authority: archive.example.com}"), NONE);
    assert_eq!(codes("cluster: primary, request: {path: /x}, dead_letter: {cluster: tls}"), ["missing-authority"]);
    assert_eq!(codes("cluster: primary, request: {path: /x}, dead_letter: {cluster: tls, authority: archive.example.com}"), NONE);
}

#[test]
fn an_envoy_without_clusters_has_none_for_a_target() {
    assert_eq!(codes(&bootstrap("", "cluster: audit", PRIMARY)), ["unknown-cluster"]);
    assert_eq!(codes(&bootstrap("", "cluster: audit", PRIMARY).replace("  clusters: []\n", "")), ["unknown-cluster"]);
    assert_eq!(codes(&(bootstrap("", "cluster: audit", PRIMARY) + "dynamic_resources: {cds_config: {ads: {}}}\n")), NONE);
}

#[test]
fn a_cluster_that_envoy_mirrors_to_gets_two_copies() {
    let clusters = "{name: primary}, {name: audit}";
    let mirrored = "route: {cluster: primary, request_mirror_policies: [{cluster: audit}]}";
    let text = bootstrap(clusters, "cluster: audit", mirrored);
    assert_eq!(codes(&text), ["own-cluster"]);
    assert!(check(&text)[0]["message"].as_str().unwrap().starts_with("a route of this listener mirrors the same requests"));
    assert_eq!(
        codes(&bootstrap(clusters, "cluster: audit, match: [{path: {prefix: /x}}]", &mirrored.replace("audit", "primary"))),
        NONE
    );
    assert_eq!(codes(&bootstrap(clusters, "cluster: audit, request: {path: /x}", mirrored)), NONE);
    let of_host = text.replace(mirrored, PRIMARY).replace("[{routes:", "[{request_mirror_policies: [{cluster: audit}], routes:");
    assert_eq!(codes(&of_host), ["own-cluster"]);
    let replaced = of_host.replace(PRIMARY, "route: {cluster: primary, request_mirror_policies: [{cluster: primary}]}");
    assert_eq!(codes(&replaced), NONE);
}

#[test]
fn credentials_of_clients_stay_inside() {
    let of = |cluster: &str, headers: &str| codes(&plugin(&format!("cluster: '{cluster}', request: {{headers: {headers}}}")));
    for headers in ["{sensitive: forward}", "{forward: [x-a, Authorization]}", "{forward: [cookie]}"] {
        assert_eq!(of("outbound|80||archive.example.com", headers), ["credentials-outside"], "{headers}");
        for inside in ["outbound|80||audit.shop.svc.cluster.local", "outbound|80||audit.corp.internal", "inbound|80||"] {
            assert_eq!(of(inside, headers), NONE, "{inside}");
        }
    }
    for headers in ["{sensitive: strip}", "{forward: [x-a]}", "{forward: [cookie], remove: [cookie]}", "{forward: all}"] {
        assert_eq!(of("outbound|80||archive.example.com", headers), NONE, "{headers}");
    }
    let entry = |location: &str| {
        let entry = format!("---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: a}}\nspec: {{hosts: [audit.corp.internal, audit.example], location: {location}}}\n");
        let of = |host: &str| {
            codes(&(plugin(&format!("cluster: 'outbound|80||{host}', request: {{headers: {{sensitive: forward}}}}")) + &entry))
        };
        [of("audit.corp.internal"), of("audit.example")].concat()
    };
    assert_eq!(entry("MESH_INTERNAL"), NONE);
    assert_eq!(entry("MESH_EXTERNAL"), ["credentials-outside", "credentials-outside"]);
    let target = "cluster: tls, request: {authority: a.example, headers: {sensitive: forward}}";
    assert_eq!(codes(&bootstrap(TLS, target, PRIMARY)), ["credentials-outside"]);
    assert_eq!(codes(&bootstrap(&TLS.replace("archive.example.com", "audit.internal"), target, PRIMARY)), NONE);
    let findings = check(&bootstrap(TLS, target, PRIMARY));
    assert_eq!(findings[0]["path"], Value::from("targets[0].request.headers.sensitive"));
}
