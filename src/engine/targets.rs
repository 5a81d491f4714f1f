//! Sets of targets.

use crate::config::Config;

/// A set of targets, one bit each. A configuration has at most 32.
#[derive(Clone, Copy, Default)]
pub(super) struct Targets(u32);

impl Targets {
    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn insert(&mut self, target: usize) {
        self.0 |= u32::try_from(target).ok().and_then(|target| 1_u32.checked_shl(target)).unwrap_or(0);
    }

    pub(super) fn remove(&mut self, target: usize) {
        let mut removed = Self::default();
        removed.insert(target);
        *self = self.without(removed);
    }

    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        (0..32).filter(move |target| self.0 & (1 << target) != 0)
    }

    /// The targets that are in both sets.
    pub(super) fn and(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// The targets that are not in `others`.
    pub(super) fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Adds those targets among the given ones that follow one of these, directly or through others.
    pub(super) fn with_followers(self, config: &Config, among: Self) -> Self {
        let mut all = self;
        // Each follower comes after its leader.
        for follower in config.followers.iter().filter(|follower| among.has(**follower)) {
            let leader = config.targets.get(*follower).and_then(|target| target.after.leader());
            if leader.is_some_and(|leader| all.has(leader)) {
                all.insert(*follower);
            }
        }
        all
    }

    /// The targets that are in either set.
    pub(super) fn or(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    pub(super) fn has(self, target: usize) -> bool {
        u32::try_from(target).is_ok_and(|target| self.0.checked_shr(target).unwrap_or(0) & 1 == 1)
    }
}
