//! What all workers of one host share: key-value data with compare-and-swap, and statistics.

use super::abi::Status;
use std::collections::BTreeMap;

/// Envoy's shared data. Nothing is ever deleted, and each write gets a new, process-wide version number.
#[derive(Default)]
pub(crate) struct SharedData {
    entries: BTreeMap<Vec<u8>, (Vec<u8>, u32)>,
    last_version: u32,
}

impl SharedData {
    /// The value and its version, which a later [`set`](Self::set) can be conditional on.
    pub(crate) fn get(&self, key: &[u8]) -> Result<(Vec<u8>, u32), Status> {
        self.entries.get(key).cloned().ok_or(Status::NOT_FOUND)
    }

    /// All values by key.
    pub(crate) fn all(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.entries.iter().map(|(key, (value, _))| (key.clone(), value.clone())).collect()
    }

    /// Version 0 overwrites whatever is there. A missing key takes any version: two workers can race on a first write.
    pub(crate) fn set(&mut self, key: &[u8], value: &[u8], version: u32) -> Result<(), Status> {
        if let Some((_, current)) = self.entries.get(key) {
            if version != 0 && version != *current {
                return Err(Status::CAS_MISMATCH);
            }
        }
        self.last_version += 1;
        let entry = (value.to_vec(), self.last_version);
        self.entries.insert(key.to_vec(), entry);
        Ok(())
    }
}

/// One statistic of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stat {
    Counter(u64),
    Gauge(i64),
    Histogram(Vec<u64>),
}

impl Stat {
    fn new(kind: u32) -> Option<Self> {
        Some(match kind {
            0 => Self::Counter(0),
            1 => Self::Gauge(0),
            2 => Self::Histogram(Vec::new()),
            _ => return None,
        })
    }
}

/// All statistics by name. Defining one again leads to the same one.
#[derive(Default)]
pub(crate) struct Statistics(pub(super) BTreeMap<String, Stat>);

/// The numbers under which one VM knows statistics. As in Envoy each definition makes a new number, the kind is in its lowest two bits,
/// and none is ever given back: a filter that defines per request would leak.
#[derive(Default)]
pub(crate) struct StatIds {
    names: BTreeMap<u32, String>,
}

impl StatIds {
    pub(crate) fn define(&mut self, all: &mut Statistics, kind: u32, name: &[u8]) -> Result<u32, Status> {
        let fresh = Stat::new(kind).ok_or(Status::BAD_ARGUMENT)?;
        let name = String::from_utf8(name.to_vec()).unwrap();
        let stat = all.0.entry(name.clone()).or_insert_with(|| fresh.clone());
        let same_kind = std::mem::discriminant(stat) == std::mem::discriminant(&fresh);
        assert!(same_kind, "{name} is defined as two kinds of statistic");
        let id = (self.names.len() as u32 + 1) * 4 + kind;
        self.names.insert(id, name);
        Ok(id)
    }

    pub(crate) fn increment(&self, all: &mut Statistics, id: u32, by: i64) -> Result<(), Status> {
        match self.find(all, id).ok_or(Status::NOT_FOUND)? {
            Stat::Counter(value) if by > 0 => *value += by.unsigned_abs(),
            Stat::Gauge(value) => *value += by,
            Stat::Counter(_) | Stat::Histogram(_) => return Err(Status::BAD_ARGUMENT),
        }
        Ok(())
    }

    pub(crate) fn record(&self, all: &mut Statistics, id: u32, value: u64) -> Result<(), Status> {
        match self.find(all, id).ok_or(Status::NOT_FOUND)? {
            Stat::Counter(counter) => *counter += value,
            Stat::Gauge(gauge) => *gauge = i64::try_from(value).unwrap(),
            Stat::Histogram(samples) => samples.push(value),
        }
        Ok(())
    }

    /// How many numbers this VM was given.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    fn find<'a>(&self, all: &'a mut Statistics, id: u32) -> Option<&'a mut Stat> {
        all.0.get_mut(self.names.get(&id)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_with_an_outdated_version_is_refused() {
        let mut data = SharedData::default();
        data.set(b"key", b"one", 0).unwrap();
        let (_, version) = data.get(b"key").unwrap();
        data.set(b"key", b"two", version).unwrap();
        let outdated = data.set(b"key", b"three", version);
        assert_eq!(outdated, Err(Status::CAS_MISMATCH));
        assert_eq!(data.get(b"key").unwrap().0, b"two");
    }

    #[test]
    fn version_zero_overwrites_and_a_missing_key_takes_any_version() {
        let mut data = SharedData::default();
        assert_eq!(data.get(b"key"), Err(Status::NOT_FOUND));
        data.set(b"key", b"one", 999).unwrap();
        data.set(b"key", b"two", 0).unwrap();
        assert_eq!(data.get(b"key").unwrap().0, b"two");
    }

    #[test]
    fn a_statistic_keeps_its_kind_and_its_value_over_definitions() {
        let (mut all, mut first, mut second) = Default::default();
        let counter = StatIds::define(&mut first, &mut all, 0, b"n").unwrap();
        first.increment(&mut all, counter, 2).unwrap();
        let again = StatIds::define(&mut second, &mut all, 0, b"n").unwrap();
        second.increment(&mut all, again, 3).unwrap();
        assert_eq!(all.0["n"], Stat::Counter(5));
        assert_eq!(second.increment(&mut all, 999, 1), Err(Status::NOT_FOUND));
        let no_kind = second.define(&mut all, 3, b"m");
        assert_eq!(no_kind, Err(Status::BAD_ARGUMENT));
    }

    #[test]
    fn counters_only_go_up_and_histograms_only_record() {
        let (mut all, mut ids): (Statistics, StatIds) = Default::default();
        let [counter, gauge, histogram] =
            [(0, b"c"), (1, b"g"), (2, b"h")].map(|(kind, name)| ids.define(&mut all, kind, name).unwrap());
        for by in [0, -1] {
            let refused = ids.increment(&mut all, counter, by);
            assert_eq!(refused, Err(Status::BAD_ARGUMENT));
        }
        let refused = ids.increment(&mut all, histogram, 1);
        assert_eq!(refused, Err(Status::BAD_ARGUMENT));
        ids.increment(&mut all, gauge, 5).unwrap();
        ids.increment(&mut all, gauge, -2).unwrap();
        ids.record(&mut all, histogram, 7).unwrap();
        assert_eq!(all.0["g"], Stat::Gauge(3));
        assert_eq!(all.0["h"], Stat::Histogram(vec![7]));
    }
}
