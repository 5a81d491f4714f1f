//! Marks in requests: what must not leave carries where it stood, so that whoever finds one knows whether it may be there.

use std::collections::BTreeSet;
use std::io::Read;

use data_encoding::BASE64;
use flate2::read::GzDecoder;
use serde_json::Value;

use crate::support::rabbitmq::BASIC;

const IN_BODY: &str = "cnry.";
const IN_HEADER: &str = "hdry.";
const END: &str = ".z";
/// What stands for the value of the environment's variable.
const VARIABLE: &str = "variable";

/// The value at a place of a body.
pub(crate) fn at(place: &str) -> String {
    format!("{IN_BODY}{place}{END}")
}

/// The value of a header.
pub(crate) fn header(name: &str) -> String {
    format!("{IN_HEADER}{name}{END}")
}

/// All marks in these bytes, and in what they hold as gzip and base64.
pub(crate) fn within(bytes: &[u8]) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    collect(bytes, 3, &mut all);
    all
}

fn collect(bytes: &[u8], depth: usize, all: &mut BTreeSet<String>) {
    let text = String::from_utf8_lossy(bytes);
    for begin in [IN_BODY, IN_HEADER] {
        let mut rest = &*text;
        while let Some(at) = rest.find(begin) {
            let found = &rest[at..];
            let Some(end) = found.find(END) else { break };
            all.insert(found[..end].to_owned());
            rest = &found[begin.len()..];
        }
    }
    if text.contains(BASIC) {
        all.insert(VARIABLE.to_owned());
    }
    if depth == 0 {
        return;
    }
    let magic = [0x1f, 0x8b, 8];
    if let Some(at) = bytes.windows(3).take(1 << 16).position(|window| window == magic) {
        let mut plain = Vec::new();
        let _ = GzDecoder::new(&bytes[at..]).take(1 << 22).read_to_end(&mut plain);
        collect(&plain, depth - 1, all);
    }
    if bytes.len() > 1 << 16 {
        return;
    }
    let is_other = |letter: char| !(letter.is_ascii_alphanumeric() || letter == '+' || letter == '/');
    for run in text.split(is_other).filter(|run| run.len() >= 16) {
        // Padding was cut off with the rest, and a path may stand before it.
        for run in [run, run.rsplit('/').next().unwrap_or(run)] {
            if let Ok(plain) = BASE64.decode(&run.as_bytes()[..run.len() / 4 * 4]) {
                collect(&plain, depth - 1, all);
            }
        }
    }
}

/// Whether one of these JSON pointers leads to a place or to what it is in.
fn is_masked(place: &str, pointers: &Value) -> bool {
    let place: Vec<&str> = place.split('.').filter(|key| !key.is_empty()).collect();
    pointers.as_array().into_iter().flatten().filter_map(Value::as_str).any(|pointer| {
        let segments: Vec<String> =
            pointer.split('/').skip(1).map(|segment| segment.replace("~1", "/").replace("~0", "~")).collect();
        segments.len() <= place.len() && segments.iter().zip(&place).all(|(segment, key)| segment == "*" || segment == key)
    })
}

/// Whether a target of this configuration may see a mark: `section` is what the response is about, `request` or the whole target.
pub(crate) fn may_see(mark: &str, target: &Value, is_letter: bool) -> bool {
    if let Some(place) = mark.strip_prefix(IN_BODY) {
        return !is_masked(place, &target["request"]["body"]["redact"]);
    }
    let letter = target["dead_letter"].to_string().to_ascii_lowercase();
    let request = target["request"].to_string().to_ascii_lowercase();
    if mark == VARIABLE {
        return if is_letter { letter.contains("${env:") } else { request.contains("${env:") };
    }
    let name = mark.trim_start_matches(IN_HEADER);
    let headers = &target["request"]["headers"];
    let listed = headers["forward"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let is_listed = listed.into_iter().any(|listed| listed.eq_ignore_ascii_case(name));
    let is_own = name.starts_with("x-sidecast-") || name.starts_with("x-envoy-");
    let is_forwarded = !is_own && (headers["sensitive"] == "forward" || is_listed);
    is_forwarded || [letter, request].iter().any(|text| text.contains(&format!("header:{name}}}")))
}
