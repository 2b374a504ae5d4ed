//! `llmops cost reprice`: calls and both rollups change together, whoever else writes and whenever it ends.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::path::nanos;
use crate::support::{Output, Signal, TestEnv, shown};

/// A home whose simulator asks this much for a million input tokens.
fn home(input: &str) -> TestEnv {
    let env = TestEnv::new();
    priced(&env, input);
    env
}

fn priced(env: &TestEnv, input: &str) {
    env.write_config(&format!(
        "sim: {{models: {{support: {{answer: hi, price: {{input: {input}, output: 1}}}}}}}}\n"
    ));
}

/// Makes so many calls.
fn batch(env: &TestEnv, count: usize) {
    env.write("prompts.txt", "a question\n".repeat(count));
    let _ = env.llmops(BATCH).run().expect_status(0);
}

const BATCH: [&str; 7] = ["batch", "prompts.txt", "-m", "sim/support", "-q", "-j", "16"];

fn reprice(env: &TestEnv, args: &[&str]) -> Output {
    env.llmops([&["cost", "reprice", "--since", "yesterday"], args].concat()).run().expect_status(0)
}

fn report(env: &TestEnv, args: &[&str]) -> Value {
    reprice(env, &[args, &["--format", "json"]].concat()).json()
}

/// Both rollups hold what the calls on record add up to, quarter hour by quarter hour; returns their sum.
#[track_caller]
fn assert_in_agreement(env: &TestEnv) -> i64 {
    const SUMS: &str = "count(*), ifnull(sum(cost_nanos), 0), sum(cost_nanos IS NULL)";
    const ROLLED: &str = "sum(calls), sum(cost_nanos), sum(unpriced_calls)";
    let store = env.db();
    let rows = |query: &str| -> Vec<[i64; 4]> {
        let mut query = store.prepare(query).unwrap();
        let row = |row: &rusqlite::Row<'_>| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]);
        query.query_map([], row).unwrap().map(Result::unwrap).collect()
    };
    // One moment for all three.
    store.execute_batch("BEGIN").unwrap();
    let calls = rows(&format!("SELECT started_us / 900000000, {SUMS} FROM calls GROUP BY 1 ORDER BY 1"));
    for table in ["spend", "ledger"] {
        let rolled = rows(&format!("SELECT quarter, {ROLLED} FROM {table} GROUP BY 1 ORDER BY 1"));
        assert_eq!(rolled, calls, "{table}");
    }
    store.execute_batch("COMMIT").unwrap();
    calls.iter().map(|row| row[2]).sum()
}

#[test]
fn another_price_changes_calls_and_what_was_spent() {
    let env = home("1");
    batch(&env, 7);
    let before = assert_in_agreement(&env);
    priced(&env, "3");
    let dry = report(&env, &["--dry-run"]);
    assert_eq!(assert_in_agreement(&env), before);
    assert_eq!((&dry["dry_run"], &dry["total"]["changed"]), (&json!(true), &json!(7)));
    let done = report(&env, &[]);
    assert_eq!((&done["rows"], &done["total"]), (&dry["rows"], &dry["total"]));
    let row = &done["rows"][0];
    assert_eq!(
        (&row["model"], &row["provider"], &row["calls"]),
        (&json!("support"), &json!("sim"), &json!(7))
    );
    let after = assert_in_agreement(&env);
    assert!(after > before);
    assert_eq!(nanos(&row["before_usd"]), before);
    assert_eq!(nanos(&row["after_usd"]), after);
    assert_eq!(nanos(&row["difference_usd"]), after - before);
    let spent = env.llmops(["cost", "--since", "yesterday", "--format", "json"]).run().json();
    assert_eq!(nanos(&spent["total"]["cost_usd"]), after);
    let explained = env.llmops(["cost", "explain", &newest(&env), "--format", "json"]).run().json();
    assert_eq!(explained["attempts"][0]["parts"][0]["usd_per_mtok"], 3.0);
    assert_eq!(nanos(&explained["cost_usd"]) * 7, after);
    let again = report(&env, &[]);
    assert_eq!((&again["total"]["changed"], nanos(&again["total"]["difference_usd"])), (&json!(0), 0));
    assert!(reprice(&env, &[]).stdout.ends_with("\nNothing changes.\n"));
}

fn newest(env: &TestEnv) -> String {
    let calls = env.llmops(["calls", "--last", "1", "--format", "json"]).run().json();
    calls[0]["call_id"].as_str().unwrap().to_owned()
}

