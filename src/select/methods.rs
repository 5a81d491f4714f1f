//! Sets of methods as bits. For standard methods, membership takes no text comparison.

/// A set of methods: one bit for each standard method, and one for all others together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct MethodBits(u16);

impl MethodBits {
    pub(super) const NONE: Self = Self(0);
    pub(super) const ALL: Self = Self(u16::MAX);
    /// All methods outside of the standards. Which one it is takes a text comparison.
    pub(super) const OTHER: Self = Self(1 << 9);

    /// The bit of a method (RFC 9110, 9.3; RFC 5789).
    pub(super) fn of(method: &[u8]) -> Self {
        Self(match method {
            b"GET" => 1,
            b"HEAD" => 1 << 1,
            b"POST" => 1 << 2,
            b"PUT" => 1 << 3,
            b"DELETE" => 1 << 4,
            b"CONNECT" => 1 << 5,
            b"OPTIONS" => 1 << 6,
            b"TRACE" => 1 << 7,
            b"PATCH" => 1 << 8,
            _ => Self::OTHER.0,
        })
    }

    /// True if the sets have a method in common.
    pub(super) fn overlap(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The bits of the set, one by one.
    pub(super) fn each(self) -> impl Iterator<Item = Self> {
        (0..=9).map(|bit| Self(1 << bit)).filter(move |bit| bit.overlap(self))
    }

    /// The union of both sets.
    pub(super) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_methods_are_told_apart_from_each_other_and_from_all_others() {
        let methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "BREW"];
        for (index, method) in methods.iter().enumerate() {
            for (other_index, other) in methods.iter().enumerate() {
                let overlap = MethodBits::of(method.as_bytes()).overlap(MethodBits::of(other.as_bytes()));
                assert_eq!(overlap, index == other_index, "{method} {other}");
            }
            let all: Vec<_> = MethodBits::ALL.each().filter(|bits| *bits == MethodBits::of(method.as_bytes())).collect();
            assert_eq!(all.len(), 1, "{method}");
        }
    }

    #[test]
    fn lower_case_makes_another_method() {
        assert_eq!(MethodBits::of(b"get"), MethodBits::OTHER);
    }
}
