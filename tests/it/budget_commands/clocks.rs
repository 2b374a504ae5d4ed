//! Periods, on a clock that the tests set: when days, weeks and months begin, also where a day has 23 or 25 hours,
//! and what a clock that jumps does to them, which is nothing.

use std::time::Duration;

use serde_json::{Value, json};

use super::scopes::openai;
use super::{budget, dollar, home, set};
use crate::support::{Gate, Reply, ShiftedClock, TestEnv, Upstream};

/// The fields of all budgets at this clock's time.
#[track_caller]
fn at(env: &TestEnv, clock: &ShiftedClock, time: &str, fields: &[&str]) -> Value {
    clock.set(env, time);
    let listed = clock.over(budget(env, &["--format", "jsonl"])).run().expect_status(0).jsonl();
    listed.iter().map(|budget| fields.iter().map(|field| budget[field].clone()).collect::<Value>()).collect()
}

#[track_caller]
fn spend_at(env: &TestEnv, clock: &ShiftedClock, time: &str) {
    clock.set(env, time);
    let _ = clock.over(dollar(env, &[])).run().expect_status(0);
}

#[track_caller]
fn set_at(env: &TestEnv, clock: &ShiftedClock, time: &str, args: &[&str]) -> Value {
    clock.set(env, time);
    let args = [&["set", "--format", "json"], args].concat();
    clock.over(budget(env, &args)).run().expect_status(0).json()
}

#[test]
fn each_period_begins_when_it_should() {
    let env = home();
    let Some(clock) = ShiftedClock::at(&env, "2027-02-26T12:00:00Z") else { return };
    for period in ["day", "week", "month", "total"] {
        set_at(&env, &clock, "2027-02-26T12:00:00Z", &["9", "--period", period]);
    }
    // The clock is that of the program, or all of this would be about today.
    let fields = ["from", "resets_at"];
    let expected = json!([
        ["2027-02-26T00:00:00Z", "2027-02-27T00:00:00Z"],
        ["2027-02-22T00:00:00Z", "2027-03-01T00:00:00Z"],
        ["2027-02-01T00:00:00Z", "2027-03-01T00:00:00Z"],
        [null, null]
    ]);
    assert_eq!(at(&env, &clock, "2027-02-26T12:00:00Z", &fields), expected);
    let spent = |time: &str| at(&env, &clock, time, &["spent_usd"]);
    spend_at(&env, &clock, "2027-02-26T23:50:00Z");
    assert_eq!(spent("2027-02-26T23:59:00Z"), json!([[1.0], [1.0], [1.0], [1.0]]));
    assert_eq!(spent("2027-02-27T00:01:00Z"), json!([[0.0], [1.0], [1.0], [1.0]]));
    spend_at(&env, &clock, "2027-02-28T23:50:00Z");
    assert_eq!(spent("2027-02-28T23:59:00Z"), json!([[1.0], [2.0], [2.0], [2.0]]));
    // A Monday, and the first of a month.
    assert_eq!(spent("2027-03-01T00:01:00Z"), json!([[0.0], [0.0], [0.0], [2.0]]));
}

#[test]
fn a_new_budget_does_not_count_what_was_spent_before_its_period() {
    let env = home();
    let Some(clock) = ShiftedClock::at(&env, "2027-02-24T12:00:00Z") else { return };
    for time in
        ["2027-01-31T23:50:00Z", "2027-02-21T23:50:00Z", "2027-02-23T23:50:00Z", "2027-02-24T00:10:00Z"]
    {
        spend_at(&env, &clock, time);
    }
    let new = |args: &[&str]| set_at(&env, &clock, "2027-02-24T12:00:00Z", args)["spent_usd"].clone();
    let spent = ["day", "week", "month", "total"].map(|period| new(&["9", "--period", period]));
    assert_eq!(spent, [json!(1.0), json!(2.0), json!(3.0), json!(4.0)]);
    // Where the day began an hour earlier, half an hour of it is more.
    assert_eq!(new(&["9", "--time-zone", "Europe/Berlin"]), 2.0);
    assert_eq!(new(&["9", "--time-zone", "UTC"]), 1.0);
}

