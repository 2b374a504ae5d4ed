//! Sums by everything that calls can be grouped by.

use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::{Spent, cost, home, report, spent};
use crate::support::{TestEnv, assert_run};

/// When, who, in order: model, command, status, user, tags, cost in dollars; none is unpriced.
type Booked =
    (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str, Option<i64>);

const BOOKED: [Booked; 6] = [
    ("2026-03-01T10:00:00Z", "openai/gpt-5.4", "chat", "ok", "ann", r#"{"team":"red"}"#, Some(3)),
    ("2026-03-01T10:00:00Z", "openai/gpt-5.4", "chat", "error", "ann", r#"{"team":"red"}"#, Some(0)),
    (
        "2026-03-01T11:30:00Z",
        "openai/gpt-5.4-nano",
        "batch",
        "ok",
        "bob",
        r#"{"team":"blue","a.b":"dot"}"#,
        Some(1),
    ),
    ("2026-03-02T10:15:00Z", "groq/llama", "stream", "partial", "", r#"{"team":"red"}"#, Some(5)),
    ("2026-03-02T10:15:00Z", "groq/llama", "stream", "ok", "", "{}", None),
    ("2026-03-02T10:45:00Z", "groq/llama", "", "", "", "{}", Some(2)),
];

/// A home in which this and nothing else is booked, one call each.
fn booked() -> TestEnv {
    let env = home(&[]);
    let store = Connection::open(env.db_path()).unwrap();
    store.execute_batch("DELETE FROM ledger; DELETE FROM accounts;").unwrap();
    for (at, model, command, status, user, tags, dollars) in BOOKED {
        let (provider, model) = model.split_once('/').unwrap();
        let (nanos, unpriced) = (dollars.unwrap_or(0) * 1_000_000_000, i64::from(dollars.is_none()));
        let account =
            "INSERT INTO accounts (provider, model, origin, status, user, tags) VALUES (?, ?, ?, ?, ?, ?)
            ON CONFLICT DO NOTHING";
        let _ = store.execute(account, params![provider, model, command, status, user, tags]).unwrap();
        let account = params![provider, model, command, status, user, tags];
        let id: i64 = store
            .query_row(
                "SELECT id FROM accounts WHERE provider = ? AND model = ? AND origin = ? AND status = ?
                    AND user = ? AND tags = ?",
                account,
                |row| row.get(0),
            )
            .unwrap();
        let ledger = "INSERT INTO ledger VALUES (unixepoch(?) / 900, ?, 1, 100, 0, 10, ?, ?)";
        let _ = store.execute(ledger, params![at, id, nanos, unpriced]).unwrap();
        let spend = "INSERT INTO spend VALUES (unixepoch(?1) / 900, ?2, ?3, 1, 100, 0, 10, ?4, ?5)
            ON CONFLICT DO UPDATE SET calls = calls + 1, cost_nanos = cost_nanos + excluded.cost_nanos,
            unpriced_calls = unpriced_calls + excluded.unpriced_calls, input_tokens = input_tokens + 100,
            output_tokens = output_tokens + 10";
        let _ = store.execute(spend, params![at, provider, model, nanos, unpriced]).unwrap();
    }
    env
}

const MARCH: [&str; 4] = ["--since", "2026-03-01", "--until", "2026-03-02"];

fn by(groups: &[&str]) -> Vec<String> {
    let by = groups.iter().flat_map(|group| ["--by", group]);
    MARCH.into_iter().chain(by).map(str::to_owned).collect()
}

/// The values of these fields, and the cost, of all rows.
fn rows(env: &TestEnv, groups: &[&str], fields: &[&str]) -> Value {
    let args = by(groups);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let report = report(env, "UTC", &args);
    assert_eq!((&report["total"]["calls"], &report["total"]["cost_usd"]), (&json!(6), &json!(11.0)));
    let row = |row: &Value| -> Value {
        fields.iter().chain(&["cost_usd"]).map(|field| row.get(field).unwrap().clone()).collect()
    };
    report["rows"].as_array().unwrap().iter().map(row).collect()
}

#[test]
fn calls_are_summed_by_whatever_they_have() {
    let env = booked();
    let of = |group: &str| rows(&env, &[group], &[group]);
    assert_eq!(of("day"), json!([["2026-03-01", 4.0], ["2026-03-02", 7.0]]));
    assert_eq!(of("provider"), json!([["groq", 7.0], ["openai", 4.0]]));
    assert_eq!(of("user"), json!([[null, 7.0], ["ann", 3.0], ["bob", 1.0]]));
    assert_eq!(of("tag:team"), json!([["red", 8.0], [null, 2.0], ["blue", 1.0]]));
    assert_eq!(of("tag:a.b"), json!([[null, 10.0], ["dot", 1.0]]));
    assert_eq!(of("command"), json!([["stream", 5.0], ["chat", 3.0], [null, 2.0], ["batch", 1.0]]));
    assert_eq!(of("status"), json!([["partial", 5.0], ["ok", 4.0], [null, 2.0], ["error", 0.0]]));
    let hours = json!([
        ["2026-03-01T10:00:00+00:00", 3.0],
        ["2026-03-01T11:00:00+00:00", 1.0],
        ["2026-03-02T10:00:00+00:00", 7.0]
    ]);
    assert_eq!(of("hour"), hours);
}

#[test]
fn groups_can_be_mixed() {
    let env = booked();
    assert_eq!(
        rows(&env, &["user", "day", "tag:team"], &["day", "user", "tag:team"]),
        json!([
            ["2026-03-01", "ann", "red", 3.0],
            ["2026-03-01", "bob", "blue", 1.0],
            ["2026-03-02", null, "red", 5.0],
            ["2026-03-02", null, null, 2.0]
        ])
    );
    let both = rows(&env, &["provider", "model", "provider"], &["provider", "model"]);
    assert_eq!(
        both,
        json!([["groq", "llama", 7.0], ["openai", "gpt-5.4", 3.0], ["openai", "gpt-5.4-nano", 1.0]])
    );
    let all = ["day", "hour", "model", "provider", "user", "tag:team", "tag:no", "command", "status"];
    let all_rows = rows(&env, &all, &all);
    assert_eq!(all_rows.as_array().unwrap().len(), BOOKED.len());
}

#[test]
fn a_group_without_a_name_is_shown() {
    let env = booked();
    let run = |groups: &[&str], more: &[&str]| {
        let args = by(groups);
        let args: Vec<&str> = args.iter().map(String::as_str).chain(more.iter().copied()).collect();
        cost(&env, &args).run().expect_status(0)
    };
    assert_run!(run(&["user", "tag:team"], &[]));
    assert_run!(run(&["command", "status"], &["--format", "csv"]));
    let csv = run(&["tag:a.b"], &["--format", "csv"]).stdout;
    assert_eq!(csv.lines().nth(2), Some("dot,1,100,0,10,1,0"), "{csv}");
    assert!(csv.starts_with("tag:a.b,calls,") && csv.contains("\n,5,"), "{csv}");
}

#[test]
fn models_without_a_price_are_named() {
    let env = booked();
    let report = report(&env, "UTC", &[&MARCH[..], &["--by", "user"]].concat());
    assert_eq!(
        report["unpriced_models"],
        json!([{"model": "llama", "provider": "groq", "unpriced_calls": 1}])
    );
    let table = cost(&env, &MARCH).run().stdout;
    let expected = ": 1\nOf models without a price:\n  1 of groq/llama\n`llmops cost prices import`";
    assert!(table.contains(expected) && !table.contains("cost explain"), "{table}");
}

#[test]
fn new_prices_are_not_said_to_help_where_there_are_some() {
    let unpriced =
        |model| Spent { unpriced: 2, ..spent("2026-03-01T10:00:00Z", model, 3, [1, 0, 1], 1_000_000_000) };
    let env = home(&[unpriced("openai/gpt-5.4")]);
    let table = cost(&env, &MARCH).run().expect_status(0).stdout;
    assert!(!table.contains("import"), "{table}");
    let env = home(&[unpriced("openai/gpt-5.4"), unpriced("nobody/knows-it")]);
    assert_run!(cost(&env, &MARCH).run().expect_status(0));
}

/// The report of these calls alone.
fn only(env: &TestEnv, filter: &[&str]) -> Value {
    report(env, "UTC", &[&MARCH, filter].concat())
}

#[test]
fn a_report_can_be_of_some_calls() {
    let env = booked();
    for (filter, calls, dollars) in [
        (&["--user", "ann"][..], 2, 3.0),
        (&["--user", "nobody"], 0, 0.0),
        (&["--provider", "groq"], 3, 7.0),
        (&["--model", "gpt-5.4"], 2, 3.0),
        (&["--model", "openai/gpt-5.4-nano"], 1, 1.0),
        (&["--model", "groq/gpt-5.4"], 0, 0.0),
        (&["--tag", "team=red"], 3, 8.0),
        (&["--tag", "team=blue", "--tag", "a.b=dot"], 1, 1.0),
        (&["--tag", "team=red", "--tag", "a.b=dot"], 0, 0.0),
        (&["--status", "ok"], 3, 4.0),
        (&["--command", "stream", "--status", "partial"], 1, 5.0),
    ] {
        for by in ["model", "day", "user"] {
            let report = only(&env, &[filter, &["--by", by]].concat());
            assert_eq!(report["total"]["calls"], calls, "{filter:?}");
            let sum: f64 =
                report["rows"].as_array().unwrap().iter().filter_map(|row| row["cost_usd"].as_f64()).sum();
            assert!((sum - dollars).abs() < 1e-9, "{filter:?}: {report}");
        }
    }
    for wrong in [["--status", "fine"], ["--command", "cost"], ["--tag", "team"]] {
        let _ = cost(&env, &wrong).run().expect_status(2);
    }
}

#[test]
fn all_of_a_report_is_of_the_calls_that_are_meant() {
    let env = booked();
    let named = |filter: &[&str]| only(&env, filter)["unpriced_models"].clone();
    assert_eq!(
        named(&["--status", "ok"]),
        json!([{"model": "llama", "provider": "groq", "unpriced_calls": 1}])
    );
    assert_eq!(named(&["--status", "partial"]), json!([]));
    let second = ["--since", "2026-03-02", "--until", "2026-03-02"];
    let before = report(&env, "UTC", &[&second[..], &["--user", "bob"]].concat());
    assert_eq!(
        (&before["total"]["calls"], &before["previous"]["total"]["cost_usd"]),
        (&json!(0), &json!(1.0))
    );
    let none = cost(&env, &[&second[..], &["--user", "bob"]].concat()).run().stdout;
    assert!(none.starts_with("No such calls on 2026-03-02 (UTC+00:00).\nBefore: $1.00 "), "{none}");
    assert_run!(cost(&env, &[&second[..], &["--tag", "team=red", "--by", "user"]].concat()).run());
}

#[test]
fn calls_of_now_are_summed_by_user_and_label() {
    let env = TestEnv::new();
    let call = ["chat", "-m", "sim/echo", "--user", "ann", "--tag", "team=red", "hi"];
    let _ = env.llmops(call).run().expect_status(0);
    let args =
        ["--since", "yesterday", "--by", "user", "--by", "tag:team", "--by", "command", "--by", "status"];
    let report = report(&env, "UTC", &args);
    let row = &report["rows"][0];
    let row = ["user", "tag:team", "command", "status", "calls"].map(|field| row[field].clone());
    assert_eq!(row, [json!("ann"), json!("red"), json!("chat"), json!("ok"), json!(1)]);
}

#[test]
fn groups_are_offered_with_the_labels_there_are() {
    let env = TestEnv::new();
    let call = ["chat", "-m", "sim/echo", "--tag", "team=red", "hi"];
    let _ = env.llmops(call).run().expect_status(0);
    let offered = |word: &str| {
        let line = ["--", "llmops", "cost", "--by", word];
        env.llmops(line).env("LLMOPS_COMPLETE", "fish").run().expect_status(0).stdout
    };
    assert_eq!(offered("tag"), "tag:team\n");
    assert_eq!(offered("d"), "day\n");
}
