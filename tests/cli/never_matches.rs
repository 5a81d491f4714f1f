//! Conditions that no request meets, and those that mean something else than their author thinks.

use serde_json::Value;

use super::check;

/// What is told of a target with these fields, but for notes.
fn told(fields: &str) -> Vec<Value> {
    let findings = check(&format!("targets:\n- {{name: a, cluster: c, {fields}}}\n"));
    findings.into_iter().filter(|finding| finding["severity"] != "note").collect()
}

#[test]
fn a_condition_that_no_request_meets_is_told_even_if_another_rule_helps() {
    for rule in [
        "headers: [{name: Transfer-Encoding, exact: chunked}]",
        "headers: [{name: keep-alive, present: true}]",
        "headers: [{name: proxy-connection, prefix: k}]",
        "headers: [{name: connection, exact: keep-alive}]",
        "headers: [{name: x-sidecast-loop, present: true}]",
        "methods: [CONNECT]",
        "path: {regex: 'orders/.*'}",
        "path: {regex: '(orders|items)'}",
        r"path: {regex: '/orders\?page=[0-9]+'}",
        "path: {regex: '/orders$/[0-9]+'}",
        "path: {regex: 'x^/orders'}",
        "authority: {exact: 'https://shop.example'}",
        "authority: {prefix: shop.example/orders}",
        "authority: {regex: 'a$b'}",
        "headers: [{name: x-a, regex: 'a^b'}]",
        "query: [{name: a, exact: v}, {name: a, exact: w}]",
        "body: [{pointer: /a, exact: 1}, {pointer: /a, exact: '1'}]",
        "headers: [{name: x-a, present: true}, {name: x-a, present: false}]",
    ] {
        for section in [format!("match: [{{{rule}}}, {{methods: [PUT]}}]"), format!("except: [{{{rule}}}]")] {
            let findings = told(&section);
            assert_eq!(findings.len(), 1, "{section}: {findings:?}");
            assert_eq!(findings[0]["code"], "never-matches", "{section}: {findings:?}");
            let place = if section.starts_with("match") { "targets[0].match[0]" } else { "targets[0].except[0]" };
            assert!(findings[0]["path"].as_str().unwrap().starts_with(place), "{findings:?}");
        }
    }
    for more in [
        "sample: {percent: 10, key: {header: keep-alive}}",
        "order: {key: {header: transfer-encoding}}",
        "request: {headers: {set: {x-a: '${header:Transfer-Encoding}'}}}",
    ] {
        assert_eq!(told(more)[0]["code"], "never-matches", "{more}");
    }
}

#[test]
fn a_condition_that_means_something_else_is_told_with_what_is_meant() {
    for (rule, hint) in [
        ("path: {prefix: '/orders*'}", Some("prefix: '/orders'")),
        ("path: {prefix: '/orders/**'}", Some("prefix: '/orders/'")),
        ("path: {exact: '/orders/*'}", Some("prefix: '/orders/'")),
        ("path: {exact: '/orders/*/items'}", Some("regex: '/orders/[^/]*/items'")),
        ("path: {exact: '/orders/{id}'}", Some("regex: '/orders/[^/]+'")),
        ("path: {prefix: '/orders/:id/items'}", Some("regex: '/orders/[^/]+/items.*'")),
        ("path: {exact: '/orders/<id>'}", Some("regex: '/orders/[^/]+'")),
        ("path: {exact: '/my orders'}", Some("exact: '/my%20orders'")),
        ("path: {regex: '^/orders'}", Some("prefix: '/orders'")),
        ("path: {regex: '/orders/*'}", Some("regex: '/orders/.*'")),
        ("authority: {exact: '*.shop.example'}", Some("suffix: '.shop.example'")),
        ("authority: {prefix: 'shop.*'}", None),
        ("authority: {regex: '^shop'}", Some("prefix: 'shop'")),
        ("headers: [{name: x-a, regex: '^v1'}]", Some("prefix: 'v1'")),
        ("headers: [{name: upgrade, present: true}]", None),
        ("headers: [{name: connection, suffix: Upgrade}]", None),
        ("headers: [{name: set-cookie, present: true}]", None),
        ("query: [{name: '?page', exact: '1'}]", Some("name: 'page'")),
        ("query: [{name: 'page=1', present: true}]", Some("name: 'page'")),
        ("methods: ['*']", None),
        ("methods: [ANY]", None),
    ] {
        let findings = told(&format!("match: [{{{rule}}}]"));
        assert_eq!(findings.len(), 1, "{rule}: {findings:?}");
        assert_eq!(findings[0]["code"], "unlikely-match", "{rule}: {findings:?}");
        let Some(meant) = hint else { continue };
        assert_eq!(findings[0]["hint"], format!("did you mean `{meant}`?"), "{rule}");
        // What is meant is not told of.
        let (before, after) = rule.split_once('{').unwrap();
        let mended = match before {
            "query: [" => format!("{before}{{{meant}, present: true}}]"),
            "headers: [" => format!("{before}{{name: x-a, {meant}}}]"),
            before => format!("{before}{{{meant}}}"),
        };
        assert_eq!(told(&format!("match: [{{{mended}}}]")), [] as [Value; 0], "{mended}{after}");
    }
}

#[test]
fn conditions_that_are_meant_as_they_stand_are_not_told_of() {
    for rule in [
        "headers: [{name: transfer-encoding, present: false}]",
        "headers: [{name: connection, present: false}]",
        "headers: [{name: content-length, present: true}, {name: expect, present: true}, {name: te, exact: trailers}]",
        "headers: [{name: cookie, prefix: a}, {name: x-a, exact: '*'}, {name: accept, exact: '*/*'}]",
        "headers: [{name: x-a, exact: a}, {name: x-a, exact: b}]",
        "headers: [{name: x-a, regex: '^v1$'}, {name: x-b, regex: v1}, {name: x-c, regex: '^v.*'}]",
        "methods: [GET, PURGE]",
        "path: {exact: /orders/7}",
        "path: {exact: '/orders/id:7'}",
        "path: {prefix: '/orders:batch'}",
        "path: {exact: '/a:b/{'}",
        "path: {prefix: '/orders%20'}",
        "path: {regex: /orders}",
        "path: {regex: '^/orders$'}",
        "path: {regex: '/orders/[0-9]+'}",
        "path: {regex: '.*/orders'}",
        "path: {regex: '(?i)/orders.*'}",
        r"path: {regex: '/a(\?b)?'}",
        r"path: {regex: '/orders/\*'}",
        "authority: {suffix: .shop.example}",
        "authority: {exact: 'shop.example:8443'}",
        "authority: {exact: '[::1]:80'}",
        "query: [{name: page, exact: 'a=b'}, {name: 'a[]', present: true}]",
        "body: [{pointer: '/a*', prefix: '^'}]",
    ] {
        assert_eq!(told(&format!("match: [{{{rule}}}]")), [] as [Value; 0], "{rule}");
    }
    let with_secret = "targets:\n- {name: a, cluster: c, match: [{headers: [{name: x-sidecast-loop, present: true}]}]}\nloop_guard: {secret: '${env:A}'}\n";
    assert_eq!(check(with_secret), [] as [Value; 0]);
    assert_eq!(told("match: [{headers: [{name: x-sidecast-loop, present: false}]}]"), [] as [Value; 0]);
}