#[test]
fn only_the_calls_that_are_meant_change() {
    let env = home("1");
    batch(&env, 2);
    let _ = env.llmops(["chat", "-m", "sim/echo", "hi"]).run().expect_status(0);
    let _ = env.llmops(["chat", "-m", "sim/support", "--user", "u1", "hi"]).run().expect_status(0);
    priced(&env, "2");
    let total = |args: &[&str]| {
        let total = report(&env, args)["total"].clone();
        (total["calls"].as_u64().unwrap(), total["changed"].as_u64().unwrap())
    };
    assert_eq!(total(&["--until", "yesterday"]), (0, 0));
    assert_eq!(total(&["--model", "echo"]), (1, 0));
    assert_eq!(total(&["--user", "u1"]), (1, 1));
    assert_eq!(total(&["--model", "sim/support", "--command", "batch"]), (2, 2));
    assert_eq!(total(&["--provider", "sim"]), (4, 0));
    assert_in_agreement(&env);
    let missing = env.llmops(["cost", "reprice"]).run().expect_status(2);
    assert!(missing.stderr.contains("--since"), "{missing}");
}

#[test]
fn without_a_store_there_is_nothing_to_change() {
    let env = TestEnv::new();
    assert_eq!(reprice(&env, &[]).stdout, "No such calls.\n");
    assert!(!env.db_path().exists());
}

#[test]
fn somebody_at_a_terminal_is_asked_first() {
    let env = home("1");
    batch(&env, 2);
    priced(&env, "2");
    let before = assert_in_agreement(&env);
    let ask = || env.llmops(["cost", "reprice", "--since", "yesterday"]).on_terminal(60);
    for (answer, status) in [("n", 1), ("y", 0)] {
        let mut terminal = ask();
        terminal.wait_for("Change the prices of 2 calls");
        terminal.type_text(answer);
        let screen = shown(&terminal.wait().expect_status(status).stdout);
        assert!(screen.lines().all(|line| line.chars().count() <= 60 || line.contains("Change")), "{screen}");
        assert_eq!(assert_in_agreement(&env) > before, status == 0);
    }
    // Where nothing changes there is nothing to ask.
    assert!(ask().wait().expect_status(0).stdout.contains("Nothing changes."));
}

#[test]
fn calls_may_be_recorded_meanwhile() {
    let env = home("1");
    batch(&env, 600);
    priced(&env, "2");
    env.write("prompts.txt", "another question\n".repeat(600));
    let mut running = env.llmops(BATCH).spawn();
    // At other prices than the batch's, over and over until it has ended.
    for price in (3..8).cycle() {
        priced(&env, &price.to_string());
        let _ = reprice(&env, &[]);
        assert_in_agreement(&env);
        if running.has_ended() {
            break;
        }
    }
    let _ = running.wait().expect_status(0);
    assert_in_agreement(&env);
    let last = report(&env, &[]);
    assert_eq!(last["total"]["calls"], 1200);
    assert_eq!(nanos(&last["total"]["after_usd"]), assert_in_agreement(&env));
}

#[test]
fn who_stops_it_is_told_what_was_done() {
    let env = home("1");
    batch(&env, 3000);
    let args = ["cost", "reprice", "--since", "yesterday", "--format", "json"];
    let changed = |report: &Value| report["total"]["changed"].as_u64().unwrap();
    // One that has ended before the signal comes says nothing: then with the next price.
    for price in 2..10 {
        let before = assert_in_agreement(&env);
        priced(&env, &price.to_string());
        let running = env.llmops(args).spawn();
        let began = Instant::now();
        while assert_in_agreement(&env) == before && began.elapsed() < Duration::from_secs(20) {
            std::thread::yield_now();
        }
        running.signal(Signal::INT);
        let stopped = running.wait();
        if stopped.status == 0 {
            continue;
        }
        let stopped = stopped.expect_status(130);
        assert!(stopped.stderr.contains("the same command goes on with the rest"), "{stopped}");
        let report = stopped.json();
        assert_eq!(report["complete"], false);
        let after = assert_in_agreement(&env);
        assert_eq!(nanos(&report["total"]["difference_usd"]), after - before, "{report}");
        let rest = env.llmops(args).run().expect_status(0).json();
        assert_eq!((&rest["complete"], &rest["total"]["calls"]), (&json!(true), &json!(3000)));
        assert_eq!(changed(&report) + changed(&rest), 3000);
        return;
    }
    panic!("every one had ended before it was stopped");
}

#[test]
fn a_kill_leaves_calls_and_rollups_in_agreement() {
    let env = home("1");
    batch(&env, 3000);
    let mut killed = 0;
    for price in 2..8 {
        priced(&env, &price.to_string());
        let before = assert_in_agreement(&env);
        let running = env.llmops(["cost", "reprice", "--since", "yesterday"]).spawn();
        let began = Instant::now();
        // Amid the transactions: from the first one on that can be seen.
        while assert_in_agreement(&env) == before && began.elapsed() < Duration::from_secs(20) {
            std::thread::yield_now();
        }
        running.signal(Signal::KILL);
        killed += usize::from(running.wait().status != 0);
        assert_in_agreement(&env);
    }
    assert!(killed > 0, "every one had ended before it was killed");
    let done = report(&env, &[]);
    assert_eq!(nanos(&done["total"]["after_usd"]), assert_in_agreement(&env));
}
