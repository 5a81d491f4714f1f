//! gRPC over HTTP/2: which requests are unary, and what a status means.
//!
//! Source: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.

/// The status of a call whose response carries none: UNKNOWN.
pub const UNKNOWN: u32 = 2;

/// The length of a message prefix: a flag and the length of the message.
const PREFIX: usize = 5;

/// True for the content types of gRPC: `application/grpc`, alone or followed by a `+` and a format, or by parameters. gRPC-Web does not count: its
/// status is in the body.
pub fn is_grpc(content_type: &[u8]) -> bool {
    let kind = content_type.get(..16).filter(|kind| kind.eq_ignore_ascii_case(b"application/grpc"));
    kind.is_some() && matches!(content_type.get(16), None | Some(b'+' | b';' | b' ' | b'\t'))
}

/// The messages in a body, or in the beginning of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Messages {
    /// The body does not consist of gRPC messages.
    Foreign,
    /// The first message is not complete.
    Incomplete,
    /// Exactly one message. This is a unary request if nothing follows.
    One,
    /// More than one message, or a part of a second one: the client streams.
    Several,
}

impl Messages {
    /// Counts the messages of a body, or of its beginning.
    pub fn of(body: &[u8]) -> Self {
        if !begins_message(body) {
            return Self::Foreign;
        }
        let Some([_, a, b, c, d]) = body.first_chunk::<PREFIX>().copied() else {
            return Self::Incomplete;
        };
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        match body.len().cmp(&length.saturating_add(PREFIX)) {
            std::cmp::Ordering::Less => Self::Incomplete,
            std::cmp::Ordering::Equal => Self::One,
            std::cmp::Ordering::Greater if begins_message(body.get(length.saturating_add(PREFIX)..).unwrap_or_default()) => {
                Self::Several
            }
            std::cmp::Ordering::Greater => Self::Foreign,
        }
    }
}

/// A message begins with a flag that tells whether it is compressed. JSON and forms never begin with such a byte.
fn begins_message(body: &[u8]) -> bool {
    matches!(body.first(), None | Some(0 | 1))
}

/// The HTTP status that corresponds to a gRPC status. It lets `success`, `retry.on` and the circuit breaker handle both.
///
/// Source: <https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto>. Codes that are not listed there count as UNKNOWN.
pub const fn http_status(code: u32) -> u16 {
    match code {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_told_by_its_content_type() {
        for kind in ["application/grpc", "application/grpc+proto", "application/grpc; charset=utf-8", "Application/GRPC+json"] {
            assert!(is_grpc(kind.as_bytes()), "{kind}");
        }
        for kind in
            ["application/grpc-web", "application/grpc-web+proto", "application/grpcx", "application/grp", "application/json", ""]
        {
            assert!(!is_grpc(kind.as_bytes()), "{kind}");
        }
    }

    #[test]
    fn a_unary_request_is_one_message_to_the_byte() {
        for (body, messages) in [
            (&b""[..], Messages::Incomplete),
            (b"\0\0\0\0", Messages::Incomplete),
            (b"\0\0\0\0\0", Messages::One),
            (b"\x01\0\0\0\x02a", Messages::Incomplete),
            (b"\x01\0\0\0\x02ab", Messages::One),
            (b"\x01\0\0\0\x02ab\0", Messages::Several),
            (b"\0\0\0\0\0\0\0\0\0\0", Messages::Several),
            (b"\0\xff\xff\xff\xffa", Messages::Incomplete),
            (b"{", Messages::Foreign),
            (b"{\"amount\":1}", Messages::Foreign),
            (b"\x02\0\0\0\0", Messages::Foreign),
            (b"\0\0\0\0\0{}", Messages::Foreign),
        ] {
            assert_eq!(Messages::of(body), messages, "{body:?}");
        }
    }

    #[test]
    fn every_status_stands_for_the_one_of_http_that_google_names() {
        let statuses: Vec<u16> = (0..18).map(http_status).collect();
        assert_eq!(statuses, [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401, 500]);
        assert_eq!(http_status(UNKNOWN), 500);
    }
}