/// A day in a zone: when it begins, when it ends, and half an hour before either.
const DAYS: [(&str, [&str; 2], [&str; 2]); 6] = [
    (
        "Europe/Berlin",
        ["2027-03-28T00:00:00+01:00", "2027-03-29T00:00:00+02:00"],
        ["2027-03-27T22:30:00Z", "2027-03-28T21:30:00Z"],
    ),
    (
        "Europe/Berlin",
        ["2027-10-31T00:00:00+02:00", "2027-11-01T00:00:00+01:00"],
        ["2027-10-30T21:30:00Z", "2027-10-31T22:30:00Z"],
    ),
    (
        "America/New_York",
        ["2027-03-14T00:00:00-05:00", "2027-03-15T00:00:00-04:00"],
        ["2027-03-14T04:30:00Z", "2027-03-15T03:30:00Z"],
    ),
    (
        "America/New_York",
        ["2027-11-07T00:00:00-04:00", "2027-11-08T00:00:00-05:00"],
        ["2027-11-07T03:30:00Z", "2027-11-08T04:30:00Z"],
    ),
    (
        "Australia/Sydney",
        ["2027-10-03T00:00:00+10:00", "2027-10-04T00:00:00+11:00"],
        ["2027-10-02T13:30:00Z", "2027-10-03T12:30:00Z"],
    ),
    // A day without a midnight: it begins at one.
    (
        "Africa/Cairo",
        ["2027-04-30T01:00:00+03:00", "2027-05-01T00:00:00+03:00"],
        ["2027-04-29T21:30:00Z", "2027-04-30T20:30:00Z"],
    ),
];

#[test]
fn days_are_as_long_as_they_are() {
    for (zone, [from, to], [before, last]) in DAYS {
        let env = home();
        let Some(clock) = ShiftedClock::at(&env, before) else { return };
        set_at(&env, &clock, before, &["9", "--time-zone", zone]);
        spend_at(&env, &clock, before);
        let fields = ["spent_usd", "resets_at"];
        assert_eq!(at(&env, &clock, before, &fields)[0][0], 1.0, "{zone} {from}");
        let begins: chrono::DateTime<chrono::FixedOffset> = from.parse().unwrap();
        let began = (begins + chrono::TimeDelta::minutes(1)).to_rfc3339();
        let fields = ["spent_usd", "from", "resets_at"];
        assert_eq!(at(&env, &clock, &began, &fields), json!([[0.0, from, to]]), "{zone}");
        spend_at(&env, &clock, &began);
        assert_eq!(at(&env, &clock, last, &fields), json!([[1.0, from, to]]), "{zone}");
        let ends: chrono::DateTime<chrono::FixedOffset> = to.parse().unwrap();
        let ended = (ends + chrono::TimeDelta::minutes(1)).to_rfc3339();
        assert_eq!(at(&env, &clock, &ended, &["spent_usd", "from"]), json!([[0.0, to]]), "{zone}");
    }
}

#[test]
fn a_call_that_is_under_way_keeps_its_money_whatever_other_clocks_say() {
    let env = home();
    let Some(clock) = ShiftedClock::at(&env, "2027-03-01T10:00:00Z") else { return };
    let other = ShiftedClock::named(&env, "other", "2027-03-01T11:00:00Z").unwrap();
    set_at(&env, &clock, "2027-03-01T10:00:00Z", &["5"]);
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Reply::answer("a").gate(&held));
    let running = clock.over(openai(&env, &upstream, &["-m", "gpt-5.4-nano"])).spawn();
    assert!(gate.wait_until_reached(Duration::from_secs(30)));
    for time in ["2027-03-01T11:00:00Z", "2027-03-01T09:00:00Z", "2027-03-01T23:00:00Z"] {
        spend_at(&env, &other, time);
        let figures = at(&env, &other, time, &["held_usd", "unknown_usd", "holders"]);
        assert!(figures[0][0].as_f64().unwrap() > 0.0 && figures[0][1] == 0.0, "{time}: {figures}");
        assert_eq!(figures[0][2][0]["command"], "chat");
    }
    // Its own clock may jump as well.
    clock.set(&env, "2027-03-01T12:00:00Z");
    gate.release();
    let _ = running.wait().expect_status(0);
    let figures = at(&env, &other, "2027-03-01T12:00:00Z", &["held_usd", "unknown_usd", "spent_usd"]);
    assert_eq!((&figures[0][0], &figures[0][1]), (&json!(0.0), &json!(0.0)));
    let spent = figures[0][2].as_f64().unwrap();
    assert!(spent > 3.0 && spent < 3.1, "{spent}");
}

