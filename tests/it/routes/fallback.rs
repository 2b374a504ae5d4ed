//! Another target in the place of the first: who gave the answer is told, and what it is sent is made to fit it.

use serde_json::{Value, json};

use super::{FIRST, OTHER, Pair, SAME};
use crate::path::refusal;
use crate::support::{Reply, Upstream, squeeze};

#[test]
fn it_is_told_who_answered_instead_of_whom() {
    let pair = Pair::always(refusal(500, None));
    let chat = pair.chat(&[]).expect_status(0);
    assert!(chat.stderr.ends_with(" answered 500: no; asking deepseek/deepseek-flash\n"), "{chat}");
    let args = ["stream", "-n", "--format", "jsonl", "hi", "--fallback", OTHER];
    let done = pair.llmops(args).run().expect_status(0).jsonl().pop().unwrap();
    let call = pair.call();
    for answer in [&chat.json(), &done, &call] {
        let told = ["model", "provider", "fallback_from", "attempts"].map(|field| answer[field].clone());
        assert_eq!(told, [json!("deepseek-flash"), json!("deepseek"), json!(FIRST), json!(5)], "{answer}");
    }
    let targets = call["attempt_list"].as_array().unwrap().iter().map(|attempt| attempt["model"].clone());
    let names = targets.map(|name| name.as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>();
    assert_eq!(names[0], "gpt-5.4-nano", "{call}");
    assert_eq!(names[4], "deepseek-flash", "{call}");
    let shown = squeeze(&pair.llmops(["calls", "show", call["call_id"].as_str().unwrap()]).run().stdout);
    assert!(shown.contains("fallback  in the place of openai/gpt-5.4-nano\n"), "{shown}");
}

/// A schema, and a provider of whose quirks the other has none.
const QUIRKS: &str = "providers: {deepseek: {send_user: true}}";

const FITTING: &[&str] =
    &["--schema", "schema.json", "--max-tokens", "77", "--user", "ann", "--param", "seed=5"];

fn schema(pair: &Pair) {
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]});
    pair.env.write("schema.json", schema.to_string());
}

/// The request is what the second provider wants to get.
#[track_caller]
fn assert_fits(body: &Value) {
    assert_eq!(body["model"], "deepseek-flash", "{body}");
    assert_eq!((&body["max_tokens"], &body["max_completion_tokens"]), (&json!(77), &Value::Null), "{body}");
    assert_eq!(body["response_format"], json!({"type": "json_object"}), "{body}");
    assert_eq!((&body["user"], &body["seed"]), (&json!("ann"), &json!(5)), "{body}");
}

