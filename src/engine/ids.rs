//! IDs made of random bytes. The host supplies the bytes a block at a time, so that one host call serves many requests.

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

/// A block of random bytes, of which the unused ones are left to take.
#[derive(Debug)]
pub struct RandomPool {
    bytes: [u8; Self::BLOCK],
    used: usize,
}

impl RandomPool {
    /// The size of a block in bytes.
    pub const BLOCK: usize = 1024;

    /// Creates a pool with one block from `fill`. Returns `None` if `fill` fails.
    pub fn filled(fill: impl FnOnce(&mut [u8]) -> bool) -> Option<Self> {
        let mut bytes = [0; Self::BLOCK];
        fill(&mut bytes).then_some(Self { bytes, used: 0 })
    }

    /// Takes `N` bytes. Fetches a new block from `fill` when the pool is used up. If `fill` fails, the pool hashes the last block to make the next
    /// one: an ID must not repeat, because a target that checks idempotency keys would take two deliveries with one ID for the same.
    pub fn take<const N: usize>(&mut self, fill: impl FnOnce(&mut [u8]) -> bool) -> [u8; N] {
        if self.bytes.get(self.used..self.used.saturating_add(N)).is_none() {
            if !fill(&mut self.bytes) {
                self.stir();
            }
            self.used = 0;
        }
        let end = self.used.saturating_add(N);
        let taken = self.bytes.get(self.used..end).and_then(|bytes| bytes.try_into().ok());
        self.used = end;
        taken.unwrap_or([0; N])
    }

    fn stir(&mut self) {
        for chunk in self.bytes.chunks_mut(32) {
            let stirred = Sha256::digest(&*chunk);
            chunk.iter_mut().zip(stirred).for_each(|(byte, stirred)| *byte = stirred);
        }
    }
}

/// Makes a random ID (UUID version 4) of 16 random bytes.
pub fn random_id(random: [u8; 16]) -> Uuid {
    Builder::from_random_bytes(random).into_uuid()
}

/// Makes an ID that is always the same for a key and a name (UUID version 8, RFC 9562, 5.8).
pub fn derived_id(key: &[u8], name: &str) -> Uuid {
    let mut hash = Sha256::new();
    // A name has no zero byte, so no two pairs give the same input.
    hash.update(name.as_bytes());
    hash.update([0]);
    hash.update(key);
    let hash = hash.finalize();
    let bytes = hash.first_chunk().copied().unwrap_or_default();
    Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fills blocks with consecutive numbers.
    fn counting() -> impl FnMut(&mut [u8]) -> bool {
        let mut next = 0_u32;
        move |block| {
            for quad in block.chunks_mut(4) {
                quad.copy_from_slice(&next.to_le_bytes());
                next += 1;
            }
            true
        }
    }

    #[test]
    fn no_byte_is_given_out_twice() {
        let mut fill = counting();
        let mut pool = RandomPool::filled(&mut fill).unwrap();
        let taken: Vec<[u8; 12]> = (0..200).map(|_| pool.take(&mut fill)).collect();
        // 85 takes of 12 bytes fit into a block of 1,024 bytes; the remaining 4 bytes are not used.
        let expected: Vec<[u8; 12]> = (0..200_u32)
            .map(|take| {
                let first = take / 85 * 256 + take % 85 * 3;
                let bytes: Vec<u8> = (first..first + 3).flat_map(u32::to_le_bytes).collect();
                bytes.try_into().unwrap()
            })
            .collect();
        assert_eq!(taken, expected);
    }

    #[test]
    fn a_source_that_runs_dry_repeats_nothing() {
        let mut pool = RandomPool::filled(counting()).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..1_000 {
            assert!(seen.insert(pool.take::<16>(|_| false)));
        }
    }

    #[test]
    fn a_source_that_is_dry_from_the_start_is_no_source() {
        assert!(RandomPool::filled(|_| false).is_none());
    }

    #[test]
    fn an_id_is_a_version_4_uuid() {
        let id = random_id([0xff; 16]);
        assert_eq!(id.get_version_num(), 4);
        assert_eq!(id.to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
