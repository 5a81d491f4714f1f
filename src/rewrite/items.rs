//! Formats that join the items of a batch.

/// How the items of a batch are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON array.
    JsonArray,
    /// One JSON value per line. Each line ends with LF.
    Ndjson,
}

impl Format {
    /// The content type of a batch.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::JsonArray => "application/json",
            Self::Ndjson => "application/x-ndjson",
        }
    }

    /// Joins items to the body of a batch. Each item must be JSON on one line.
    pub fn join<'i>(self, items: impl Iterator<Item = &'i [u8]> + Clone) -> Vec<u8> {
        let (count, bytes) = items
            .clone()
            .fold((0_usize, 0_usize), |(count, bytes), item| (count.saturating_add(1), bytes.saturating_add(item.len())));
        let mut body = Vec::with_capacity(self.joined_len(count, bytes));
        match self {
            Self::JsonArray => {
                let mut before = b'[';
                for item in items {
                    body.push(std::mem::replace(&mut before, b','));
                    body.extend_from_slice(item);
                }
                body.extend_from_slice(if before == b'[' { b"[]" } else { b"]" });
            }
            Self::Ndjson => {
                for item in items {
                    body.extend_from_slice(item);
                    body.push(b'\n');
                }
            }
        }
        body
    }

    /// The length of a joined body in bytes, for a number of items and their total length. Includes the bytes between and around the items.
    pub const fn joined_len(self, items: usize, bytes: usize) -> usize {
        let around = match self {
            Self::JsonArray => 1,
            Self::Ndjson => 0,
        };
        bytes.saturating_add(items).saturating_add(around)
    }
}
