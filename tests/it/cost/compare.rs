//! A period beside an earlier one.

use serde_json::{Value, json};

use super::{Spent, cost, dollar, home, report, spent};
use crate::support::{TestEnv, assert_run};

/// Amounts on some days, in dollars.
fn on_days() -> TestEnv {
    let mut all = vec![
        Spent { unpriced: 2, ..spent("2026-01-10T09:00:00Z", "groq/llama", 2, [1, 0, 1], 0) },
        spent("2026-02-27T09:00:00Z", "openai/gpt-5.4", 1, [1, 0, 1], 4_000_000_000),
        spent("2026-03-02T09:00:00Z", "sim/echo", 1, [1, 0, 1], 0),
    ];
    let days = ["2025-03-10", "2026-02-10", "2026-02-28", "2026-03-03", "2026-03-09", "2026-03-10"];
    let texts: Vec<String> = days.iter().map(|day| format!("{day}T09:00:00Z")).collect();
    // Constants want to live as long as the test.
    all.extend(texts.into_iter().map(|text| dollar(text.leak())));
    all.push(spent("2026-03-10T12:00:00Z", "openai/gpt-5.4-nano", 1, [1, 0, 1], 250_000_000));
    home(&all)
}

fn previous(env: &TestEnv, since: &str, until: &str, more: &[&str]) -> Value {
    report(env, "UTC", &[&["--since", since, "--until", until], more].concat())["previous"].clone()
}

fn days(previous: &Value) -> (String, String, f64) {
    let day = |field: &str| previous[field].as_str().unwrap().to_owned();
    let time = |text: String| {
        text.strip_suffix("T00:00:00Z").or(text.strip_suffix("T00:00:00+00:00")).unwrap().to_owned()
    };
    (time(day("from")), time(day("to")), previous["total"]["cost_usd"].as_f64().unwrap())
}

#[test]
fn the_period_before_is_as_long() {
    let env = on_days();
    let of = |since: &str, until: &str, more: &[&str]| days(&previous(&env, since, until, more));
    let is = |from: &str, to: &str, cost: f64| (from.to_owned(), to.to_owned(), cost);
    let day = "2026-03-10";
    assert_eq!(of(day, day, &[]), is("2026-03-09", "2026-03-10", 1.0));
    assert_eq!(of("2026-03-09", day, &[]), is("2026-03-07", "2026-03-09", 0.0));
    assert_eq!(of(day, day, &["--compare", "before"]), of(day, day, &[]));
    assert_eq!(of(day, day, &["--compare", "week"]), is("2026-03-03", "2026-03-04", 1.0));
    assert_eq!(of(day, day, &["--compare", "month"]), is("2026-02-10", "2026-02-11", 1.0));
    assert_eq!(of(day, day, &["--compare", "year"]), is("2025-03-10", "2025-03-11", 1.0));
    assert_eq!(of("2026-03-01", "2026-03-31", &["--compare", "month"]), is("2026-02-01", "2026-03-01", 6.0));
    assert_eq!(previous(&env, day, day, &["--compare", "none"]), Value::Null);
    let rows = previous(&env, "2026-03-01", "2026-03-31", &["--compare", "month", "--by", "day"]);
    let rows: Vec<_> = rows["rows"].as_array().unwrap().iter().map(|row| row["day"].clone()).collect();
    assert_eq!(rows, [json!("2026-02-10"), json!("2026-02-27"), json!("2026-02-28")]);
}

#[test]
fn a_table_says_what_has_changed() {
    let env = on_days();
    let on = |since: &str, until: &str, more: &[&str]| {
        cost(&env, &[&["--since", since, "--until", until], more].concat()).run().expect_status(0)
    };
    let table = on("2026-03-10", "2026-03-10", &[]);
    assert_run!(table);
    let line = |output: &crate::support::Output| {
        let line = output.stdout.lines().find(|line| line.starts_with("Before: "));
        line.unwrap_or_else(|| panic!("{output}")).to_owned()
    };
    assert_eq!(line(&table), "Before: $1.00 on 2026-03-09, now +25.0 %");
    // Times were others before: nothing to compare them with.
    assert!(!on("2026-03-10", "2026-03-10", &["--by", "hour"]).stdout.contains("Change"));
    assert_eq!(line(&on("2026-02-10", "2026-02-10", &[])), "Before: no calls on 2026-02-09");
    assert_eq!(line(&on("2026-02-28", "2026-02-28", &[])), "Before: $4.00 on 2026-02-27, now -75.0 %");
    // Never a percentage of nothing, or of what is not known.
    assert_eq!(line(&on("2026-03-03", "2026-03-03", &[])), "Before: $0.00 on 2026-03-02");
    let unpriced = on("2026-02-10", "2026-02-10", &["--compare", "month"]);
    assert_eq!(line(&unpriced), "Before: nothing with a known price (2 calls unpriced) on 2026-01-10");
    let none = on("2026-03-11", "2026-03-11", &[]);
    let expected = "No calls on 2026-03-11 (UTC+00:00).\nBefore: $1.25 on 2026-03-10, now -100.0 %\n";
    assert_eq!(none.stdout, expected);
    assert!(!on("2026-03-10", "2026-03-10", &["--compare", "none"]).stdout.contains("Before"));
}

