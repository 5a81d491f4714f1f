//! How the filter runs in a worker.

/// The filter in one worker.
pub(crate) trait Filter {
    /// Calls a callback by its name in the ABI, and gives its result, 0 if it has none. None where the filter has no such callback.
    fn enter(&mut self, callback: &str, arguments: &[u32]) -> Option<i32>;

    /// The memory that it has, in bytes.
    fn memory_size(&mut self) -> usize {
        panic!("this filter has no memory of its own")
    }

    /// The most instructions that one callback took since this was asked last.
    fn longest(&mut self) -> u64 {
        panic!("the instructions of this filter are not counted")
    }
}
