use chrono::TimeDelta;
use proptest::prelude::*;

use super::*;
use crate::domain::budget::{BudgetId, Scope};

fn budget(period: BudgetPeriod, zone: &str) -> Budget {
    Budget {
        id: BudgetId(1),
        scope: Scope::default(),
        period,
        zone: zone.parse().unwrap(),
        limit: Money::from_nanos(100),
        warn: "80%".parse().ok(),
    }
}

fn at(time: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(time).unwrap().to_utc()
}

const fn nanos(amount: i64) -> Money {
    Money::from_nanos(amount)
}

#[test]
fn three_verdicts_and_a_fourth_for_what_has_no_price() {
    let standing = Standing { spent: nanos(50), held: nanos(30), ..Standing::default() };
    let verdict = |ask| standing.verdict(nanos(100), ask);
    assert_eq!(verdict(Ask::AtMost(nanos(20))), Verdict::Admit);
    assert_eq!(verdict(Ask::AtMost(nanos(21))), Verdict::Wait);
    assert_eq!(verdict(Ask::AtMost(nanos(50))), Verdict::Wait);
    assert_eq!(verdict(Ask::AtMost(nanos(51))), Verdict::Refuse);
    assert_eq!(verdict(Ask::Unpriced { allowed: false }), Verdict::Unpriced);
    assert_eq!(verdict(Ask::Unpriced { allowed: true }), Verdict::Admit);
    let overrun = Standing { spent: nanos(101), ..Standing::default() };
    assert_eq!(overrun.verdict(nanos(100), Ask::AtMost(nanos(1))), Verdict::Refuse);
    assert_eq!(overrun.verdict(nanos(100), Ask::Unpriced { allowed: true }), Verdict::Refuse);
    // What costs nothing is nobody's loss.
    assert_eq!(overrun.verdict(nanos(100), Ask::AtMost(Money::ZERO)), Verdict::Admit);
    assert_eq!((overrun.overrun(nanos(100)), overrun.left(nanos(100))), (nanos(1), Money::ZERO));
}

#[test]
fn spent_is_what_has_no_room_for_what_was_refused() {
    let mut standing = Standing { spent: nanos(95), ..Standing::default() };
    assert!(!standing.is_spent(nanos(100)));
    standing.refuse(nanos(9));
    standing.refuse(nanos(6));
    standing.refuse(nanos(7));
    assert!(standing.is_spent(nanos(100)) && !standing.is_spent(nanos(101)));
    assert!(Standing::default().is_spent(Money::ZERO));
    // A call that is too large for any period says nothing about this one.
    let mut standing = Standing::default();
    standing.refuse(nanos(101));
    assert!(!standing.is_spent(nanos(100)));
}

#[test]
fn a_warning_is_spoken_once() {
    let budget = budget(BudgetPeriod::Day, "UTC");
    let mut standing = Standing { spent: nanos(79), ..Standing::default() };
    assert!(!standing.warns(&budget));
    standing.charge(&Settlement { cost: nanos(1), ..Settlement::default() });
    assert!(standing.warns(&budget) && !standing.warns(&budget));
}

