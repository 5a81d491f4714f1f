//! The side-by-side benchmark's arithmetic: who comes when, and what is made of the figures. (A benchmark itself has no tests.)
#[path = "../../benches/side_by_side/stats.rs"]
mod stats;
#[path = "../../benches/side_by_side/turns.rs"]
mod turns;

use std::collections::{BTreeMap, BTreeSet};

use stats::{interval, median, quantile};
use turns::{order, paired};

#[test]
fn each_variant_comes_equally_often_in_each_place() {
    for count in 1..=7 {
        let mut places: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for turn in 0..2 * count {
            let order = order(turn, count);
            assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), count, "{order:?} leaves one out");
            for (place, variant) in order.into_iter().enumerate() {
                assert!(variant < count);
                *places.entry((place, variant)).or_default() += 1;
            }
        }
        assert_eq!(places.len(), count * count);
        assert!(places.values().all(|times| *times == 2), "{count} variants: {places:?}");
    }
}

#[test]
fn each_variant_follows_each_neighbour_as_often_as_it_precedes_it() {
    for count in 2..=7 {
        let mut pairs: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for turn in 0..2 * count {
            for pair in order(turn, count).windows(2) {
                *pairs.entry((pair[0], pair[1])).or_default() += 1;
            }
        }
        for ((first, second), times) in &pairs {
            assert_eq!(pairs.get(&(*second, *first)), Some(times), "{count} variants: {first} before {second}");
        }
    }
}

#[test]
fn figures_pair_by_turn_and_not_by_place() {
    let of = [(3, 30.0), (1, 10.0), (2, 20.0)];
    let base = [(1, 5.0), (3, 10.0), (4, 1.0)];
    assert_eq!(paired(of, base, |of, base| of / base), [3.0, 2.0]);
    assert_eq!(paired(of, base, |of, base| of - base), [20.0, 5.0]);
    assert!(paired(of, [], |of, base| of / base).is_empty());
}

#[test]
fn a_slow_moment_that_hits_a_whole_turn_leaves_the_ratio_alone() {
    let slow = |turn: usize| if turn.is_multiple_of(3) { 4.0 } else { 1.0 };
    let of = |cpu: f64| (0..30).map(move |turn| (turn, cpu * slow(turn)));
    let ratios = paired(of(130.0), of(100.0), |of, base| of / base);
    assert_eq!(ratios.len(), 30);
    assert_eq!([quantile(&ratios, 0.25), median(&ratios), quantile(&ratios, 0.75)], [Some(1.3); 3]);
}

#[test]
fn quantiles_lie_between_values() {
    assert_eq!(quantile(&[], 0.5), None);
    assert_eq!(median(&[7.0]), Some(7.0));
    assert_eq!(median(&[4.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    let values = [10.0, 0.0, 20.0, 40.0, 30.0];
    assert_eq!([0.0, 0.25, 0.75, 0.9, 1.0].map(|fraction| quantile(&values, fraction)), [0.0, 10.0, 30.0, 36.0, 40.0].map(Some));
}

#[test]
fn the_interval_of_a_median_gets_narrower_with_more_values() {
    assert_eq!(interval(&[]), None);
    assert_eq!(interval(&[7.0]), Some([7.0, 7.0]));
    // Of a hundred, those at places 40 and 61: the exact 95 % by the binomial distribution, too.
    let evenly = |count: u32| (1..=count).map(|rank| f64::from(rank) / f64::from(count)).collect::<Vec<f64>>();
    assert_eq!(interval(&evenly(100)), Some([0.40, 0.61]));
    let [low, high] = interval(&evenly(10_000)).unwrap();
    assert!(low < 0.5 && 0.5 < high && high - low < 0.0202, "{low} {high}");
    // Of a few, all of them.
    assert_eq!(interval(&[3.0, 1.0, 2.0, 4.0]), Some([1.0, 4.0]));
}
