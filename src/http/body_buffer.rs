//! A buffer for a body that arrives in chunks. The caller knows how much memory each chunk takes before it is taken.

/// The part of a body that has arrived.
#[derive(Debug, Default)]
pub struct BodyBuffer {
    bytes: Vec<u8>,
}

/// The most unused bytes that are not worth freeing.
const REST: usize = 512;

impl BodyBuffer {
    /// The number of bytes that have arrived.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True if nothing has arrived.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes that have arrived.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The least additional memory that a chunk takes, in bytes.
    pub fn least(&self, chunk: usize) -> usize {
        self.bytes.len().saturating_add(chunk).saturating_sub(self.bytes.capacity())
    }

    /// The additional memory to take for a chunk so that later chunks seldom cause a reallocation. `max` is the longest that the body may become.
    pub fn better(&self, chunk: usize, max: usize) -> usize {
        let least = self.least(chunk);
        if least == 0 || self.bytes.is_empty() {
            return least;
        }
        least.max(self.bytes.capacity().min(max.saturating_sub(self.bytes.capacity())))
    }

    /// Appends a chunk. `more` is the additional memory to take.
    pub fn push(&mut self, chunk: Vec<u8>, more: usize) {
        if self.bytes.is_empty() {
            self.bytes = chunk;
            return;
        }
        if more > 0 {
            self.bytes.reserve_exact(self.bytes.capacity().saturating_add(more).saturating_sub(self.bytes.len()));
        }
        self.bytes.extend_from_slice(&chunk);
    }

    /// The whole body, without much unused memory.
    pub fn finish(mut self) -> Vec<u8> {
        if self.bytes.capacity() > self.bytes.len().saturating_add(self.bytes.len() / 4).saturating_add(REST) {
            self.bytes.shrink_to_fit();
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The buffer takes the memory that it announced, for arbitrary chunks.
        #[test]
        fn a_body_takes_the_memory_that_it_said(chunks in prop::collection::vec(1_usize..5_000, 1..60), modest in any::<bool>()) {
            let max = 200_000;
            let (mut body, mut told, mut came) = (BodyBuffer::default(), 0, 0);
            for chunk in chunks {
                prop_assume!(came + chunk <= max);
                let more = if modest { body.least(chunk) } else { body.better(chunk, max) };
                body.push(vec![b'x'; chunk], more);
                told += more;
                came += chunk;
                prop_assert_eq!((body.len(), body.bytes.capacity()), (came, told));
                prop_assert!(told <= max.max(came));
            }
            let whole = body.finish();
            prop_assert_eq!(whole.len(), came);
            prop_assert!(whole.capacity() <= came + came / 4 + REST);
        }
    }

    #[test]
    fn many_chunks_are_moved_a_few_times() {
        let (mut body, mut moves) = (BodyBuffer::default(), 0);
        for _ in 0..10_000 {
            let more = body.better(100, 1 << 20);
            moves += usize::from(more > 0);
            body.push(vec![0; 100], more);
        }
        assert!(moves < 20, "{moves}");
    }
}