/// Days of 23 and 25 hours, in a zone of whole hours and in one that changes by half an hour.
#[test]
fn periods_begin_at_midnight_where_they_are() {
    let cases = [
        ("Europe/Berlin", "2026-03-29T12:00:00+02:00", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", 23),
        ("Europe/Berlin", "2026-10-25T12:00:00+01:00", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", 25),
        ("America/New_York", "2026-03-08T12:00:00-04:00", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z", 23),
        ("America/New_York", "2026-11-01T12:00:00-05:00", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z", 25),
        ("Asia/Kolkata", "2026-11-01T12:00:00+05:30", "2026-10-31T18:30:00Z", "2026-11-01T18:30:00Z", 24),
    ];
    for (zone, noon, began, resets, hours) in cases {
        let budget = budget(BudgetPeriod::Day, zone);
        let (noon, began, resets) = (at(noon), at(began), at(resets));
        assert_eq!((budget.began(noon), budget.resets(noon)), (Some(began), Some(resets)), "{zone}");
        assert_eq!((resets - began).num_hours(), hours);
        let (first, second) = (TimeDelta::zero(), TimeDelta::seconds(1));
        assert_eq!(budget.period_at(began + first), budget.period_at(noon));
        assert_eq!(budget.period_at(began - second) + 1, budget.period_at(noon));
        assert_eq!(budget.period_at(resets - second), budget.period_at(noon));
        assert_eq!(budget.period_at(resets), budget.period_at(noon) + 1);
    }
}

#[test]
fn weeks_begin_on_monday_and_months_on_the_first() {
    let now = at("2026-11-25T12:00:00Z");
    let span = |period| {
        let budget = budget(period, "UTC");
        (budget.began(now), budget.resets(now))
    };
    assert_eq!(
        span(BudgetPeriod::Week),
        (Some(at("2026-11-23T00:00:00Z")), Some(at("2026-11-30T00:00:00Z")))
    );
    assert_eq!(
        span(BudgetPeriod::Month),
        (Some(at("2026-11-01T00:00:00Z")), Some(at("2026-12-01T00:00:00Z")))
    );
    assert_eq!(span(BudgetPeriod::Total), (None, None));
    assert_eq!(budget(BudgetPeriod::Total, "UTC").period_at(now), 0);
}

/// What may happen to one of a few calls, in any order.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// It asks for money, for its first attempt or for another.
    Ask { call: usize, most: i64 },
    /// It ends, having cost so much, of which the provider may have billed more than was held.
    Settle { call: usize, cost: i64, unknown: bool },
    /// Its process is taken for dead.
    Sweep { call: usize },
    /// Somebody sets another limit.
    Limit { limit: i64 },
}

/// A call as simple as can be: what it holds, what of that was swept, and what it has come to.
#[derive(Debug, Clone, Copy, Default)]
struct Model {
    held: i64,
    swept: i64,
    cost: i64,
    unknown: i64,
}

const CALLS: usize = 5;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let call = || 0..CALLS;
    let step = prop_oneof![
        4 => (call(), 0..40_i64).prop_map(|(call, most)| Step::Ask { call, most }),
        4 => (call(), 0..50_i64, any::<bool>()).prop_map(|(call, cost, unknown)| Step::Settle { call, cost, unknown }),
        1 => call().prop_map(|call| Step::Sweep { call }),
        1 => (0..120_i64).prop_map(|limit| Step::Limit { limit }),
    ];
    proptest::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100_000))]

    /// Whatever happens in whichever order, the sums are those of the calls one by one; a call is admitted just
    /// when it fits beside all others; and no more is ever spent than the limit, but for what providers billed
    /// beyond what was held.
    #[test]
    fn any_interleaving_keeps_the_limit(steps in steps()) {
        let mut standing = Standing::default();
        let mut calls = [Model::default(); CALLS];
        let (mut limit, mut highest, mut beyond) = (100, 100, 0);
        for step in steps {
            let sum = |part: fn(&Model) -> i64| calls.iter().map(part).sum::<i64>();
            let (spent, held) = (sum(|call| call.cost + call.unknown + call.swept), sum(|call| call.held));
            match step {
                Step::Ask { call, most } => {
                    let verdict = standing.verdict(nanos(limit), Ask::AtMost(nanos(most)));
                    let fits = most == 0 || spent + held + most <= limit;
                    let may_fit = most == 0 || spent + most <= limit;
                    prop_assert_eq!(verdict == Verdict::Admit, fits);
                    prop_assert_eq!(verdict == Verdict::Refuse, !may_fit);
                    if verdict == Verdict::Admit {
                        standing.hold(nanos(most));
                        calls[call].held += most;
                    } else {
                        standing.refuse(nanos(most));
                    }
                }
                Step::Settle { call, cost, unknown } => {
                    let Model { held, swept, .. } = calls[call];
                    standing.release(nanos(held));
                    standing.unsweep(nanos(swept));
                    let (cost, unknown) = if unknown { (0, held + swept) } else { (cost, 0) };
                    standing.charge(&Settlement { cost: nanos(cost), unknown: nanos(unknown), ..Settlement::default() });
                    beyond += (cost - held - swept).max(0);
                    let earlier = calls[call];
                    calls[call] =
                        Model { held: 0, swept: 0, cost: earlier.cost + cost, unknown: earlier.unknown + unknown };
                }
                Step::Sweep { call } => {
                    standing.sweep(nanos(calls[call].held));
                    calls[call].swept += std::mem::take(&mut calls[call].held);
                }
                Step::Limit { limit: new } => {
                    limit = new;
                    highest = highest.max(limit);
                }
            }
            let sum = |part: fn(&Model) -> i64| calls.iter().map(part).sum::<i64>();
            prop_assert_eq!(standing.held.nanos(), sum(|call| call.held));
            prop_assert_eq!(standing.spent.nanos(), sum(|call| call.cost + call.unknown + call.swept));
            prop_assert_eq!(standing.unknown.nanos(), sum(|call| call.unknown + call.swept));
            prop_assert!((standing.spent + standing.held).nanos() <= highest + beyond);
            prop_assert_eq!(standing.overrun(nanos(limit)).nanos(), (standing.spent.nanos() - limit).max(0));
        }
    }
}
