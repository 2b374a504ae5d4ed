//! `llmops cost`: sums by day and model over calls on known dates, in time
//! zones whose days do not begin when UTC's do, and whose days are not all 24
//! hours long.

mod compare;
mod groups;
mod terminal;
mod zones;

use rusqlite::{Connection, params};
use serde_json::{Value, json};

use crate::support::{Output, Run, TestEnv, assert_run};

/// Spend of one model within a quarter hour.
struct Spent {
    at: &'static str,
    model: &'static str,
    calls: i64,
    tokens: [i64; 3],
    nanos: i64,
    unpriced: i64,
}

const fn spent(at: &'static str, model: &'static str, calls: i64, tokens: [i64; 3], nanos: i64) -> Spent {
    Spent { at, model, calls, tokens, nanos, unpriced: 0 }
}

/// One call for a dollar, to see on which day it falls.
const fn dollar(at: &'static str) -> Spent {
    spent(at, "openai/gpt-5.4", 1, [100, 0, 10], 1_000_000_000)
}

const MARCH: [Spent; 5] = [
    spent("2026-03-01T10:07:00Z", "openai/gpt-5.4-nano", 3, [1_203_000, 1_000_000, 600], 61_350_000),
    spent("2026-03-01T23:50:00Z", "openai/gpt-5.4", 1, [2_000, 0, 900], 18_500_000),
    spent("2026-03-02T00:10:00Z", "openai/gpt-5.4-nano", 2, [400, 0, 80], 180_001),
    Spent { unpriced: 2, ..spent("2026-03-02T00:10:00Z", "openrouter/some/model", 2, [700, 0, 300], 0) },
    spent("2026-03-02T09:00:00Z", "sim/echo", 5, [45, 0, 10], 0),
];

/// A home whose store was made by the program and holds this and nothing else.
fn home(spend: &[Spent]) -> TestEnv {
    let env = TestEnv::new();
    let _ = env.llmops(["chat", "-m", "sim/echo", "hi"]).run().expect_status(0);
    let store = Connection::open(env.db_path()).unwrap();
    store.execute("DELETE FROM spend", []).unwrap();
    for Spent { at, model, calls, tokens, nanos, unpriced } in spend {
        let (provider, model) = model.split_once('/').unwrap();
        let insert = "INSERT INTO spend (quarter, provider, model, calls, input_tokens, cached_input_tokens, output_tokens,
            cost_nanos, unpriced_calls) VALUES (unixepoch(?1) / 900, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let row = params![at, provider, model, calls, tokens[0], tokens[1], tokens[2], nanos, unpriced];
        assert_eq!(store.execute(insert, row).unwrap(), 1);
    }
    env
}

fn cost(env: &TestEnv, args: &[&str]) -> Run {
    env.llmops([&["cost"], args].concat())
}

/// The report as JSON, in a time zone.
fn report(env: &TestEnv, zone: &str, args: &[&str]) -> Value {
    let args = [args, &["--format", "json"]].concat();
    cost(env, &args).env("TZ", zone).run().expect_status(0).json()
}

/// What each day cost, in whole dollars.
fn days(env: &TestEnv, zone: &str, since: &str, until: &str) -> Vec<(String, f64)> {
    let report = report(env, zone, &["--by", "day", "--since", since, "--until", until]);
    let row = |row: &Value| (row["day"].as_str().unwrap().to_owned(), row["cost_usd"].as_f64().unwrap());
    report["rows"].as_array().unwrap().iter().map(row).collect()
}

fn in_march(env: &TestEnv, args: &[&str]) -> Output {
    cost(env, &[&["--since", "2026-03-01", "--until", "2026-03-02"], args].concat()).run().expect_status(0)
}

#[test]
fn sums_are_by_model_unless_asked_for_otherwise() {
    let env = home(&MARCH);
    assert_run!(in_march(&env, &[]));
    assert_eq!(in_march(&env, &["--by", "model"]).stdout, in_march(&env, &[]).stdout);
}

#[test]
fn sums_can_be_by_day_and_by_both() {
    let env = home(&MARCH);
    assert_run!(in_march(&env, &["--by", "day"]));
    assert_run!(in_march(&env, &["--by", "day", "--by", "model"]));
    assert_eq!(
        in_march(&env, &["--by", "day", "--by", "day"]).stdout,
        in_march(&env, &["--by", "day"]).stdout
    );
}

