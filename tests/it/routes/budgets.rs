//! Money and other targets: what is set aside is enough for the dearest of them, and comes back.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::{FIRST, OTHER, Pair};
use crate::path::{nanos, refusal};
use crate::support::{Output, Reply, Signal, Upstream};

/// A model at the first server that costs many times as much.
const DEAR: &str = "openai/gpt-5.4";

impl Pair {
    #[track_caller]
    fn budget(&self, usd: &str, more: &[&str]) {
        let set = ["cost", "budget", "set", usd, "--period", "total"];
        let _ = self.llmops([&set, more].concat()).run().expect_status(0);
    }

    /// What is spent and held of the budgets together.
    #[track_caller]
    fn sums(&self) -> [i64; 2] {
        let budgets = self.llmops(["cost", "budget", "--format", "json"]).run().expect_status(0).json();
        let sum = |field: &str| budgets.as_array().unwrap().iter().map(|budget| nanos(&budget[field])).sum();
        [sum("spent_usd"), sum("held_usd")]
    }

    fn ask(&self, more: &[&str]) -> Output {
        self.llmops([&["chat", "-n", "hi", "--max-tokens", "100", "--format", "json"], more].concat()).run()
    }
}

#[test]
fn what_is_set_aside_is_enough_for_the_dearest() {
    let one = Upstream::start(|_| Reply::answer("one"));
    let pair = Pair::of(one, Upstream::unused());
    // A hundred tokens of the cheap model cost 0.000125.
    pair.budget("0.0005", &[]);
    let refused = pair.ask(&["--fallback", DEAR]).expect_status(4);
    assert!(refused.stderr.contains("a call may cost"), "{refused}");
    assert_eq!(pair.requests(), [0, 0]);
    assert_eq!(pair.ask(&[]).expect_status(0).json()["text"], "one");
}

#[test]
fn a_budget_of_one_model_has_no_room_to_spare_for_another() {
    let pair = Pair::of(Upstream::start(|_| Reply::answer("one")), Upstream::unused());
    // Enough for the cheap one, not for the dear one, which it does not cover.
    pair.budget("0.0005", &["--model", FIRST]);
    assert_eq!(pair.ask(&["--fallback", DEAR]).expect_status(0).json()["text"], "one");
}

#[test]
fn whose_own_budget_is_spent_is_passed_by() {
    for first in [Reply::answer("one"), refusal(500, None)] {
        let spent = Upstream::start(move |_| first.clone());
        let pair = Pair::of(spent, Upstream::start(|_| Reply::answer("two")));
        pair.budget("0.000000001", &["--model", DEAR]);
        let answer = pair.ask(&["-m", DEAR, "--fallback", OTHER]).expect_status(0).json();
        assert_eq!((&answer["text"], &answer["fallback_from"]), (&json!("two"), &json!(DEAR)), "{answer}");
        assert_eq!(pair.requests(), [0, 1]);
        // The first server is well where it may be asked.
        let _ = pair.ask(&["--retries", "0"]);
        assert_eq!(pair.requests(), [1, 1]);
    }
}

#[test]
fn who_waits_for_money_keeps_nobody_from_a_target_that_is_back() {
    let requests = AtomicUsize::new(0);
    let one = Upstream::start(move |_| match requests.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::answer("one").usage(1_000_000, 1),
        1 => refusal(500, None),
        _ => Reply::answer("one"),
    });
    let pair = Pair::of(one, Upstream::unused());
    let ask = |more: &[&str]| {
        let run = pair.llmops([&["chat", "-n", "hi", "--retries", "0", "--max-tokens", "1"], more].concat());
        run.env("LLMOPS_BREAKER__FAILURES", "1").env("LLMOPS_BREAKER__OPEN", "1ms")
    };
    let _ = pair.llmops(["cost", "budget", "set", "0.01", "--user", "ada"]).run().expect_status(0);
    let _ = ask(&["--user", "ada"]).run().expect_status(0);
    let _ = ask(&[]).run().expect_status(1);
    let waiting = ask(&["--user", "ada", "--wait"]).spawn();
    waiting.wait_for_stderr("waiting: budget");
    assert_eq!(ask(&[]).run().expect_status(0).stdout, "one\n");
    waiting.signal(Signal::INT);
    let _ = waiting.wait().expect_status(130);
}