/// Runs a batch while the clock jumps at every answer; how many answers there were, and what is spent at each time.
fn batch_with_jumps(times: [&str; 2], limit: &str) -> Option<(usize, [f64; 2])> {
    let env = home();
    let clock = ShiftedClock::at(&env, times[0])?;
    set_at(&env, &clock, times[0], &[limit]);
    env.write("in.txt", "hi\n".repeat(40));
    let args = ["batch", "in.txt", "-j", "2", "--max-tokens", "1"];
    let latency = "sim: {latency: 5ms, models: {dollar: {answer: a, price: {input: 0, output: 1000000}}}}\n";
    env.write_config(&format!("model: sim/dollar\n{latency}"));
    let mut running = clock.over(env.llmops(args)).spawn();
    let mut answers = 0;
    while running.next_line().is_some() {
        answers += 1;
        clock.set(&env, times[answers % 2]);
    }
    let _ = running.wait().expect_status(4);
    let spent = times.map(|time| at(&env, &clock, time, &["spent_usd", "held_usd"]));
    assert!(spent.iter().all(|spent| spent[0][1] == 0.0), "{spent:?}");
    Some((answers, spent.map(|spent| spent[0][0].as_f64().unwrap())))
}

#[test]
fn a_limit_holds_in_a_batch_whose_clock_jumps() {
    let times = ["2027-03-01T10:00:00Z", "2027-03-01T11:00:00Z"];
    let Some((answers, spent)) = batch_with_jumps(times, "7") else { return };
    assert_eq!((answers, spent), (7, [7.0, 7.0]));
}

#[test]
fn the_limits_of_both_days_hold_in_a_batch_whose_clock_jumps_over_midnight() {
    let times = ["2027-03-01T23:30:00Z", "2027-03-02T00:30:00Z"];
    let Some((answers, [first, second])) = batch_with_jumps(times, "5") else { return };
    assert!(first <= 5.0 && second <= 5.0 && first.max(second) > 4.9, "{first} {second}");
    assert!((first + second - answers as f64).abs() < 1e-9, "{first} {second} {answers}");
}

#[test]
fn a_clock_that_is_set_back_finds_the_period_as_it_left_it() {
    let env = home();
    let Some(clock) = ShiftedClock::at(&env, "2027-03-01T23:30:00Z") else { return };
    set_at(&env, &clock, "2027-03-01T23:30:00Z", &["1"]);
    spend_at(&env, &clock, "2027-03-01T23:30:00Z");
    spend_at(&env, &clock, "2027-03-02T00:30:00Z");
    clock.set(&env, "2027-03-01T23:40:00Z");
    let refused = clock.over(dollar(&env, &[])).run().expect_status(4);
    assert!(refused.stderr.contains("it resets on 2027-03-02 00:00 UTC"), "{refused}");
}

#[test]
fn a_budget_of_another_zone_says_where_its_days_begin() {
    let env = home();
    set(&env, &["5", "--time-zone", "Asia/Tokyo"]);
    set(&env, &["5", "--user", "ann"]);
    let rows = budget(&env, &[]).run().expect_status(0).stdout;
    let rows: Vec<&str> = rows.lines().skip(1).collect();
    assert!(rows[0].ends_with(" 00:00 Asia/Tokyo") && rows[1].ends_with(" 00:00"), "{rows:?}");
}