#[test]
fn a_report_is_for_programs_too() {
    let env = home(&MARCH);
    assert_run!(in_march(&env, &["--format", "json"]));
    assert_run!(in_march(&env, &["--format", "jsonl", "--by", "day"]));
    assert_run!(in_march(&env, &["--format", "csv"]));
    assert_run!(in_march(&env, &["--format", "csv", "--by", "day", "--by", "model"]));
}

#[test]
fn a_price_that_is_not_known_is_not_nothing() {
    let env = home(&MARCH);
    let report = report(&env, "UTC", &["--since", "2026-03-02", "--until", "2026-03-02"]);
    let row = |model: &str| {
        let rows = report["rows"].as_array().unwrap();
        rows.iter().find(|row| row["model"] == model).unwrap().clone()
    };
    let cost = |row: &Value| (row["cost_usd"].clone(), row["unpriced_calls"].clone());
    assert_eq!(cost(&row("some/model")), (Value::Null, json!(2)));
    assert_eq!(cost(&row("echo")), (json!(0.0), json!(0)));
    assert_eq!(cost(&report["total"]), (json!(0.000_180_001), json!(2)));
    let table = in_march(&env, &[]).stdout;
    let line =
        |begin: &str| table.lines().find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("{table}"));
    assert!(line("openrouter/some/model").contains('?'), "{table}");
    assert!(line("Unpriced calls").ends_with(": 2"), "{table}");
    let csv = in_march(&env, &["--format", "csv"]).stdout;
    assert!(csv.contains("\nsome/model,openrouter,2,700,0,300,,2\n"), "{csv}");
}

#[test]
fn a_nano_dollar_is_not_lost() {
    let env = home(&[
        spent("2026-03-01T00:00:00Z", "openai/gpt-5.4", 1, [1, 0, 0], 1),
        spent("2026-03-01T12:00:00Z", "openai/gpt-5.4", 1, [1, 0, 0], 3_999_999_999_999_998),
    ]);
    let args = ["--since", "2026-03-01", "--until", "2026-03-01"];
    let report = report(&env, "UTC", &args);
    assert_eq!(report["total"]["cost_usd"].as_f64().unwrap().to_bits(), 3_999_999.999_999_999_f64.to_bits());
    assert!(cost(&env, &args).run().stdout.contains("$3,999,999.999999999"));
}

#[test]
fn an_empty_store_is_no_error() {
    let env = TestEnv::new();
    let args = ["--since", "2026-03-01", "--until", "2026-03-07"];
    let run = |format: &str| cost(&env, &[&args[..], &["--format", format]].concat()).run().expect_status(0);
    assert_run!(run("table"));
    assert_run!(run("json"));
    assert_eq!(run("jsonl").stdout, "");
    assert_eq!(run("csv").stdout.lines().count(), 1);
    let today = cost(&env, &[]).run().expect_status(0);
    assert!(today.stdout.starts_with("No calls on "), "{today}");
}

#[test]
fn both_ends_of_a_period_are_in_it() {
    let env = home(&[
        dollar("2026-02-28T23:59:59Z"),
        dollar("2026-03-01T00:00:00Z"),
        dollar("2026-03-03T23:59:59Z"),
        dollar("2026-03-04T00:00:00Z"),
    ]);
    let days = days(&env, "UTC", "2026-03-01", "2026-03-03");
    assert_eq!(days, [("2026-03-01".to_owned(), 1.0), ("2026-03-03".to_owned(), 1.0)]);
}

#[test]
fn a_day_is_the_users_day() {
    let env = home(&[dollar("2026-03-01T18:29:00Z"), dollar("2026-03-01T18:31:00Z")]);
    let apart = [("2026-03-01".to_owned(), 1.0), ("2026-03-02".to_owned(), 1.0)];
    assert_eq!(days(&env, "Asia/Kolkata", "2026-03-01", "2026-03-02"), apart);
    assert_eq!(days(&env, "UTC", "2026-03-01", "2026-03-02"), [("2026-03-01".to_owned(), 2.0)]);
    let report = report(&env, "Asia/Kolkata", &["--since", "2026-03-02", "--until", "2026-03-02"]);
    assert_eq!(
        (&report["from"], &report["to"]),
        (&json!("2026-03-02T00:00:00+05:30"), &json!("2026-03-03T00:00:00+05:30"))
    );
    assert_eq!(report["total"]["calls"], 1);
}

