//! Which calls a budget is for, and that no other is touched.

use serde_json::{Value, json};

use super::{budget, dollar, home, listed, set, spend};
use crate::support::{Reply, Run, TestEnv, Upstream};

/// A question to OpenAI, as the upstream stands in for it.
pub(super) fn openai(env: &TestEnv, upstream: &Upstream, args: &[&str]) -> Run {
    let run = env.llmops([&["chat"], args, &["hi"]].concat());
    run.env("OPENAI_API_KEY", "sk-test").env("OPENAI_BASE_URL", upstream.base_url())
}

#[test]
fn a_new_budget_counts_what_was_spent_in_its_scope() {
    let env = home();
    for args in [
        &["--user", "ann", "--tag", "team=red"][..],
        &["--user", "ann", "--tag", "team=blue"],
        &["--user", "bob", "--tag", "team=red", "-m", "sim/other"],
        &["-m", "sim/other"],
        &[],
    ] {
        spend(&env, args);
    }
    for (scope, spent) in [
        (&[][..], 5.0),
        (&["--model", "dollar"], 3.0),
        (&["--model", "sim/other"], 2.0),
        (&["--provider", "sim"], 5.0),
        (&["--provider", "groq"], 0.0),
        (&["--user", "ann"], 2.0),
        (&["--user", "nobody"], 0.0),
        (&["--tag", "team=red"], 2.0),
        (&["--tag", "team=green"], 0.0),
        (&["--user", "ann", "--tag", "team=red"], 1.0),
        (&["--user", "bob", "--provider", "sim", "--model", "other", "--tag", "team=red"], 1.0),
        (&["--user", "bob", "--model", "dollar"], 0.0),
    ] {
        for period in ["day", "week", "month", "total"] {
            let set = set(&env, &[&["9", "--period", period], scope].concat());
            assert_eq!(set["spent_usd"], spent, "{scope:?} {period}");
        }
    }
}

#[test]
fn a_call_is_under_every_budget_that_covers_it() {
    let env = home();
    set(&env, &["9", "--period", "total"]);
    set(&env, &["3", "--period", "total", "--user", "ann"]);
    set(&env, &["1", "--period", "total", "--user", "ann", "--tag", "team=red"]);
    let spent = || listed(&env, &["spent_usd"]);
    spend(&env, &["--user", "ann", "--tag", "team=red"]);
    assert_eq!(spent(), json!([[1.0], [1.0], [1.0]]));
    // The tightest decides, and says so.
    let refused = dollar(&env, &["--user", "ann", "--tag", "team=red"]).run().expect_status(4);
    assert!(
        refused.stderr.contains("budget 3 (total, user ann, team=red): $0.00 of $1.00 is left"),
        "{refused}"
    );
    spend(&env, &["--user", "ann"]);
    spend(&env, &["--user", "bob", "--tag", "team=red"]);
    assert_eq!(spent(), json!([[3.0], [2.0], [1.0]]));
}

#[test]
fn of_several_that_refuse_the_one_that_lasts_longest_is_named() {
    let env = home();
    for period in ["day", "total", "month"] {
        set(&env, &["1", "--period", period]);
    }
    spend(&env, &[]);
    let refused = dollar(&env, &[]).run().expect_status(4);
    assert!(refused.stderr.contains("budget 2 (total, all calls)"), "{refused}");
    assert!(refused.stderr.contains("; it does not reset"), "{refused}");
}

#[test]
fn a_call_outside_of_all_scopes_is_sent_as_it_is() {
    let env = home();
    let upstream = Upstream::start(|_| Reply::answer("a"));
    set(&env, &["5", "--period", "total", "--user", "ann"]);
    set(&env, &["5", "--period", "total", "--model", "gpt-5.4-nano"]);
    let plain = openai(&env, &upstream, &["-m", "gpt-5.4-mini"]).run().expect_status(0);
    assert_eq!(plain.stderr, "");
    assert_eq!(listed(&env, &["spent_usd", "held_usd"]), json!([[0.0, 0.0], [0.0, 0.0]]));
    // A model is covered under both of its names.
    for name in ["gpt-5.4-nano", "openai/gpt-5.4-nano"] {
        let _ = openai(&env, &upstream, &["-m", name]).run().expect_status(0);
    }
    let limits: Vec<Value> =
        upstream.received().iter().map(|request| request.body["max_completion_tokens"].clone()).collect();
    assert_eq!(limits, [Value::Null, json!(4096), json!(4096)]);
    let spent = listed(&env, &["spent_usd"]);
    assert!(spent[0][0] == 0.0 && spent[1][0].as_f64().unwrap() > 0.0, "{spent}");
}

#[test]
fn users_and_labels_of_the_lines_of_a_batch_count() {
    let env = home();
    set(&env, &["9", "--period", "total", "--user", "ann"]);
    set(&env, &["9", "--period", "total", "--tag", "team=red"]);
    let line = |user: &str| json!({"prompt": "hi", "user": user}).to_string();
    env.write(
        "in.jsonl",
        [line("ann"), line("bob"), line("ann"), json!({"prompt": "hi"}).to_string()].join("\n"),
    );
    let args = ["batch", "in.jsonl", "--max-tokens", "1", "--user", "carl", "--tag", "team=red"];
    let _ = env.llmops(args).run().expect_status(0);
    assert_eq!(listed(&env, &["spent_usd"]), json!([[2.0], [4.0]]));
}

#[test]
fn the_refusal_says_who_holds_the_money() {
    let env = home();
    let gate = crate::support::Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Reply::answer("a").gate(&held));
    set(&env, &["0.05", "--period", "total"]);
    let args = ["-m", "gpt-5.4-nano", "--max-tokens", "8000"];
    let running = openai(&env, &upstream, &args).spawn();
    assert!(gate.wait_until_reached(std::time::Duration::from_secs(30)));
    let screen = budget(&env, &[]).run().expect_status(0).stdout;
    assert!(screen.contains("is held for 1 call of `chat` (process "), "{screen}");
    let [row] = &super::budgets(&env)[..] else { panic!("one budget") };
    let (held, left) = (row["held_usd"].as_f64().unwrap(), row["remaining_usd"].as_f64().unwrap());
    assert!(held > 0.0 && (held + left - 0.05).abs() < 1e-9 && row["holders"][0]["calls"] == 1, "{row}");
    // Beyond what will ever be left it is refused, with all that there is to know.
    let refused = env.llmops(["chat", "--max-tokens", "1", "hi"]).run().expect_status(4).stderr;
    for part in ["budget 1 (total, all calls): $", "is held for 1 call of `chat`", "a call may cost $1.00"] {
        assert!(refused.contains(part), "{refused}");
    }
    gate.release();
    let _ = running.wait().expect_status(0);
    assert_eq!(listed(&env, &["held_usd", "holders"]), json!([[0.0, []]]));
}
