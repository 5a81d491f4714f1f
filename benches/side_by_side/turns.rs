//! Slices of load in turns: who comes when, and what is held against what.

use std::collections::BTreeMap;

/// The order in which `count` variants have their slices in a turn: rotated with each turn and reversed in every other one, so that none
/// always follows the same neighbour.
pub(crate) fn order(turn: usize, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).map(|place| (place + turn / 2) % count).collect();
    if turn % 2 == 1 {
        order.reverse();
    }
    order
}

/// `figure` of what two variants had in a turn, for each turn in which both had something. Given are the turns' numbers and values.
pub(crate) fn paired(
    of: impl IntoIterator<Item = (usize, f64)>,
    base: impl IntoIterator<Item = (usize, f64)>,
    figure: impl Fn(f64, f64) -> f64,
) -> Vec<f64> {
    let base: BTreeMap<usize, f64> = base.into_iter().collect();
    of.into_iter().filter_map(|(turn, value)| Some(figure(value, *base.get(&turn)?))).collect()
}