#[test]
fn after_a_fallback_nothing_stays_set_aside() {
    for command in ["chat", "stream"] {
        for (first, may_be_billed) in [(refusal(500, None), false), (Reply::drop_connection(), true)] {
            let pair = Pair::always(first);
            pair.budget("1", &[]);
            let args = [command, "-n", "hi", "--max-tokens", "100", "--fallback", OTHER];
            let output = pair.llmops(args).run().expect_status(0);
            let call = pair.call();
            let [spent, held] = pair.sums();
            assert_eq!(held, 0, "{output}");
            if may_be_billed {
                // What was lost on the way may have been billed: that stays on the books.
                assert!(spent > nanos(&call["cost_usd"]), "{call}");
            } else {
                assert_eq!(spent, nanos(&call["cost_usd"]), "{call}");
            }
        }
    }
}

#[test]
fn a_budget_of_the_other_model_is_kept() {
    let pair = Pair::of(Upstream::start(|_| refusal(500, None)), Upstream::unused());
    pair.budget("0.000000001", &["--model", OTHER]);
    let output = pair.ask(&["--fallback", OTHER]).expect_status(4);
    assert!(output.stderr.contains(OTHER), "{output}");
    assert_eq!(pair.sums(), [0, 0]);
    let call = pair.call();
    assert_eq!((&call["error"]["kind"], &call["attempts"]), (&json!("budget"), &json!(4)), "{call}");
}

#[test]
fn what_each_has_cost_goes_to_its_own_budget() {
    let pair = Pair::always(refusal(500, None));
    pair.budget("1", &["--model", FIRST]);
    pair.budget("1", &["--model", OTHER]);
    let answer = pair.ask(&["--fallback", OTHER]).expect_status(0).json();
    let budgets = pair.llmops(["cost", "budget", "--format", "json"]).run().expect_status(0).json();
    let spent = |model: &str| -> Value {
        let budgets = budgets.as_array().unwrap().iter();
        budgets.clone().find(|budget| budget["scope"]["model"] == model).unwrap()["spent_usd"].clone()
    };
    assert_eq!(nanos(&spent("gpt-5.4-nano")), 0);
    assert_eq!(nanos(&spent("deepseek-flash")), nanos(&answer["cost_usd"]));
    assert!(nanos(&answer["cost_usd"]) > 0);
}

#[test]
fn a_budget_of_the_route_covers_what_goes_by_it() {
    let routes = "routes: {r: {targets: [openai/gpt-5.4-nano], fallback: deepseek/deepseek-flash}}";
    let pair = Pair::always(refusal(500, None)).config(routes);
    pair.budget("0.00000001", &["--route", "r"]);
    let _ = pair.ask(&["--route", "r"]).expect_status(4);
    assert_eq!(pair.requests(), [0, 0]);
    let _ = pair.ask(&["--fallback", OTHER]).expect_status(0);
}

#[test]
fn a_limit_that_nobody_asked_for_is_sent_in_the_words_of_each() {
    let pair = Pair::always(refusal(500, None));
    pair.budget("1", &[]);
    let output = pair.chat(&[]).expect_status(0);
    let one = pair.one.received()[0].body.clone();
    let two = pair.two.received()[0].body.clone();
    assert_eq!((&one["max_completion_tokens"], &one["max_tokens"]), (&json!(4096), &Value::Null), "{one}");
    assert_eq!((&two["max_tokens"], &two["max_completion_tokens"]), (&json!(4096), &Value::Null), "{two}");
    assert_eq!(output.stderr.matches("answers end after 4,096 tokens").count(), 1, "{output}");
}
