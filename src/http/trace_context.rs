//! W3C Trace Context: a copy is a child of the request that it copies.
//!
//! Source: <https://www.w3.org/TR/trace-context/>, section 3.2.

use super::text::lower_hex;

/// The header that carries the context.
pub const TRACEPARENT: &[u8] = b"traceparent";
/// The header with vendor data. It has no meaning without a valid `traceparent`.
pub const TRACESTATE: &[u8] = b"tracestate";

/// The length of version 00: version, trace ID, parent ID and flags.
const LENGTH: usize = 55;

/// Where the parent ID stands in it.
const PARENT_ID: std::ops::Range<usize> = 36..52;

/// The context of a request, as far as a child keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// A `traceparent` of version 00. A child only replaces the parent ID in it.
    text: [u8; LENGTH],
}

impl TraceContext {
    /// Parses a `traceparent`. Returns `None` if it is invalid.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (known, more) = value.split_first_chunk::<LENGTH>()?;
        let (version, rest) = known.split_first_chunk::<2>()?;
        let (trace_id, rest) = rest.strip_prefix(b"-")?.split_first_chunk::<32>()?;
        let (parent_id, rest) = rest.strip_prefix(b"-")?.split_first_chunk::<16>()?;
        let flags = rest.strip_prefix(b"-")?;
        let is_hex = |text: &[u8]| text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let is_zero = |text: &[u8]| text.iter().all(|byte| *byte == b'0');
        let future = version != b"00";
        // Version 00 ends here. A later version may continue after a dash, and only its first flag is known.
        let ends_well = more.is_empty() || (future && more.starts_with(b"-"));
        let valid = is_hex(version) && is_hex(trace_id) && is_hex(parent_id) && is_hex(flags);
        if !valid || version == b"ff" || is_zero(trace_id) || is_zero(parent_id) || !ends_well {
            return None;
        }
        let mut text = *known;
        if future {
            let [flags] = lower_hex::<1>(flags)?;
            *text.first_chunk_mut::<2>()? = *b"00";
            *text.last_chunk_mut::<2>()? = if flags & 1 == 1 { *b"01" } else { *b"00" };
        }
        Some(Self { text })
    }

    /// The `traceparent` of a child. `parent_id` is the span ID of the child.
    pub fn child(&self, parent_id: [u8; 8]) -> [u8; LENGTH] {
        let mut text = self.text;
        if let Some(place) = text.get_mut(PARENT_ID) {
            // The place is twice as long as the bytes.
            let _ = hex::encode_to_slice(parent_id, place);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_child_keeps_the_trace_and_its_flags() {
        let context = TraceContext::parse(VALID.as_bytes()).unwrap();
        assert_eq!(&context.child([0xab; 8]), b"00-0af7651916cd43dd8448eb211c80319c-abababababababab-01");
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let context =
            TraceContext::parse(format!("{}-more", VALID.replacen("00", "cc", 1).replace("-01", "-ff")).as_bytes()).unwrap();
        assert!(context.child([1; 8]).ends_with(b"-01"));
        assert!(context.child([1; 8]).starts_with(b"00-"));
    }

    #[test]
    fn what_is_not_valid_is_none() {
        let zero_trace = VALID.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32));
        let zero_parent = VALID.replace("b7ad6b7169203331", &"0".repeat(16));
        for text in [
            "",
            "00",
            VALID.trim_end_matches('1'),
            &format!("{VALID}-"),
            &format!("{}x", VALID.replacen("00", "cc", 1)),
            &VALID.replace("00-", "ff-"),
            &VALID.to_uppercase(),
            &VALID.replace('-', "_"),
            &VALID.replace("7651", "76-1"),
            &zero_trace,
            &zero_parent,
        ] {
            assert_eq!(TraceContext::parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail_other_than_by_none(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = TraceContext::parse(&bytes);
        }
    }
}
