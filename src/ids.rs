//! Ids made of random bytes. The bytes come from outside, a block at a time: one call of the host serves many requests.

use uuid::{Builder, Uuid};

/// Random bytes not used yet.
#[derive(Debug)]
pub struct RandomPool {
    bytes: [u8; Self::BLOCK],
    used: usize,
}

impl RandomPool {
    /// How many bytes are fetched at once.
    pub const BLOCK: usize = 1024;

    /// A pool with nothing in it.
    pub fn empty() -> Self {
        Self { bytes: [0; Self::BLOCK], used: Self::BLOCK }
    }

    /// Takes `N` bytes, fetching a new block by `fill` when the pool is at its end.
    pub fn take<const N: usize>(&mut self, fill: impl FnOnce(&mut [u8])) -> [u8; N] {
        if self.bytes.get(self.used..self.used.saturating_add(N)).is_none() {
            fill(&mut self.bytes);
            self.used = 0;
        }
        let end = self.used.saturating_add(N);
        let taken = self.bytes.get(self.used..end).and_then(|bytes| bytes.try_into().ok());
        self.used = end;
        taken.unwrap_or([0; N])
    }
}

/// A random id: UUID version 4.
pub fn random_id(random: [u8; 16]) -> Uuid {
    Builder::from_random_bytes(random).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_is_given_out_twice() {
        let mut pool = RandomPool::empty();
        let mut next = 0_u8;
        let mut blocks = 0;
        let mut taken: Vec<u8> = Vec::new();
        for _ in 0..200 {
            let bytes: [u8; 7] = pool.take(|block| {
                blocks += 1;
                for byte in block {
                    *byte = next;
                    next = next.wrapping_add(1);
                }
            });
            taken.extend(bytes);
        }
        assert_eq!(blocks, 2);
        // 146 whole takes of 7 fit a block of 1024; the 2 bytes left over are not given out.
        let first: Vec<u8> = (0..1022_u32).map(|n| n as u8).collect();
        assert_eq!(taken[..1022], first);
        assert_eq!(taken[1022], 0);
    }

    #[test]
    fn an_id_is_a_version_4_uuid() {
        let id = random_id([0xff; 16]);
        assert_eq!(id.get_version_num(), 4);
        assert_eq!(id.to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
