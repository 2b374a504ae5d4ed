//! `llmops cost budget` as users meet it: what is set, listed and refused, in which periods, and in which words.

mod clocks;
mod edges;
mod limits;
mod mistakes;
mod records;
mod scopes;
mod waits;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{Output, Run, TestEnv, assert_run, redact, shown};

/// Every answer of `sim/dollar` and `sim/other` is one token and costs a dollar; so does every input token of
/// `sim/reader`.
const CONFIG: &str = "model: sim/dollar
sim:
  models:
    dollar: {answer: a, price: {input: 0, output: 1000000}}
    other: {answer: a, price: {input: 0, output: 1000000}}
    reader: {answer: a, price: {input: 1000000, output: 0}}
";

fn home() -> TestEnv {
    let env = TestEnv::new();
    env.write_config(CONFIG);
    env
}

fn budget(env: &TestEnv, args: &[&str]) -> Run {
    env.llmops([&["cost", "budget"], args].concat())
}

/// Sets a budget; what is known of it then.
#[track_caller]
fn set(env: &TestEnv, args: &[&str]) -> Value {
    budget(env, &[&["set", "--format", "json"], args].concat()).run().expect_status(0).json()
}

#[track_caller]
fn budgets(env: &TestEnv) -> Vec<Value> {
    budget(env, &["--format", "jsonl"]).run().expect_status(0).jsonl()
}

/// The fields of the budgets there are.
#[track_caller]
fn listed(env: &TestEnv, fields: &[&str]) -> Value {
    let row = |budget: Value| -> Value { fields.iter().map(|field| budget[field].clone()).collect() };
    budgets(env).into_iter().map(row).collect()
}

/// A call for a dollar.
fn dollar(env: &TestEnv, args: &[&str]) -> Run {
    env.llmops([&["chat", "--max-tokens", "1"], args, &["hi"]].concat())
}

#[track_caller]
fn spend(env: &TestEnv, args: &[&str]) -> Output {
    dollar(env, args).run().expect_status(0)
}

#[test]
fn budgets_are_set_changed_listed_and_taken_away() {
    let env = home();
    assert_run!(budget(&env, &[]).run().expect_status(0));
    spend(&env, &["--user", "ann"]);
    assert_run!(budget(&env, &["set", "50"]).run().expect_status(0));
    set(&env, &["0.5", "--user", "ann", "--period", "month", "--warn", "80%"]);
    set(&env, &["1", "--model", "dollar", "--period", "total"]);
    set(
        &env,
        &["20", "--provider", "groq", "--tag", "team=red", "--period", "week", "--time-zone", "Asia/Tokyo"],
    );
    assert_run!(budget(&env, &[]).run().expect_status(0));
    assert_run!(budget(&env, &["--format", "csv"]).run().expect_status(0));
    assert_run!(budget(&env, &["check"]).run().expect_status(4));
    assert_run!(budget(&env, &["rm", "3", "2", "3"]).run().expect_status(0));
    assert_eq!(listed(&env, &["id", "period"]), json!([[1, "day"], [4, "week"]]));
    assert_eq!(budget(&env, &["check"]).run().expect_status(0).stdout, "");
    for columns in [60, 120] {
        let screen = budget(&env, &[]).on_terminal(columns).wait().expect_status(0).stdout;
        let screen = shown(&screen);
        let wide = screen.lines().find(|line| console::measure_text_width(line) > columns.into());
        assert!(wide.is_none(), "{columns}: {wide:?}");
        insta::assert_snapshot!(redact(&screen));
    }
}

#[test]
fn a_budget_is_read_by_programs_too() {
    let env = home();
    spend(&env, &[]);
    let args = ["4", "--model", "dollar", "--user", "ann", "--tag", "team=red", "--period", "total"];
    let expected = json!({
        "id": 1,
        "scope": {"model": "dollar", "provider": "sim", "user": "ann", "tag": "team=red", "route": null},
        "period": "total",
        "time_zone": "UTC",
        "limit_usd": 4.0,
        "spent_usd": 0.0,
        "held_usd": 0.0,
        "remaining_usd": 4.0,
        "percent": 0.0,
        "overrun_usd": 0.0,
        "unknown_usd": 0.0,
        "unpriced_calls": 0,
        "exhausted": false,
        "refused_usd": null,
        "warn_percent": null,
        "from": null,
        "resets_at": null,
        "holders": [],
    });
    assert_eq!(set(&env, &args), expected);
    assert_eq!(json!(budgets(&env)), json!([expected]));
    let report = env.llmops(["cost", "--format", "json"]).run().expect_status(0).json();
    assert_eq!(report["budgets"], json!([expected]));
    spend(&env, &["--user", "ann", "--tag", "team=red"]);
    let figures = ["spent_usd", "remaining_usd", "percent"];
    assert_eq!(listed(&env, &figures), json!([[1.0, 3.0, 25.0]]));
}

#[test]
fn a_change_leaves_alone_what_it_does_not_name() {
    let env = home();
    let first = set(&env, &["4", "--warn", "80%", "--time-zone", "Asia/Tokyo"]);
    spend(&env, &[]);
    let fields = ["id", "limit_usd", "warn_percent", "time_zone", "spent_usd"];
    assert_eq!(first["id"], 1);
    set(&env, &["5"]);
    assert_eq!(listed(&env, &fields), json!([[1, 5.0, 80.0, "Asia/Tokyo", 1.0]]));
    set(&env, &["5", "--warn", "12.5%"]);
    assert_eq!(listed(&env, &fields), json!([[1, 5.0, 12.5, "Asia/Tokyo", 1.0]]));
    set(&env, &["5", "--time-zone", "Europe/Berlin"]);
    assert_eq!(listed(&env, &["id", "warn_percent", "time_zone"]), json!([[1, 12.5, "Europe/Berlin"]]));
    // Another period or scope is another budget, and changes use up no numbers.
    assert_eq!(set(&env, &["5", "--period", "week"])["id"], 2);
    assert_eq!(set(&env, &["5", "--user", "ann"])["id"], 3);
}