#[test]
fn every_zone_in_use_begins_its_days_on_time() {
    // The last moment of 28 February and the first of 1 March.
    for (zone, before, after) in [
        ("Asia/Kathmandu", "2026-02-28T18:14:00Z", "2026-02-28T18:15:00Z"),
        ("America/St_Johns", "2026-03-01T03:29:00Z", "2026-03-01T03:30:00Z"),
        ("Australia/Adelaide", "2026-02-28T13:29:00Z", "2026-02-28T13:30:00Z"),
        ("Pacific/Chatham", "2026-02-28T10:14:00Z", "2026-02-28T10:15:00Z"),
        ("Pacific/Kiritimati", "2026-02-28T09:59:00Z", "2026-02-28T10:00:00Z"),
        ("Pacific/Pago_Pago", "2026-03-01T10:59:00Z", "2026-03-01T11:00:00Z"),
    ] {
        let env = home(&[dollar(before), dollar(after)]);
        let apart = [("2026-02-28".to_owned(), 1.0), ("2026-03-01".to_owned(), 1.0)];
        assert_eq!(days(&env, zone, "2026-02-28", "2026-03-01"), apart, "{zone}");
    }
}

#[test]
fn a_day_on_which_clocks_change_is_shorter_or_longer() {
    let zone = "America/New_York";
    // Begins at 05:00 UTC in winter time, ends at 04:00 UTC in summer time.
    let env = home(&[
        dollar("2026-03-08T04:59:00Z"),
        dollar("2026-03-08T05:00:00Z"),
        dollar("2026-03-09T03:59:00Z"),
        dollar("2026-03-09T04:00:00Z"),
    ]);
    let day = |day: &str, cost: f64| (day.to_owned(), cost);
    let spring = [day("2026-03-07", 1.0), day("2026-03-08", 2.0), day("2026-03-09", 1.0)];
    assert_eq!(days(&env, zone, "2026-03-07", "2026-03-09"), spring);
    let spring = report(&env, zone, &["--since", "2026-03-08", "--until", "2026-03-08"]);
    assert_eq!(
        (&spring["from"], &spring["to"]),
        (&json!("2026-03-08T00:00:00-05:00"), &json!("2026-03-09T00:00:00-04:00"))
    );
    assert_eq!(spring["total"]["calls"], 2);
    let env = home(&[
        dollar("2026-11-01T03:59:00Z"),
        dollar("2026-11-01T04:00:00Z"),
        dollar("2026-11-02T04:59:00Z"),
        dollar("2026-11-02T05:00:00Z"),
    ]);
    let autumn = [day("2026-10-31", 1.0), day("2026-11-01", 2.0), day("2026-11-02", 1.0)];
    assert_eq!(days(&env, zone, "2026-10-31", "2026-11-02"), autumn);
}

#[test]
fn a_day_without_a_midnight_begins_when_it_does() {
    // In Havana, midnight of 8 March 2026 is skipped.
    let env = home(&[dollar("2026-03-08T04:59:00Z"), dollar("2026-03-08T05:00:00Z")]);
    let apart = [("2026-03-07".to_owned(), 1.0), ("2026-03-08".to_owned(), 1.0)];
    assert_eq!(days(&env, "America/Havana", "2026-03-07", "2026-03-08"), apart);
}

