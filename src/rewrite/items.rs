//! Items of a batch, put together.

/// How items are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON array.
    JsonArray,
    /// One JSON value a line, each line ended by LF.
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

    /// The body of a batch of these items, each of them JSON on one line.
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

    /// The length of the body of so many items with so many bytes: what stands between and around them counts.
    pub const fn joined_len(self, items: usize, bytes: usize) -> usize {
        let around = match self {
            Self::JsonArray => 1,
            Self::Ndjson => 0,
        };
        bytes.saturating_add(items).saturating_add(around)
    }
}
