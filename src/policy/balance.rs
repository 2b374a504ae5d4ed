//! Load balancing: in which order the targets of a route are asked. Pure: what is in flight, how fast the targets
//! were and the dice come from outside.

use std::cmp::Ordering;
use std::time::Duration;

use crate::domain::route::Balance;

/// What is known of a target just now.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Load {
    /// How large a share it is to take.
    pub weight: u32,
    /// Requests of this process that it has not answered yet.
    pub in_flight: u32,
    /// How long it has lately taken to begin its answers; nothing if it was not asked.
    pub latency: Option<Duration>,
}

/// The places of the targets in the order in which to ask them. A target of weight 0 comes after all others. `dice`
/// gives random numbers from 0 to 1.
pub fn order(balance: Balance, loads: &[Load], mut dice: impl FnMut() -> f64) -> Vec<usize> {
    let mut places: Vec<usize> = (0..loads.len()).collect();
    match balance {
        Balance::Order => {}
        Balance::Weight => by_lot(loads, &mut places, &mut dice),
        Balance::LeastBusy => {
            by_lot(loads, &mut places, &mut dice);
            places.sort_by(|a, b| busy(loads[*a], loads[*b]));
        }
        Balance::Fastest => {
            // One that was never asked is asked, or nothing would be known of it.
            by_lot(loads, &mut places, &mut dice);
            places.sort_by_key(|place| (loads[*place].weight == 0, loads[*place].latency));
        }
    }
    places
}

/// Draws one after the other, each as often as its weight says.
fn by_lot(loads: &[Load], places: &mut [usize], dice: &mut impl FnMut() -> f64) {
    let weight = |place: usize| f64::from(loads[place].weight);
    for drawn in 0..places.len() {
        let left = &mut places[drawn..];
        let mut lot = dice().clamp(0.0, 1.0) * left.iter().map(|place| weight(*place)).sum::<f64>();
        let hit = left.iter().position(|place| {
            lot -= weight(*place);
            lot < 0.0
        });
        // Rounding may leave a rest: then it is the last that has a weight.
        let last = || left.iter().rposition(|place| weight(*place) > 0.0).unwrap_or(0);
        let hit = hit.unwrap_or_else(last);
        // In place of a swap: those that are never drawn stay as they are written.
        left[..=hit].rotate_right(1);
    }
}

/// Fewer requests in flight for its weight come first; one of no weight comes last.
fn busy(a: Load, b: Load) -> Ordering {
    let crosswise = |of: Load, other: Load| u64::from(of.in_flight) * u64::from(other.weight);
    (a.weight == 0).cmp(&(b.weight == 0)).then(crosswise(a, b).cmp(&crosswise(b, a)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn load(weight: u32, in_flight: u32, latency: Option<u64>) -> Load {
        Load { weight, in_flight, latency: latency.map(Duration::from_millis) }
    }

    #[test]
    fn each_is_first_as_often_as_its_weight_says() {
        let loads = [load(3, 0, None), load(0, 0, None), load(1, 0, None)];
        let mut first = [0; 3];
        for turn in 0..1000 {
            let mut dice = [f64::from(turn) / 1000.0, 0.5, 0.5].into_iter();
            let places = order(Balance::Weight, &loads, || dice.next().unwrap());
            first[places[0]] += 1;
            assert_eq!(places[2], 1, "what has no weight comes last");
        }
        assert_eq!(first, [750, 0, 250]);
    }

    #[test]
    fn the_least_busy_comes_first_for_its_weight() {
        let loads = [load(1, 2, None), load(3, 5, None), load(0, 0, None)];
        assert_eq!(order(Balance::LeastBusy, &loads, || 0.0), [1, 0, 2]);
    }

    #[test]
    fn the_fastest_comes_first_after_those_that_were_never_asked() {
        let loads = [load(1, 0, Some(20)), load(1, 0, Some(10)), load(1, 0, None)];
        assert_eq!(order(Balance::Fastest, &loads, || 0.0), [2, 1, 0]);
    }

    proptest! {
        #[test]
        fn every_target_is_asked_once(
            weights in proptest::collection::vec(0_u32..5, 0..6), dice in proptest::collection::vec(0.0..=1.0_f64, 6)
        ) {
            let loads: Vec<Load> = weights.iter().map(|weight| load(*weight, *weight, None)).collect();
            for balance in Balance::ALL {
                let mut dice = dice.iter().copied();
                let mut places = order(*balance, &loads, || dice.next().unwrap_or(0.5));
                if *balance != Balance::Order {
                    let rest = places.iter().skip_while(|place| loads[**place].weight > 0);
                    prop_assert!(rest.clone().all(|place| loads[*place].weight == 0));
                }
                places.sort_unstable();
                prop_assert_eq!(places, (0..loads.len()).collect::<Vec<_>>());
            }
        }
    }
}
