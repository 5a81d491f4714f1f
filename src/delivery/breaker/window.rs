//! Sliding windows of recent outcomes. Each window counts in ten buckets, a tenth of its width each, and slides by whole buckets. Its size does not
//! depend on the number of outcomes.
//!
//! Two configurations of one breaker may use windows of different widths, permanently or while an update drains. Each width has a window of its
//! own, and every outcome counts in all of them. So no configuration loses its counts when another one writes.

use std::mem::take;

/// The number of buckets in a window.
pub(super) const BUCKETS: u64 = 10;
const COUNT: usize = BUCKETS as usize;
/// The most windows in a record. One more replaces the window that was unused for the longest time.
const WINDOWS: usize = 4;

/// Numbers of outcomes.
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

    fn are_bad(self) -> bool {
        self.failures > 0 || self.slow > 0
    }
}

/// The windows of a breaker, one for each width in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Windows {
    count: usize,
    windows: [Window; WINDOWS],
}

impl Windows {
    /// The encoded length of the most windows, in bytes.
    pub(super) const LENGTH: usize = WINDOWS * Window::LENGTH;

    /// The number of windows.
    pub(super) fn count(&self) -> u8 {
        u8::try_from(self.count).unwrap_or(0)
    }

    /// Moves all windows on to the time `now`, for a configuration whose buckets are `width` wide. If no window has that width, a new one takes
    /// over the counts of another. A window that was unused for its whole span is forgotten: everything that its own configuration has counted is
    /// too old by then.
    pub(super) fn advance(&mut self, now: u64, width: u32) {
        let mut kept = Self::default();
        for window in self.each() {
            let is_stale = window.width != width && now.saturating_sub(window.used) > window.span();
            if window.width > 0 && !is_stale {
                let mut window = *window;
                window.advance(now);
                kept.push(window);
            }
        }
        *self = kept;
        let mut own = self.take(width).unwrap_or_else(|| self.derived(now, width));
        own.used = now;
        if self.count >= WINDOWS {
            let oldest = self.each().min_by_key(|window| window.used).map_or(0, |window| window.width);
            self.take(oldest);
        }
        self.push(own);
    }

    /// Counts outcomes at the time `at`, in all windows that reach back to it.
    pub(super) fn add(&mut self, at: u64, counts: Counts) {
        for window in self.windows.iter_mut().take(self.count) {
            window.add(at, counts);
        }
    }

    /// The sum of all buckets in the window of this width.
    pub(super) fn sum(&self, width: u32) -> Counts {
        self.of(width).map_or(Counts::default(), Window::sum)
    }

    /// True if the window of this width holds failures or slow calls at the time `now`. If no window has this width, true if any window holds some.
    pub(super) fn hold_failures(&self, now: u64, width: u32) -> bool {
        let own = self.of(width);
        self.each().filter(|window| own.is_none_or(|own| own.width == window.width)).any(|window| {
            window.sum().are_bad() && {
                let mut window = *window;
                window.advance(now);
                window.sum().are_bad()
            }
        })
    }

    fn each(&self) -> impl Iterator<Item = &Window> {
        self.windows.iter().take(self.count)
    }

    fn of(&self, width: u32) -> Option<&Window> {
        self.each().find(|window| window.width == width)
    }

    fn push(&mut self, window: Window) {
        if let Some(place) = self.windows.get_mut(self.count) {
            *place = window;
            self.count = self.count.saturating_add(1);
        }
    }

    fn take(&mut self, width: u32) -> Option<Window> {
        let place = self.each().position(|window| window.width == width)?;
        let last = self.count.saturating_sub(1);
        self.windows.swap(place, last);
        self.count = last;
        self.windows.get_mut(last).map(take)
    }

    /// Makes a window of a new width from the one that knows most about the same time: the narrowest of those that reach back as far, or else the
    /// widest. The counts of a bucket are taken as of the bucket's end.
    fn derived(&self, now: u64, width: u32) -> Window {
        let mut fresh = Window { width, used: now, ..Window::default() };
        fresh.newest = fresh.epoch(now);
        let reaches = |window: &&Window| window.width >= width;
        let source = self.each().filter(reaches).min_by_key(|window| window.width);
        if let Some(source) = source.or(self.each().max_by_key(|window| window.width)) {
            for (end, counts) in source.ends() {
                fresh.add(end.min(now), counts);
            }
        }
        fresh
    }