#[test]
fn what_is_no_longer_used_is_a_row_too() {
    let env = home(&[
        spent("2026-03-09T09:00:00Z", "openai/gpt-5.4-mini", 1, [1, 0, 1], 100_000_000),
        spent("2026-03-09T09:00:00Z", "openai/gpt-5.4", 1, [1, 0, 1], 2_000_000_000),
        spent("2026-03-09T09:00:00Z", "groq/llama", 1, [1, 0, 1], 500_000_000),
        spent("2026-03-09T09:00:00Z", "sim/echo", 1, [1, 0, 1], 0),
        spent("2026-03-10T09:00:00Z", "openai/gpt-5.4-mini", 1, [1, 0, 1], 150_000_000),
        spent("2026-03-10T09:00:00Z", "sim/other", 1, [1, 0, 1], 0),
    ]);
    let day = ["--since", "2026-03-10", "--until", "2026-03-10"];
    let run = |more: &[&str]| cost(&env, &[&day, more].concat()).run().expect_status(0);
    assert_run!(run(&[]));
    for others in [&["--compare", "none"][..], &["--by", "hour"], &["--by", "model", "--by", "day"]] {
        assert!(!run(others).stdout.contains("llama"), "{others:?}");
    }
    let models = report(&env, "UTC", &day)["rows"].as_array().unwrap().len();
    assert_eq!(models, 2, "a program has the rows of both periods");
}

#[test]
fn a_change_of_more_than_tenfold_is_so_many_times_as_much() {
    let times = ["2026-03-09T09:00:00Z", "2026-03-10T09:00:00Z"];
    for (before, now, change) in [
        (100, 1_000, "+900.0 %"),
        (100, 1_001, "×10"),
        (1_000, 22_500, "×23"),
        (1, 22_241_796_013, "×22,241,796,013"),
        (1_000, 1, "-99.9 %"),
    ] {
        let nanos = |at: usize, nanos| spent(times[at], "openai/gpt-5.4", 1, [1, 0, 1], nanos);
        let env = home(&[nanos(0, before), nanos(1, now)]);
        let table = cost(&env, &["--since", "2026-03-10", "--until", "2026-03-10"]).run().stdout;
        assert_eq!(table.matches(&format!(" {change}\n")).count(), 3, "{table}");
    }
}

#[test]
fn rows_alone_are_not_compared() {
    let env = TestEnv::new();
    assert_run!(cost(&env, &["--compare", "week", "--format", "csv"]).run().expect_status(2));
    let output = cost(&env, &["--compare", "before", "--format", "jsonl"]).run().expect_status(2);
    assert!(output.stdout.is_empty() && output.stderr.contains("jsonl"), "{output}");
    for format in ["csv", "jsonl"] {
        let _ = cost(&env, &["--compare", "none", "--format", format]).run().expect_status(0);
    }
}

#[test]
fn a_day_that_is_not_over_is_compared_with_as_much_of_another() {
    let env = TestEnv::new();
    for (zone, more) in [("UTC", "before"), ("Asia/Kathmandu", "week"), ("Pacific/Chatham", "before")] {
        let report = report(&env, zone, &["--compare", more]);
        let time = |value: &Value| chrono::DateTime::parse_from_rfc3339(value.as_str().unwrap()).unwrap();
        let (from, to) = (time(&report["previous"]["from"]), time(&report["previous"]["to"]));
        assert_eq!(from.time(), chrono::NaiveTime::MIN, "{zone}");
        let minutes = (to - from).num_minutes();
        // More than a day where clocks were put back.
        assert!((15..=25 * 60).contains(&minutes) && minutes % 15 == 0, "{zone}: {minutes}");
        assert!(to < time(&report["to"]), "{zone}");
    }
}
