//! Outcomes of the last while, counted in buckets: ten, however many there are, each a tenth of the window wide. The window
//! slides by whole buckets.

/// How many buckets there are.
pub(super) const BUCKETS: u64 = 10;
const COUNT: usize = BUCKETS as usize;

/// Outcomes counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) total: u32,
    pub(super) failures: u32,
    pub(super) slow: u32,
}

impl Counts {
    pub(super) fn add(&mut self, more: Self) {
        self.total = self.total.saturating_add(more.total);
        self.failures = self.failures.saturating_add(more.failures);
        self.slow = self.slow.saturating_add(more.slow);
    }
}

/// The counts, and which time they are of. An epoch is a time divided by the width of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    /// Of a bucket, in milliseconds: a change of configuration may change it.
    width: u32,
    /// The epoch of the newest bucket.
    newest: u64,
    /// Each at its epoch modulo their number.
    buckets: [Counts; COUNT],
}

impl Window {
    /// The bytes it takes.
    pub(super) const LENGTH: usize = 12 + COUNT * 12;

    /// Moves on to an epoch: what is older than the window is forgotten. So is everything when the width is another, or when the
    /// epoch lies before the newest bucket by more than one: then the clock was set back, and the counts are of no known time.
    pub(super) fn advance(&mut self, epoch: u64, width: u32) {
        if width != self.width || epoch.saturating_add(1) < self.newest {
            *self = Self { width, newest: epoch, ..Self::default() };
            return;
        }
        let fresh = epoch.saturating_sub(self.newest);
        for step in 1..=fresh.min(BUCKETS) {
            self.set(self.newest.saturating_add(step), Counts::default());
        }
        self.newest = self.newest.max(epoch);
    }

    /// Counts outcomes of an epoch, unless it lies before the window.
    pub(super) fn add(&mut self, epoch: u64, counts: Counts) {
        let epoch = epoch.min(self.newest);
        if self.newest.saturating_sub(epoch) < BUCKETS {
            let mut sum = self.get(epoch);
            sum.add(counts);
            self.set(epoch, sum);
        }
    }

    /// All that is counted.
    pub(super) fn sum(&self) -> Counts {
        self.buckets.iter().fold(Counts::default(), |mut sum, bucket| {
            sum.add(*bucket);
            sum
        })
    }

    fn get(&self, epoch: u64) -> Counts {
        self.buckets.get(slot(epoch)).copied().unwrap_or_default()
    }

    fn set(&mut self, epoch: u64, counts: Counts) {
        if let Some(bucket) = self.buckets.get_mut(slot(epoch)) {
            *bucket = counts;
        }
    }

    pub(super) fn encode(&self) -> impl Iterator<Item = u8> + '_ {
        let counts = self.buckets.iter().flat_map(|bucket| [bucket.total, bucket.failures, bucket.slow]);
        let head = self.width.to_le_bytes().into_iter().chain(self.newest.to_le_bytes());
        head.chain(counts.flat_map(u32::to_le_bytes))
    }

    /// None when the bytes are too many or too few.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (width, rest) = bytes.split_first_chunk::<4>()?;
        let (newest, mut rest) = rest.split_first_chunk::<8>()?;
        let mut window =
            Self { width: u32::from_le_bytes(*width), newest: u64::from_le_bytes(*newest), buckets: [Counts::default(); COUNT] };
        for bucket in &mut window.buckets {
            for count in [&mut bucket.total, &mut bucket.failures, &mut bucket.slow] {
                let (number, after) = rest.split_first_chunk::<4>()?;
                *count = u32::from_le_bytes(*number);
                rest = after;
            }
        }
        rest.is_empty().then_some(window)
    }
}

fn slot(epoch: u64) -> usize {
    usize::try_from(epoch % BUCKETS).unwrap_or(0)
}
