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

/// The parts of a context that a child keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: [u8; 16],
    flags: u8,
}

impl TraceContext {
    /// Parses a `traceparent`. Returns `None` if it is invalid.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (known, more) = value.split_at_checked(LENGTH)?;
        let mut fields = known.split(|byte| *byte == b'-');
        let [version] = lower_hex::<1>(fields.next()?)?;
        let trace_id = lower_hex::<16>(fields.next()?)?;
        let parent_id = lower_hex::<8>(fields.next()?)?;
        let [flags] = lower_hex::<1>(fields.next()?)?;
        let future = version != 0;
        // Version 00 ends here. A later version may continue after a dash, and only its first flag is known.
        let ends_well = more.is_empty() || (future && more.starts_with(b"-"));
        let valid = version != 0xff && trace_id != [0; 16] && parent_id != [0; 8] && ends_well;
        valid.then_some(Self { trace_id, flags: if future { flags & 1 } else { flags } })
    }

    /// The `traceparent` of a child. `parent_id` is the span ID of the child.
    pub fn child(&self, parent_id: [u8; 8]) -> [u8; LENGTH] {
        let mut text = *b"00-................................-................-..";
        let mut fields = text.split_mut(|byte| *byte == b'-').skip(1);
        for bytes in [&self.trace_id[..], &parent_id, &[self.flags]] {
            if let Some(field) = fields.next() {
                // The field is twice as long as the bytes.
                let _ = hex::encode_to_slice(bytes, field);
            }
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
