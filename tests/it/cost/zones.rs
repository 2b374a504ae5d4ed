//! Days and hours of named zones, of the system's and of UTC.

use serde_json::Value;

use super::{cost, dollar, home};
use crate::support::{TestEnv, assert_run};

/// The report as JSON, in the zone of the configuration.
fn named(env: &TestEnv, zone: &str, args: &[&str]) -> Value {
    let args = [args, &["--format", "json"]].concat();
    cost(env, &args).env("LLMOPS_TIME_ZONE", zone).run().expect_status(0).json()
}

fn list(report: &Value, field: &str) -> Vec<(String, f64)> {
    let row = |row: &Value| (row[field].as_str().unwrap().to_owned(), row["cost_usd"].as_f64().unwrap());
    report["rows"].as_array().unwrap().iter().map(row).collect()
}

fn at(name: &str, cost: f64) -> (String, f64) {
    (name.to_owned(), cost)
}

#[test]
fn a_named_zone_and_the_systems_are_the_same() {
    for (zone, before, after) in [
        ("Asia/Kolkata", "2026-02-28T18:29:00Z", "2026-02-28T18:30:00Z"),
        ("Asia/Kathmandu", "2026-02-28T18:14:00Z", "2026-02-28T18:15:00Z"),
        ("Pacific/Chatham", "2026-02-28T10:14:00Z", "2026-02-28T10:15:00Z"),
        ("America/St_Johns", "2026-03-01T03:29:00Z", "2026-03-01T03:30:00Z"),
    ] {
        let env = home(&[dollar(before), dollar(after)]);
        let args = ["--by", "day", "--since", "2026-02-28", "--until", "2026-03-01"];
        let report = named(&env, zone, &args);
        assert_eq!(list(&report, "day"), [at("2026-02-28", 1.0), at("2026-03-01", 1.0)], "{zone}");
        assert_eq!(report, super::report(&env, zone, &args), "{zone}");
    }
}

#[test]
fn an_hour_that_occurs_twice_is_two() {
    for (zone, day, spent, hours) in [
        (
            "Europe/Berlin",
            "2026-10-25",
            ["2026-10-25T00:15:00Z", "2026-10-25T01:15:00Z"],
            ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"],
        ),
        (
            "America/New_York",
            "2026-11-01",
            ["2026-11-01T05:15:00Z", "2026-11-01T06:15:00Z"],
            ["2026-11-01T01:00:00-04:00", "2026-11-01T01:00:00-05:00"],
        ),
    ] {
        let env = home(&spent.map(dollar));
        let args = ["--by", "hour", "--since", day, "--until", day];
        let report = named(&env, zone, &args);
        assert_eq!(list(&report, "hour"), hours.map(|hour| at(hour, 1.0)), "{zone}");
        assert_eq!(report, super::report(&env, zone, &args), "{zone}");
        let table = cost(&env, &args).env("TZ", zone).run().stdout;
        let shown = |hour: &str| format!("{} {}", hour[..16].replace('T', " "), &hour[19..]);
        assert!(hours.iter().all(|hour| table.contains(&shown(hour))), "{table}");
    }
}

#[test]
fn an_hour_that_clocks_skip_is_none() {
    for (zone, day, spent, hours) in [
        (
            "Europe/Berlin",
            "2026-03-29",
            ["2026-03-29T00:45:00Z", "2026-03-29T01:00:00Z"],
            ["2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00"],
        ),
        (
            "America/New_York",
            "2026-03-08",
            ["2026-03-08T06:45:00Z", "2026-03-08T07:00:00Z"],
            ["2026-03-08T01:00:00-05:00", "2026-03-08T03:00:00-04:00"],
        ),
    ] {
        let env = home(&spent.map(dollar));
        let args = ["--by", "hour", "--since", day, "--until", day];
        let report = named(&env, zone, &args);
        assert_eq!(list(&report, "hour"), hours.map(|hour| at(hour, 1.0)), "{zone}");
        assert_eq!(report, super::report(&env, zone, &args), "{zone}");
    }
}

#[test]
fn the_heading_names_the_zone() {
    let env = home(&[dollar("2026-03-01T12:00:00Z")]);
    env.write_config("time_zone: Europe/Berlin\n");
    let day = ["--since", "2026-03-01", "--until", "2026-03-01"];
    let heading = |args: &[&str]| {
        let run = cost(&env, &[&day, args].concat()).env("TZ", "Asia/Kolkata").run().expect_status(0);
        run.stdout.lines().next().unwrap().to_owned()
    };
    assert_eq!(heading(&[]), "Spend on 2026-03-01 (Europe/Berlin)");
    assert_eq!(heading(&["--utc"]), "Spend on 2026-03-01 (UTC)");
    env.write_config("");
    assert_eq!(heading(&[]), "Spend on 2026-03-01 (UTC+05:30)");
    // A project may say so, whoever wrote it.
    env.write("llmops.yaml", "time_zone: America/St_Johns\n");
    assert_eq!(heading(&[]), "Spend on 2026-03-01 (America/St_Johns)");
}

#[test]
fn a_zone_that_does_not_exist_is_refused() {
    let env = TestEnv::new();
    env.write("c.yaml", "model: sim/echo\ntime_zone: Europe/Berln\n");
    assert_run!(env.llmops(["cost", "--config", "c.yaml"]).run().expect_status(2));
    for (name, meant) in
        [("Berlin", "Europe/Berlin"), ("europe/berlin", "Europe/Berlin"), ("New York", "America/New_York")]
    {
        let output = cost(&env, &[]).env("LLMOPS_TIME_ZONE", name).run().expect_status(2);
        assert!(output.stderr.contains("LLMOPS_TIME_ZONE"), "{output}");
        assert!(output.stderr.ends_with(&format!("hint: did you mean `{meant}`?\n")), "{output}");
    }
    env.write("c.yaml", "time_zone: 1\n");
    assert!(env.llmops(["cost", "--config", "c.yaml"]).run().expect_status(2).stderr.contains("c.yaml:1:12"));
}

#[test]
fn calls_are_listed_in_the_zone_too() {
    let env = TestEnv::new();
    let _ = env.llmops(["chat", "-m", "sim/echo", "hi"]).run().expect_status(0);
    let call = env.llmops(["calls", "--format", "json"]).run().expect_status(0).json();
    let time = chrono::DateTime::parse_from_rfc3339(call[0]["time"].as_str().unwrap()).unwrap();
    let ahead = chrono::FixedOffset::east_opt(14 * 3600).unwrap();
    let there = time.with_timezone(&ahead).format("%Y-%m-%d %H:%M:%S").to_string();
    let id = call[0]["call_id"].as_str().unwrap();
    for args in [&["calls"][..], &["calls", "show", id], &["calls", "tail"], &["calls", "stats"]] {
        let shown = env.llmops(args).env("LLMOPS_TIME_ZONE", "Pacific/Kiritimati").run().expect_status(0);
        assert!(shown.stdout.contains(&there), "{there}: {shown}");
    }
    // Its day there, which is not the one in UTC for most of the day.
    let day = &there[..10];
    let count = |zone: &str| {
        let args = ["calls", "--since", day, "--until", day, "--format", "json"];
        let listed = env.llmops(args).env("LLMOPS_TIME_ZONE", zone).run().expect_status(0);
        listed.json().as_array().unwrap().len()
    };
    assert_eq!(count("Pacific/Kiritimati"), 1);
    assert_eq!(count("UTC"), usize::from(time.to_utc().format("%Y-%m-%d").to_string() == day));
}