#[test]
fn two_who_set_one_budget_at_once_make_one() {
    for _ in 0..3 {
        let env = home();
        let both = ["5", "6"].map(|limit| budget(&env, &["set", limit, "--user", "ann"]).spawn());
        for running in both {
            let _ = running.wait().expect_status(0);
        }
        let listed = budgets(&env);
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert!([5.0, 6.0].contains(&listed[0]["limit_usd"].as_f64().unwrap()), "{listed:?}");
    }
}

#[test]
fn a_limit_that_is_lowered_below_what_was_spent_is_said_to_be_passed() {
    let env = home();
    spend(&env, &[]);
    assert_run!(budget(&env, &["set", "0.25", "--period", "total"]).run().expect_status(0));
    // All of it is not more than all of it, and nobody was refused.
    let exactly = budget(&env, &["set", "1", "--period", "total"]).run().expect_status(0).stdout;
    assert_eq!(exactly.lines().count(), 2, "{exactly}");
    let nothing = budget(&env, &["set", "0", "--user", "ann"]).run().expect_status(0).stdout;
    assert_eq!(nothing.lines().count(), 2, "{nothing}");
    assert_eq!(
        budget(&env, &["check", "2", "--format", "json"]).run().expect_status(4).json()[0]["percent"],
        json!(null)
    );
}

#[test]
fn a_check_is_of_the_budgets_it_names() {
    let env = home();
    set(&env, &["1", "--period", "total"]);
    set(&env, &["1", "--user", "ann", "--period", "total"]);
    spend(&env, &[]);
    let check =
        |args: &[&str], status| budget(&env, &[&["check"], args].concat()).run().expect_status(status);
    assert_eq!(check(&["--format", "jsonl"], 4).jsonl().len(), 1);
    assert_eq!(check(&["2", "--format", "json"], 0).stdout, "[]\n");
    let csv = check(&["1", "2", "--format", "csv"], 4).stdout;
    assert!(csv.lines().nth(1).unwrap().starts_with("1,total,") && csv.lines().count() == 2, "{csv}");
    assert!(check(&["1", "7"], 2).stderr.contains("no budget 7"));
    // Less is left than a call needs that was refused, although it would fit into the whole limit.
    set(&env, &["2", "--user", "bob", "--period", "total"]);
    let _ = budget(&env, &["rm", "1"]).run().expect_status(0);
    spend(&env, &["--user", "bob"]);
    assert_eq!(check(&[], 0).stdout, "");
    let _ = env.llmops(["chat", "--max-tokens", "2", "--user", "bob", "hi"]).run().expect_status(4);
    assert!(check(&[], 4).stdout.contains("Budget 3: too little is left for a call that was refused"));
}

#[test]
fn a_store_that_is_missing_or_newer_is_told() {
    let env = home();
    let missing = |args: &[&str]| budget(&env, &[args, &["--db", "no.db"]].concat()).run();
    for args in [&[][..], &["check"], &["rm", "1"]] {
        assert!(missing(args).expect_status(2).stderr.contains("there is no store no.db"));
    }
    assert!(!env.path("no.db").exists());
    let _ = missing(&["set", "5"]).expect_status(0);
    assert_eq!(missing(&["--format", "jsonl"]).expect_status(0).jsonl().len(), 1);
    Connection::open(env.path("no.db")).unwrap().pragma_update(None, "user_version", 99).unwrap();
    for args in [&[][..], &["check"], &["rm", "1"], &["set", "6"]] {
        let output = missing(args).expect_status(2);
        assert!(output.stderr.starts_with("error: ") && output.stderr.contains("\nhint: "), "{output}");
    }
}

#[test]
fn names_in_budgets_do_nothing_to_the_terminal() {
    let env = home();
    let name = "an\u{1b}[31mn\nx";
    set(&env, &["1", "--user", name, "--warn", "1%", "--period", "month"]);
    let ask = |more: &[&str]| dollar(&env, &[&["--user", name], more].concat());
    let warned = ask(&[]).run().expect_status(0);
    assert!(warned.stderr.starts_with("warning: 1 % of budget 1 (month, user an"), "{warned}");
    let refused = ask(&[]).run().expect_status(4);
    let waiting = ask(&["--wait"]).spawn();
    let line = waiting.wait_for_stderr("waiting:");
    waiting.signal(crate::support::Signal::INT);
    let waited = waiting.wait().expect_status(130);
    assert!(line.contains("is left"), "{waited}");
    let table = budget(&env, &[]).run().expect_status(0);
    let report = env.llmops(["cost"]).run().expect_status(0);
    let removed = budget(&env, &["rm", "1"]).run().expect_status(0);
    assert_eq!(removed.stdout.lines().count(), 1, "{removed}");
    for output in [warned, refused, waited, table, report, removed] {
        assert!(!format!("{}{}", output.stdout, output.stderr).contains('\u{1b}'), "{output}");
    }
}