#[test]
fn words_for_days_are_understood() {
    use chrono::{DateTime, Datelike, FixedOffset, TimeDelta, Weekday};
    let env = TestEnv::new();
    let period = |args: &[&str]| {
        let report = report(&env, "UTC", args);
        let time = |field: &str| {
            DateTime::<FixedOffset>::parse_from_rfc3339(report[field].as_str().unwrap()).unwrap()
        };
        (time("from"), time("to") - time("from"))
    };
    assert_eq!(period(&[]).1, TimeDelta::days(1));
    assert_eq!(period(&["--since", "today"]).1, TimeDelta::days(1));
    assert_eq!(period(&["--since", "yesterday"]).1, TimeDelta::days(2));
    assert_eq!(period(&["--since", "yesterday", "--until", "yesterday"]).1, TimeDelta::days(1));
    assert_eq!(period(&["--since", "7d"]).1, TimeDelta::days(7));
    assert_eq!(period(&["--since", "1d"]).1, TimeDelta::days(1));
    assert_eq!(period(&["--since", "week"]).0.weekday(), Weekday::Mon);
    assert_eq!(period(&["--since", "month"]).0.day(), 1);
}

#[test]
fn a_call_of_just_now_is_in_todays_sums() {
    let env = TestEnv::new();
    let _ = env.llmops(["chat", "-m", "sim/echo", "hi"]).run().expect_status(0);
    // From yesterday, as midnight may pass in between.
    let report = report(&env, "UTC", &["--since", "yesterday"]);
    assert_eq!((&report["total"]["calls"], &report["total"]["cost_usd"]), (&json!(1), &json!(0.0)));
    assert_eq!(
        (&report["rows"][0]["model"], &report["rows"][0]["provider"]),
        (&json!("echo"), &json!("sim"))
    );
}

#[test]
fn a_word_that_is_no_day_is_refused() {
    let env = TestEnv::new();
    assert_run!(cost(&env, &["--since", "tomorrow-ish"]).run().expect_status(2));
    for word in
        ["", "2026-02-30", "0d", "-3d", "d", "2026-3", "03/01/2026", "99999999999999999999d", "monday?"]
    {
        for option in ["--since", "--until"] {
            let output = cost(&env, &[&format!("{option}={word}")]).run().expect_status(2);
            assert_eq!(output.stdout, "");
            assert!(output.stderr.starts_with(&format!("error: `{word}` is not a day\nhint: ")), "{output}");
        }
    }
}

#[test]
fn a_period_that_ends_before_it_begins_is_refused() {
    let env = TestEnv::new();
    assert_run!(cost(&env, &["--since", "2026-03-02", "--until", "2026-03-01"]).run().expect_status(2));
}

#[test]
fn the_end_of_time_is_a_day_too() {
    let env = home(&MARCH);
    let all = report(&env, "UTC", &["--since", "0001-01-01", "--until", "9999-12-31"]);
    assert_eq!(all["total"]["calls"], 13);
    for word in ["+262142-12-31", "-262143-01-01", "2900000d"] {
        let output = cost(&env, &["--until=9999-12-31", &format!("--since={word}")]).run();
        assert!(
            output.status == 0 || (output.status == 2 && output.stderr.starts_with("error: ")),
            "{output}"
        );
    }
}

#[test]
fn groups_that_do_not_exist_are_refused() {
    let env = TestEnv::new();
    for args in [&["--by", "moon"], &["--by", "tag:"], &["--by", "flag:x"], &["--format", "xml"]] {
        let output = cost(&env, args).run().expect_status(2);
        assert!(output.stderr.contains(args[1]) && output.stderr.contains("possible values"), "{output}");
    }
    let output = cost(&env, &["--by", "comand"]).run().expect_status(2);
    assert!(output.stderr.contains("did you mean `command`?"), "{output}");
}

#[test]
fn options_of_a_report_are_refused_before_another_command() {
    let env = TestEnv::new();
    let refused = |args: &[&str], what: &str| {
        let output = env.llmops(args).run().expect_status(2);
        assert_eq!(output.stderr.lines().next(), Some(format!("error: {what}").as_str()), "{args:?}");
    };
    refused(&["cost", "--format", "json", "prices"], "'--format' must stand behind 'prices'");
    refused(&["cost", "--since", "1d", "explain", "x"], "'--since' cannot be used with 'explain'");
    refused(&["cost", "prices", "gpt-4o", "reset", "--yes"], "'[MODEL]' cannot be used with 'reset'");
    refused(&["calls", "--last", "3", "show", "x"], "'--last' cannot be used with 'show'");
    let _ = env.llmops(["cost", "--db", "x.db", "-q", "prices", "gpt-4o"]).run().expect_status(0);
}
