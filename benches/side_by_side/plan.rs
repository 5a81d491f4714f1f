//! Which cases there are.

use std::time::Duration;

use serde_json::{json, Value};

use crate::case::{Arrival, Case, Variant, Verdict};
use crate::options::Options;
use crate::Result;

/// An order such as a shop sends: 1,024 bytes.
const ORDER: &[u8] = include_bytes!("order.json");

/// The cases that `options` select.
pub(crate) fn plan(options: &Options) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for length in [0, 1024, 64 * 1024] {
        for targets in [1, 2, 8] {
            cases.push(mirrored(length, targets));
        }
    }
    cases.extend([0, 1024].map(no_match));
    cases.extend([template()?, redaction()?, batch(), rules(), sampled_out()]);
    for case in &mut cases {
        case.launches = options.launches * if case.verdict.is_some() { 2 } else { 1 };
        case.turns = options.turns();
        if options.variants.contains(&Variant::NativeAgain) && case.variants.contains(&Variant::Native) {
            case.variants.push(Variant::NativeAgain);
        }
        case.variants.retain(|variant| options.variants.contains(variant));
    }
    cases.retain(|case| {
        let wanted = options.cases.is_empty() || options.cases.iter().any(|part| case.name.contains(part));
        wanted && !case.variants.is_empty()
    });
    Ok(cases)
}

/// The cost of mirroring alone.
fn mirrored(length: usize, targets: usize) -> Case {
    let plural = if targets == 1 { "" } else { "s" };
    let mut variants = vec![Variant::None, Variant::Native, Variant::Lua, Variant::Sidecast];
    if targets == 1 {
        variants.insert(3, Variant::Sdk);
    }
    Case {
        targets,
        variants,
        verdict: ((length, targets) == (1024, 1)).then_some(Verdict {
            of: Variant::Sidecast,
            base: Variant::Native,
            at_most: 1.30,
        }),
        ..case(format!("{}/{targets} target{plural}", size(length)), filled(length), json!({}), Arrival::AsSent)
    }
}

/// No target wants the request.
fn no_match(length: usize) -> Case {
    let target = json!({"match": [{"methods": ["GET", "POST"], "path": {"prefix": "/never"}}]});
    Case {
        variants: vec![Variant::None, Variant::Sidecast],
        verdict: Some(Verdict { of: Variant::Sidecast, base: Variant::None, at_most: 1.20 }),
        ..case(format!("{}/no match", size(length)), filled(length), target, Arrival::Nothing)
    }
}

/// Ten fields of the body and a text with an expression inside make another body, and others the path.
fn template() -> Result<Case> {
    let order: Value = serde_json::from_slice(ORDER)?;
    let request: Value = serde_json::from_slice(include_bytes!("template.json"))?;
    let target = json!({ "request": request });
    let body = json!({
        "order": order["order_id"],
        "placed_at": order["placed_at"],
        "customer": {"id": order["customer"]["id"], "locale": order["locale"]},
        "country": order["shipping"]["address"]["country"],
        "express": order["shipping"]["express"],
        "payment": order["payment"]["method"],
        "first": order["items"][0]["sku"],
        "items": order["items"],
        "total": order["totals"]["gross"],
        "text": "Order of c0ffee: a message",
    });
    let arrival = Arrival::Shaped { path: "/events/web?order=ord-2026-0004711&source=web", body };
    Ok(case("1KiB/template".to_owned(), ORDER.to_vec(), target, arrival))
}

/// One value and one of each item are masked.
fn redaction() -> Result<Case> {
    let mut body: Value = serde_json::from_slice(ORDER)?;
    body["payment"]["card"]["number"] = "[redacted]".into();
    for item in body["items"].as_array_mut().ok_or("no items")? {
        item["engraving"] = "[redacted]".into();
    }
    let target = json!({"request": {"body": {"redact": ["/payment/card/number", "/items/*/engraving"]}}});
    let arrival = Arrival::Shaped { path: "/orders?source=web", body };
    Ok(case("1KiB/redaction".to_owned(), ORDER.to_vec(), target, arrival))
}

/// One call for fifty requests.
fn batch() -> Case {
    let target = json!({
        "request": {"path": "/batch"},
        "batch": {"max_items": 50, "max_delay": "1s", "max_bytes": "1MiB", "format": "json_array"},
    });
    let arrival = Arrival::Batches { path: "/batch", items: 50, max_delay: Duration::from_secs(1) };
    Case {
        verdict: Some(Verdict { of: Variant::Sidecast, base: Variant::Native, at_most: 0.85 }),
        ..case("1KiB/batch of 50".to_owned(), ORDER.to_vec(), target, arrival)
    }
}

/// A thousand rules, none of which holds: as long as the path of the requests, `/orders`, and alike in the beginning, so that neither tells
/// them apart. Without a body: the less a request costs, the more the rules show.
fn rules() -> Case {
    let rule = |number: usize| json!({"path": {"prefix": format!("/ord{number:03}")}});
    let target = json!({"match": (0..1000).map(rule).collect::<Vec<Value>>()});
    Case {
        variants: vec![Variant::None, Variant::OneRule, Variant::Sidecast],
        verdict: Some(Verdict { of: Variant::Sidecast, base: Variant::OneRule, at_most: 1.20 }),
        // Without the usual comma, which would separate two names in the selection of cases.
        ..case("0B/1000 rules".to_owned(), Vec::new(), target, Arrival::Nothing)
    }
}

/// The target wants the request, and its key is one of those that are left out.
fn sampled_out() -> Case {
    let target = json!({"sample": {"percent": 0.001, "key": {"header": "x-user-id"}}});
    Case {
        variants: vec![Variant::None, Variant::Sidecast],
        ..case("1KiB/sampled out".to_owned(), ORDER.to_vec(), target, Arrival::Nothing)
    }
}

/// A case with one target, beside native mirroring and no filter.
fn case(name: String, body: Vec<u8>, target: Value, arrival: Arrival) -> Case {
    let variants = vec![Variant::None, Variant::Native, Variant::Sidecast];
    Case { name, body, targets: 1, target, arrival, variants, verdict: None, launches: 0, turns: 0 }
}

/// A JSON body of that many bytes that says little.
fn filled(length: usize) -> Vec<u8> {
    let (head, tail) = (r#"{"order":4711,"note":""#, r#""}"#);
    match length.checked_sub(head.len() + tail.len()) {
        Some(filling) => format!("{head}{}{tail}", "x".repeat(filling)).into_bytes(),
        None => Vec::new(),
    }
}

fn size(length: usize) -> String {
    match length {
        0 => "0B".to_owned(),
        length => format!("{}KiB", length / 1024),
    }
}
