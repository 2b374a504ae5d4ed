//! What a budget makes of a request: a limit on its output, a bound on what it may cost, and a refusal where nobody
//! knows.

use serde_json::{Value, json};

use super::scopes::openai;
use super::{budget, dollar, home, listed, set, spend};
use crate::support::{Reply, TestEnv, Upstream, assert_run};

const NOTE: &str = "note: under a budget, answers end after ";

#[test]
fn a_request_without_a_limit_gets_one() {
    let env = home();
    let upstream = Upstream::start(|_| Reply::answer("a"));
    let ask = |args: &[&str]| openai(&env, &upstream, &[&["-m", "gpt-5.4-nano"], args].concat());
    assert_eq!(ask(&[]).run().expect_status(0).stderr, "");
    set(&env, &["5", "--period", "total"]);
    let note = ask(&[]).run().expect_status(0).stderr;
    assert_eq!(note, format!("{NOTE}4,096 tokens (--max-tokens N sets another limit)\n"));
    assert_eq!(ask(&["-q"]).run().expect_status(0).stderr, "");
    assert_eq!(ask(&["--max-tokens", "7"]).run().expect_status(0).stderr, "");
    assert_eq!(ask(&["--param", "max_tokens=8"]).run().expect_status(0).stderr, "");
    let deepseek = env.llmops(["chat", "-m", "deepseek/deepseek-flash", "hi"]);
    let deepseek = deepseek.env("DEEPSEEK_API_KEY", "k").env("DEEPSEEK_BASE_URL", upstream.base_url());
    let _ = deepseek.run().expect_status(0);
    let sent =
        |field: &str| -> Value { upstream.received().iter().map(|sent| sent.body[field].clone()).collect() };
    assert_eq!(sent("max_completion_tokens"), json!([null, 4096, 4096, 7, null, null]));
    assert_eq!(sent("max_tokens"), json!([null, null, null, null, 8, 4096]));
}

#[test]
fn the_usual_limit_is_configured_and_no_model_gets_more_than_it_takes() {
    let env = home();
    let upstream = Upstream::start(|_| Reply::answer("a"));
    set(&env, &["500", "--period", "total"]);
    for usual in [100, 10_000_000] {
        env.write_config(&format!("budgets: {{default_max_tokens: {usual}}}\n"));
        let _ = openai(&env, &upstream, &["-m", "gpt-5.4-nano"]).run().expect_status(0);
    }
    let sent: Vec<u64> =
        upstream.received().iter().map(|sent| sent.body["max_completion_tokens"].as_u64().unwrap()).collect();
    assert!(sent[0] == 100 && sent[1] > 4_096 && sent[1] < 1_000_000, "{sent:?}");
}

#[test]
fn a_batch_says_once_that_answers_end_early() {
    let env = home();
    set(&env, &["50000", "--period", "total"]);
    env.write("in.txt", "a\nb\nc\nd\n");
    let output = env.llmops(["batch", "in.txt"]).run().expect_status(0);
    assert_eq!(output.stderr.matches(NOTE).count(), 1, "{output}");
    assert_eq!(listed(&env, &["spent_usd", "held_usd"]), json!([[4.0, 0.0]]));
}

#[test]
fn what_is_free_is_neither_limited_nor_refused() {
    let env = home();
    set(&env, &["0", "--period", "total"]);
    let free = env.llmops(["chat", "-m", "sim/echo", "hi"]).run().expect_status(0);
    assert_eq!((free.stdout.as_str(), free.stderr.as_str()), ("hi\n", ""));
    let _ = dollar(&env, &[]).run().expect_status(4);
    // Nobody knows whether it is on the bill; but then it is free.
    let lost = env.llmops(["chat", "-m", "sim/echo", "--retries", "0", "hi"]).env("LLMOPS_SIM", "drop=1");
    let _ = lost.run().expect_status(1);
    assert_eq!(listed(&env, &["unknown_usd", "unpriced_calls"]), json!([[0.0, 0]]));
}

#[test]
fn all_answers_of_a_request_are_reckoned_with() {
    let env = home();
    set(&env, &["2", "--period", "total"]);
    let three = dollar(&env, &["--param", "n=3"]).run().expect_status(4);
    assert!(three.stderr.contains("a call may cost $3.00"), "{three}");
    let _ = dollar(&env, &["--param", "n=2"]).run().expect_status(0);
}

#[test]
fn a_model_without_a_price_is_sent_only_if_that_is_said() {
    let env = home();
    let upstream = Upstream::start(|_| Reply::answer("a"));
    let ask = |args: &[&str]| openai(&env, &upstream, &[&["-m", "openai/house-7b"], args].concat());
    set(&env, &["1", "--period", "total"]);
    assert_run!(ask(&[]).run().expect_status(4));
    let sent = ask(&["--allow-unpriced"]).run().expect_status(0);
    assert_eq!(sent.stderr, "", "{sent}");
    assert_eq!(upstream.received().len(), 1);
    assert_eq!(upstream.received()[0].body["max_completion_tokens"], Value::Null);
    assert_eq!(listed(&env, &["unpriced_calls", "spent_usd", "exhausted"]), json!([[1, 0.0, false]]));
    let table = budget(&env, &[]).run().expect_status(0).stdout;
    assert!(table.ends_with("Budget 1: the cost of 1 call is not known, and not in it\n"), "{table}");
    spend(&env, &[]);
    let spent = ask(&["--allow-unpriced"]).run().expect_status(4).stderr;
    assert!(spent.contains("budget 1 (total, all calls): $0.00 of $1.00 is left"), "{spent}");
    assert_eq!(upstream.received().len(), 1);
}

#[test]
fn a_budget_is_kept_without_a_record() {
    let env = home();
    spend(&env, &["--no-log"]);
    assert!(!env.db_path().exists());
    set(&env, &["2", "--period", "total"]);
    spend(&env, &["--no-log"]);
    spend(&env, &["--no-log"]);
    let _ = dollar(&env, &["--no-log"]).run().expect_status(4);
    assert_eq!(listed(&env, &["spent_usd", "held_usd"]), json!([[2.0, 0.0]]));
    assert_eq!(env.llmops(["calls", "--format", "json"]).run().expect_status(0).json(), json!([]));
}

/// Asks `sim/reader`, whose input costs a dollar a token.
fn read(env: &TestEnv, text: &str, status: i32) {
    let args = ["chat", "-m", "sim/reader", "--max-tokens", "1"];
    let _ = env.llmops(args).stdin(text).run().expect_status(status);
}

#[test]
fn tokens_are_counted_where_bytes_are_too_many() {
    let english = "the cat sat on the mat and looked at the moon ".repeat(500);
    let env = home();
    let limit = (english.len() / 2).to_string();
    set(&env, &[&limit, "--period", "total"]);
    // Half as many dollars as bytes are enough for English, …
    read(&env, &english, 0);
    // … and not for twice as much of it beside that.
    read(&env, &english.repeat(2), 4);
}

#[test]
fn an_image_is_reckoned_with() {
    let env = home();
    let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}});
    let content = json!([{"type": "text", "text": "hi"}, image]);
    let request =
        json!({"model": "sim/reader", "max_tokens": 1, "messages": [{"role": "user", "content": content}]});
    env.write("in.jsonl", request.to_string());
    let ask = |status| env.llmops(["batch", "in.jsonl"]).run().expect_status(status);
    set(&env, &["500", "--period", "total"]);
    let _ = ask(4);
    set(&env, &["5000", "--period", "total"]);
    let _ = ask(0);
}
