//! Framing of gRPC: one message to the byte is told from all else.

use sidecast::http::grpc::{http_status, is_grpc, Messages};

use crate::choices::Choices;
use crate::hold;

fn law(choices: &mut Choices<'_>) {
    let mut body = Vec::new();
    let count = choices.below(4);
    for _ in 0..count {
        let message = choices.bytes(40);
        body.push(choices.below(2) as u8);
        body.extend((message.len() as u32).to_be_bytes());
        body.extend(message);
    }
    let whole = [Messages::Incomplete, Messages::One, Messages::Several, Messages::Several][count];
    assert_eq!(Messages::of(&body), whole);
    // A beginning is never more than all of it, and grows with it.
    let rank = |body: &[u8]| match Messages::of(body) {
        Messages::Foreign | Messages::Incomplete => 0,
        Messages::One => 1,
        Messages::Several => 2,
    };
    let mut before = 0;
    for end in 0..=body.len() {
        let now = rank(&body[..end]);
        assert!(now >= before, "{body:?} up to {end}");
        before = now;
    }
    if !body.is_empty() {
        choices.damage(&mut body, 3);
    }
    let claimed = body.get(1..5).map(|length| length.iter().fold(5_u64, |sum, byte| (sum - 5) * 256 + u64::from(*byte) + 5));
    let begins = |at: u64| matches!(body.get(usize::try_from(at).unwrap()), None | Some(0 | 1));
    let expected = match claimed {
        _ if !begins(0) => Messages::Foreign,
        Some(length) if (body.len() as u64) < length => Messages::Incomplete,
        Some(length) if (body.len() as u64) == length => Messages::One,
        Some(length) if begins(length) => Messages::Several,
        Some(_) => Messages::Foreign,
        None => Messages::Incomplete,
    };
    assert_eq!(Messages::of(&body), expected, "{body:?}");

    let mut kind = choices
        .one_of(&["application/grpc", "Application/gRPC+proto", "application/grpc-web", "application/json"])
        .as_bytes()
        .to_vec();
    if choices.once_in(2) {
        choices.damage(&mut kind, 2);
    }
    let lower = String::from_utf8_lossy(&kind).to_ascii_lowercase();
    let named =
        lower.strip_prefix("application/grpc").is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';', ' ', '\t']));
    assert_eq!(is_grpc(&kind), named, "{lower:?}");
    let status = http_status(choices.number() as u32);
    assert!((200..600).contains(&status), "{status}");
}

#[test]
fn one_message_is_told_from_none_and_from_several() {
    hold(160, law);
}