    pub(super) fn encode(&self) -> impl Iterator<Item = u8> + '_ {
        self.each().flat_map(Window::encode)
    }

    /// Decodes `count` windows. Returns `None` if the bytes are not exactly that.
    pub(super) fn decode(count: u8, mut bytes: &[u8]) -> Option<Self> {
        let mut windows = Self { count: usize::from(count), ..Self::default() };
        for window in windows.windows.get_mut(..windows.count)? {
            (*window, bytes) = Window::decode(bytes)?;
        }
        bytes.is_empty().then_some(windows)
    }
}

/// The counts of one width, and their times. An epoch is a time divided by the width of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Window {
    /// The width of a bucket, in milliseconds.
    width: u32,
    /// When a configuration of this width last wrote.
    used: u64,
    /// The epoch of the newest bucket.
    newest: u64,
    /// Each bucket is at the index of its epoch modulo the number of buckets.
    buckets: [Counts; COUNT],
}

impl Window {
    const LENGTH: usize = 20 + COUNT * 12;

    fn epoch(&self, at: u64) -> u64 {
        at.checked_div(u64::from(self.width)).unwrap_or(0)
    }

    /// How far the window reaches back, in milliseconds.
    fn span(&self) -> u64 {
        u64::from(self.width).saturating_mul(BUCKETS)
    }

    /// Moves on to the time `now`, and forgets what is older than the window. If `now` lies more than one bucket before the newest, the clock was
    /// set back and the times of all counts are unknown. The window then forgets everything.
    fn advance(&mut self, now: u64) {
        let epoch = self.epoch(now);
        self.used = self.used.min(now);
        if epoch.saturating_add(1) < self.newest {
            *self = Self { width: self.width, used: self.used, newest: epoch, ..Self::default() };
            return;
        }
        let fresh = epoch.saturating_sub(self.newest);
        for step in 1..=fresh.min(BUCKETS) {
            self.set(self.newest.saturating_add(step), Counts::default());
        }
        self.newest = self.newest.max(epoch);
    }

    /// Counts outcomes at the time `at`, unless it lies before the window.
    fn add(&mut self, at: u64, counts: Counts) {
        let epoch = self.epoch(at).min(self.newest);
        if self.newest.saturating_sub(epoch) < BUCKETS {
            let mut sum = self.get(epoch);
            sum.add(counts);
            self.set(epoch, sum);
        }
    }

    /// The sum of all buckets.
    fn sum(&self) -> Counts {
        self.buckets.iter().fold(Counts::default(), |mut sum, bucket| {
            sum.add(*bucket);
            sum
        })
    }

    /// The counts of each bucket, with the last millisecond that belongs to it.
    fn ends(&self) -> impl Iterator<Item = (u64, Counts)> + '_ {
        (self.newest.saturating_sub(BUCKETS.saturating_sub(1))..=self.newest).map(|epoch| {
            let next = epoch.saturating_add(1).saturating_mul(u64::from(self.width));
            (next.saturating_sub(1), self.get(epoch))
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

    fn encode(&self) -> impl Iterator<Item = u8> + '_ {
        let counts = self.buckets.iter().flat_map(|bucket| [bucket.total, bucket.failures, bucket.slow]);
        let head = self.width.to_le_bytes().into_iter().chain(self.used.to_le_bytes()).chain(self.newest.to_le_bytes());
        head.chain(counts.flat_map(u32::to_le_bytes))
    }

    /// Decodes a window. Returns it with the remaining bytes.
    fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (width, rest) = bytes.split_first_chunk::<4>()?;
        let (used, rest) = rest.split_first_chunk::<8>()?;
        let (newest, mut rest) = rest.split_first_chunk::<8>()?;
        let mut window = Self {
            width: u32::from_le_bytes(*width),
            used: u64::from_le_bytes(*used),
            newest: u64::from_le_bytes(*newest),
            ..Self::default()
        };
        for bucket in &mut window.buckets {
            for count in [&mut bucket.total, &mut bucket.failures, &mut bucket.slow] {
                let (number, after) = rest.split_first_chunk::<4>()?;
                *count = u32::from_le_bytes(*number);
                rest = after;
            }
        }
        Some((window, rest))
    }
}

fn slot(epoch: u64) -> usize {
    usize::try_from(epoch % BUCKETS).unwrap_or(0)
}
