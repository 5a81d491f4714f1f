//! Loop protection: keeps a copy from being mirrored again, by this filter or by another one on the way.
//!
//! Each copy carries `x-sidecast-loop`. Without a secret, the header alone marks a copy, so a client that sends it is not mirrored. With a secret,
//! the value is the delivery ID and its MAC. A client cannot make one, and targets, which see it, learn nothing about the secret. A mark does not
//! expire: a wrong clock must not open the loop.

use std::borrow::Cow;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::text::lower_hex;

/// The header that marks a copy.
pub const HEADER: &str = "x-sidecast-loop";

/// Makes and verifies loop marks.
#[derive(Clone, Debug)]
pub struct LoopGuard {
    key: Option<Hmac<Sha256>>,
}

impl LoopGuard {
    /// Creates a guard. With a secret, only its holders can make valid marks. Without one, every mark is valid.
    pub fn new(secret: Option<&str>) -> Self {
        Self {
            // HMAC takes keys of any length, so this is never an error.
            key: secret.and_then(|secret| Hmac::new_from_slice(secret.as_bytes()).ok()),
        }
    }

    /// The mark of a delivery.
    pub fn mark<'id>(&self, delivery_id: &'id str) -> Cow<'id, str> {
        match &self.key {
            None => delivery_id.into(),
            Some(key) => {
                let tag = key.clone().chain_update(delivery_id).finalize().into_bytes();
                format!("{delivery_id}.{tag:x}").into()
            }
        }
    }

    /// True if the value is a valid mark. The comparison takes the same time for every wrong tag.
    pub fn recognises(&self, value: &[u8]) -> bool {
        let Some(key) = &self.key else {
            return true;
        };
        let mut parts = value.rsplitn(2, |byte| *byte == b'.');
        let (Some(tag), Some(delivery_id)) = (parts.next(), parts.next()) else {
            return false;
        };
        lower_hex::<32>(tag).is_some_and(|tag| key.clone().chain_update(delivery_id).verify_slice(&tag).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_recognised_by_whoever_holds_the_secret() {
        let guard = LoopGuard::new(Some("k"));
        let mark = guard.mark("5f0c");
        assert!(guard.recognises(mark.as_bytes()));
        assert!(!LoopGuard::new(Some("other")).recognises(mark.as_bytes()));
    }

    #[test]
    fn the_tag_is_the_hmac_of_the_delivery_id() {
        // RFC 4231, test case 2.
        let mark = LoopGuard::new(Some("Jefe")).mark("what do ya want for nothing?");
        assert_eq!(mark, "what do ya want for nothing?.5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn what_a_client_makes_up_is_no_mark() {
        let guard = LoopGuard::new(Some("k"));
        let real = guard.mark("5f0c");
        for forged in
            ["", "1", ".", "5f0c", "5f0c.", "5f0c.00", &real.replace("5f0c.", "5f0d."), &format!("{real}0"), &real.to_uppercase()]
        {
            assert!(!guard.recognises(forged.as_bytes()), "{forged}");
        }
        assert!(!guard.recognises(b"\xff\xfe.\xff"));
    }

    #[test]
    fn without_a_secret_the_header_alone_marks_a_copy() {
        let guard = LoopGuard::new(None);
        assert!(guard.recognises(b""));
        assert_eq!(guard.mark("5f0c"), "5f0c");
    }
}