#[test]
fn what_it_gets_is_made_to_fit_it() {
    let two = Upstream::start(|_| Reply::answer(r#"{"a": 1}"#));
    let pair = Pair::of(Upstream::start(|_| refusal(503, None)), two).config(QUIRKS);
    schema(&pair);
    for command in ["chat", "stream"] {
        let args = [&[command, "-n", "hi", "--fallback", OTHER], FITTING].concat();
        let output = pair.llmops(args).run().expect_status(0);
        assert_eq!(output.stdout.trim_end(), r#"{"a": 1}"#, "{output}");
        let first = pair.one.received()[0].body.clone();
        assert_eq!((&first["model"], &first["max_completion_tokens"]), (&json!("gpt-5.4-nano"), &json!(77)));
        assert_eq!((&first["max_tokens"], &first["user"]), (&Value::Null, &Value::Null), "{first}");
        assert_eq!(first["response_format"]["type"], "json_schema", "{first}");
        let last = pair.two.received().pop().unwrap().body;
        assert_fits(&last);
        assert_eq!(last["stream"] == true, command == "stream", "{last}");
        // What is on record is what was sent last.
        assert_fits(&pair.call()["request"]);
    }
}

#[test]
fn the_question_for_a_better_answer_is_made_to_fit_it_too() {
    let one = Upstream::start(|request| match request.body["messages"].as_array().map(Vec::len) {
        Some(..=2) => Reply::answer("not that"),
        _ => refusal(500, None),
    });
    let two = Upstream::start(|_| Reply::answer(r#"{"a": 1}"#));
    let pair = Pair::of(one, two).config(QUIRKS);
    schema(&pair);
    let output = pair.chat(FITTING).expect_status(0);
    let answer = output.json();
    assert_eq!(
        (&answer["text"], &answer["fallback_from"]),
        (&json!(r#"{"a": 1}"#), &json!(FIRST)),
        "{output}"
    );
    let sent = pair.two.received().pop().unwrap().body;
    assert_fits(&sent);
    let messages = sent["messages"].to_string();
    assert!(messages.contains("not that"), "the second question tells of the first answer: {messages}");
    // Both answers are on the books.
    let call = pair.call();
    assert_eq!(call["usage"]["output_tokens"], 10, "{call}");
    assert!(call["cost_usd"].as_f64() > Some(0.0), "{call}");
}

#[test]
fn a_second_fallback_comes_after_the_first() {
    let one = Upstream::start(|_| refusal(429, Some("insufficient_quota")));
    let pair = Pair::of(one, Upstream::start(|_| Reply::answer("two")));
    let args = ["chat", "-n", "--format", "json", "hi", "--fallback", SAME, "--fallback", OTHER];
    let answer = pair.llmops(args).run().expect_status(0).json();
    assert_eq!((&answer["attempts"], &answer["fallback_from"]), (&json!(3), &json!(FIRST)));
    let asked: Vec<Value> = pair.one.received().iter().map(|request| request.body["model"].clone()).collect();
    assert_eq!(asked, [json!("gpt-5.4-nano"), json!("gpt-5.4-mini")]);
}

#[test]
fn where_all_fail_the_last_error_is_the_calls() {
    let two = Upstream::start(|_| refusal(503, None));
    let pair = Pair::of(Upstream::start(|_| refusal(429, None)), two);
    let output = pair.chat(&["--retries", "1"]).expect_status(1);
    assert!(output.stderr.contains(" answered 503: no (attempt 2 of 2)\n"), "{output}");
    let call = pair.call();
    assert_eq!((&call["error"]["kind"], &call["attempts"]), (&json!("server"), &json!(4)), "{call}");
    assert_eq!((&call["model"], &call["fallback_from"]), (&json!("deepseek-flash"), &json!(FIRST)), "{call}");
    assert_eq!(pair.requests(), [2, 2]);
}

#[test]
fn a_fallback_that_nobody_has_is_told_before_anything_is_sent() {
    let pair = Pair::of(Upstream::unused(), Upstream::unused());
    for command in ["chat", "stream"] {
        let args = [command, "-n", "hi", "--fallback", "gpt-5.4-nanno"];
        let output = pair.llmops(args).run().expect_status(2);
        assert!(output.stderr.contains("no model `gpt-5.4-nanno`"), "{output}");
    }
    pair.env.write("in.txt", "one\ntwo\n");
    let output = pair.llmops(["batch", "in.txt", "--fallback", "gpt-5.4-nanno"]).run().expect_status(2);
    assert_eq!(output.stdout, "", "{output}");
}

#[test]
fn targets_without_a_key_are_left_out() {
    let pair = Pair::of(Upstream::start(|_| Reply::answer("one")), Upstream::unused());
    pair.env.write("in.txt", "one\ntwo\nthree\n");
    let run = |args: &[&str]| {
        pair.llmops([args, &["--fallback", OTHER]].concat()).env_remove("DEEPSEEK_API_KEY").run()
    };
    for args in [&["chat", "-n", "hi"][..], &["stream", "-n", "hi"], &["batch", "in.txt", "-j", "3"]] {
        let output = run(args).expect_status(0);
        let note = "note: deepseek/deepseek-flash is left out: ";
        assert_eq!(output.stderr.matches(note).count(), 1, "{output}");
        assert!(output.stderr.contains("DEEPSEEK_API_KEY"), "{output}");
    }
    let first = pair.llmops(["chat", "-n", "hi", "-m", OTHER, "--fallback", FIRST]);
    let output = first.env_remove("DEEPSEEK_API_KEY").run().expect_status(0);
    assert_eq!(output.stdout, "one\n");
    // It was never asked, and so it is not the one that was missed.
    assert_eq!(pair.call()["fallback_from"], Value::Null);
    let none = pair.llmops(["chat", "-n", "hi", "--fallback", OTHER]);
    let output = none.env_remove("DEEPSEEK_API_KEY").env_remove("OPENAI_API_KEY").run().expect_status(2);
    assert!(output.stderr.contains("OPENAI_API_KEY"), "{output}");
}

#[test]
fn targets_whose_key_cannot_be_had_are_left_out() {
    let broken = "providers: {openai: {api_key_cmd: 'false'}, groq: {api_key_cmd: 'false'}}";
    let two = Upstream::start(|request| match request.last_user_text().as_str() {
        "fail" => refusal(500, None),
        _ => Reply::answer("two"),
    });
    let pair = Pair::of(Upstream::unused(), two).config(broken);
    let run = |args: &[&str]| {
        let args = [&["chat", "-n", "--retries", "0"], args].concat();
        pair.llmops(args).env_remove("OPENAI_API_KEY").run()
    };
    let note = "note: openai/gpt-5.4-nano is left out: ";
    let output = run(&["hi", "--fallback", OTHER]).expect_status(0);
    assert_eq!((&*output.stdout, output.stderr.matches(note).count()), ("two\n", 1), "{output}");
    // One in the middle is passed by, too; where it is the last, the call ends with what there was.
    let groq = "groq/llama-3.3-70b-versatile";
    let output = run(&["hi", "-m", FIRST, "--fallback", groq, "--fallback", OTHER]).expect_status(0);
    assert_eq!(output.stdout, "two\n", "{output}");
    let output = run(&["fail", "-m", OTHER, "--fallback", groq, "--fallback", FIRST]).expect_status(1);
    assert!(output.stderr.contains(note) && output.stderr.contains("groq"), "{output}");
    let call = pair.call();
    assert_eq!((&call["attempts"], &call["model"]), (&json!(1), &json!("deepseek-flash")), "{call}");
    assert_eq!(call["error"]["kind"], "server", "{call}");
    let output = run(&["hi", "-m", FIRST, "--fallback", groq]).expect_status(2);
    assert_eq!(output.stdout, "");
}

#[test]
fn without_a_record_it_is_all_the_same() {
    for (reply, attempts) in [(refusal(500, None), 5), (refusal(429, None).header("retry-after", "100"), 2)] {
        let pair = Pair::always(reply);
        let answer = pair.chat(&["--no-log"]).expect_status(0).json();
        assert_eq!((&answer["text"], &answer["attempts"]), (&json!("two"), &json!(attempts)), "{answer}");
    }
}
