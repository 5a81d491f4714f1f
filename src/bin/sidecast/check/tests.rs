//! Properties that hold for arbitrary files.

use proptest::prelude::*;

use super::files::{check, Checked};
use super::report::Finding;

const KINDS: [&str; 13] = [
    include_str!("../../../../tests/cli/kinds/plain.json"),
    include_str!("../../../../tests/cli/kinds/bootstrap.json"),
    include_str!("../../../../tests/cli/kinds/bootstrap_string_double_quoted.yaml"),
    include_str!("../../../../tests/cli/kinds/bootstrap_string_folded.yaml"),
    include_str!("../../../../tests/cli/kinds/config_map.yaml"),
    include_str!("../../../../tests/cli/kinds/aliases.yaml"),
    include_str!("../../../../tests/cli/kinds/envoy_extension_policy.yaml"),
    include_str!("../../../../tests/cli/kinds/traffic_extension.yaml"),
    include_str!("../../../../tests/cli/kinds/kustomization_merge.yaml"),
    include_str!("../../../../tests/cli/kinds/kustomization_json6902.yaml"),
    include_str!("../../../../tests/cli/kinds/gloo_gateway.yaml"),
    include_str!("../../../../tests/cli/kinds/mesh_proxy_patch.yaml"),
    include_str!("../../../../envoy/examples/orders/envoy.yaml"),
];

#[test]
fn the_filters_of_a_document_share_it() {
    let filter = "{name: sidecast, typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm, config: {configuration: {'@type': type.googleapis.com/google.protobuf.Struct, value: {targets: [{name: a, cluster: b}]}}}}}";
    let text = format!("- {{http_filters: [{filter}]}}\n- {{http_filters: [{filter}]}}\n");
    let loaded = check("a.yaml", text.as_bytes()).loaded;
    let documents: Vec<_> = loaded.iter().map(|loaded| &loaded.place.as_ref().unwrap().document).collect();
    assert_eq!(documents.len(), 2);
    assert!(std::rc::Rc::ptr_eq(documents[0], documents[1]));
}

/// True if the line exists in the file, and the column exists in the line or directly follows it.
fn is_inside(finding: &Finding, bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let line = finding.line.checked_sub(1).and_then(|index| text.split('\n').nth(index));
    line.is_some_and(|line| (1..=line.chars().count() + 1).contains(&finding.column))
}

fn holds(name: &str, bytes: &[u8]) -> Result<(), TestCaseError> {
    let Checked { findings, configurations, none, .. } = check(name, bytes);
    let findings: Vec<Finding> = findings.into_iter().chain(none).collect();
    prop_assert!(configurations > 0 || !findings.is_empty());
    for finding in &findings {
        prop_assert!(is_inside(finding, bytes), "{:?}", finding);
    }
    Ok(())
}

/// A change of a text: a position, the number of characters to remove there, and the text to insert.
fn change() -> impl Strategy<Value = (prop::sample::Index, usize, String)> {
    let pieces = prop::sample::select(vec![
        "",
        " ",
        "\n",
        "\r",
        "\t",
        "\"",
        "'",
        "\\",
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "- ",
        "&a ",
        "*mirror",
        "|",
        ">",
        "#",
        "---\n",
        "...",
        "!x ",
        "é",
        "😀",
        "\u{feff}",
        "\u{85}",
        "\\u00e9",
        "${",
        "retry: 1",
        "on: ",
        "? ",
        "<<: ",
        "~",
        "1e999",
        "null",
        "%YAML 1.2\n",
        "${body.id}",
        "*",
        "/orders",
        "outbound|",
        "{{",
    ]);
    (any::<prop::sample::Index>(), 0_usize..12, pieces.prop_map(str::to_owned))
}

proptest! {
    #[test]
    fn no_bytes_make_it_fail_and_every_finding_is_inside(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        holds("-", &bytes)?;
    }

    #[test]
    fn no_text_makes_it_fail_and_every_finding_is_inside(text in "[ \\n\\r\\t\"'{}\\[\\]:,#|>&*!?%@a-c\u{feff}\u{85}\u{2028}é-]{0,60}") {
        holds("-", text.as_bytes())?;
        holds("a.json", text.as_bytes())?;
    }

    #[test]
    fn no_change_of_a_good_file_makes_it_fail_and_every_finding_is_inside(
        kind in prop::sample::select(KINDS.to_vec()),
        changes in prop::collection::vec(change(), 1..4),
    ) {
        let mut chars: Vec<char> = kind.chars().collect();
        for (at, length, text) in changes {
            let at = at.index(chars.len() + 1);
            let end = (at + length).min(chars.len());
            chars.splice(at..end, text.chars());
        }
        let text: String = chars.into_iter().collect();
        holds("-", text.as_bytes())?;
    }

    #[test]
    fn what_stands_before_a_configuration_moves_its_findings_along(before in "(# [a-zé]{0,9}\n){0,5}", kind in prop::sample::select(KINDS[2..].to_vec())) {
        let lines = before.lines().count();
        let plain = check("-", kind.as_bytes()).findings;
        let moved = check("-", (before + kind).as_bytes()).findings;
        let plain: Vec<_> = plain.iter().map(|finding| (finding.line + lines, finding.column, finding.message.clone())).collect();
        let moved: Vec<_> = moved.iter().map(|finding| (finding.line, finding.column, finding.message.clone())).collect();
        prop_assert_eq!(moved, plain);
    }
}

#[test]
fn depth_is_bounded() {
    let deep = |(open, close): (&str, &str), depth: usize| {
        let text = format!("{}1{}", open.repeat(depth), close.repeat(depth));
        let Checked { findings, none, .. } = check("-", text.as_bytes());
        assert_eq!(findings.len() + usize::from(none.is_some()), 1, "{open} {depth}");
    };
    let nested = move || {
        for kind in [("[", "]"), ("{\"a\":", "}"), ("{a: ", "}"), ("- ", "")] {
            [50, 63, 64, 65, 127, 128, 129, 100_000].into_iter().for_each(|depth| deep(kind, depth));
        }
    };
    // The stack size of a main thread. Test threads have less.
    std::thread::Builder::new().stack_size(8 << 20).spawn(nested).unwrap().join().unwrap();
}

#[test]
fn what_aliases_stand_for_is_bounded() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let entry = format!("*a{}", level - 1);
        text += &format!("a{level}: &a{level} [{}]\n", vec![entry; 9].join(", "));
    }
    let findings = check("-", text.as_bytes()).findings;
    assert!(findings[0].message.starts_with("not valid YAML"), "{findings:?}");
}
