//! Answers that have to fit a schema: how they are asked for, checked and, once,
//! asked for again, with both answers on the books.

use serde_json::{Value, json};

use super::{assert_refused, echo};
use crate::path::{SOON, Wired, end_by, nanos, price};
use crate::support::{Gate, Reply, Signal, TestEnv, assert_run};

const FITTING: &str = r#"{"name": "Ada"}"#;
const UNFIT: &str = r#"{"name": 5}"#;

fn schema() -> Value {
    let name = json!({"name": {"type": "string"}});
    json!({"type": "object", "properties": name, "required": ["name"], "additionalProperties": false})
}

fn with_schema(wired: Wired) -> Wired {
    wired.env.write("person.json", schema().to_string());
    wired
}

/// A server that gives these answers, one after the other, and the last for ever.
fn answering(replies: &[Reply]) -> Wired {
    let (replies, next) = (replies.to_vec(), std::sync::Mutex::new(0));
    with_schema(Wired::to(move |_| {
        let mut next = next.lock().unwrap();
        *next += 1;
        replies[(*next - 1).min(replies.len() - 1)].clone()
    }))
}

#[test]
fn a_schema_is_sent_and_a_fitting_answer_printed() {
    let wired = answering(&[Reply::answer(FITTING)]);
    for command in ["chat", "stream"] {
        let output = wired.llmops([command, "--schema", "person.json", "who?"]).run().expect_status(0);
        assert_eq!(output.stdout, format!("{FITTING}\n"));
    }
    for request in wired.upstream.received() {
        let sent = json!({"name": "person", "schema": schema(), "strict": true});
        assert_eq!(request.body["response_format"], json!({"type": "json_schema", "json_schema": sent}));
        assert_eq!(request.body["messages"], json!([{"role": "user", "content": "who?"}]));
    }
}

#[test]
fn who_cannot_take_a_schema_is_told_it() {
    let wired = with_schema(Wired::always(Reply::answer(FITTING)));
    let args =
        ["chat", "-m", "deepseek/deepseek-flash", "-s", "Be brief.", "--schema", "person.json", "who?"];
    let run = wired.llmops(args).env("DEEPSEEK_API_KEY", "sk-deepseek");
    let _ = run.env("DEEPSEEK_BASE_URL", wired.upstream.base_url()).run().expect_status(0);
    let body = wired.upstream.received().remove(0).body;
    assert_eq!(body["response_format"], json!({"type": "json_object"}));
    let system = body["messages"][0]["content"].as_str().unwrap();
    assert!(system.starts_with("Be brief.\n\n") && system.contains(&schema().to_string()), "{system}");
    let env = TestEnv::new();
    env.write("person.json", schema().to_string());
    let output = echo(&env, &["chat", "--schema", "person.json", FITTING]).run().expect_status(0);
    assert_eq!(output.stdout, format!("{FITTING}\n"));
}

#[test]
fn an_answer_that_does_not_fit_is_asked_for_again() {
    let wired = answering(&[Reply::answer(UNFIT).usage(100, 10), Reply::answer(FITTING).usage(130, 12)]);
    let args = ["chat", "--schema", "person.json", "--retries", "0", "--format", "json", "who?"];
    let answer = wired.llmops(args).run().expect_status(0).json();
    assert_eq!((&answer["text"], &answer["attempts"]), (&json!(FITTING), &json!(2)));
    let call = wired.call();
    for told in [&answer, &call] {
        assert_eq!(nanos(&told["cost_usd"]), price(100, 0, 10) + price(130, 0, 12), "{told}");
        assert_eq!(told["cost_status"], "exact");
        assert_eq!(
            (&told["usage"]["input_tokens"], &told["usage"]["output_tokens"]),
            (&json!(230), &json!(22))
        );
    }
    assert_eq!(nanos(&wired.cost()["total"]["cost_usd"]), price(230, 0, 22));
    let attempts = call["attempt_list"].as_array().unwrap();
    assert_eq!((&attempts[0]["failure"], &attempts[1]["failure"]), (&json!("schema"), &Value::Null));
    assert!(
        attempts[0]["message"].as_str().unwrap().contains("/name: 5 is not of type \"string\""),
        "{call}"
    );
    assert_eq!(call["request"]["messages"], json!([{"role": "user", "content": "who?"}]));
    let again = wired.upstream.received()[1].body["messages"].clone();
    assert_eq!(again[1], json!({"role": "assistant", "content": UNFIT}));
    assert!(again[2]["content"].as_str().unwrap().contains("/name: 5 is not of type"), "{again}");
}

#[test]
fn an_answer_that_never_fits_is_an_error_and_on_record() {
    let wired = answering(&[Reply::answer(UNFIT), Reply::answer("```json\n{\"name\": \"Ada\"}\n```")]);
    let output = wired.llmops(["chat", "--schema", "person.json", "who?"]).run().expect_status(1);
    assert_run!(output);
    let call = wired.call();
    assert_eq!((&call["status"], &call["attempts"]), (&json!("error"), &json!(2)));
    assert_eq!((&call["error"]["kind"], &call["error"]["retryable"]), (&json!("schema"), &json!(false)));
    assert!(call["response"]["choices"][0]["message"]["content"].as_str().unwrap().starts_with("```json"));
    assert_eq!(nanos(&call["cost_usd"]), 2 * price(10, 0, 5));
    let unlogged =
        wired.llmops(["chat", "--no-log", "--schema", "person.json", "who?"]).run().expect_status(1);
    assert!(!unlogged.stderr.contains("calls show"), "{unlogged}");
}

#[test]
fn a_stream_is_checked_at_its_end() {
    let wired = answering(&[Reply::answer(UNFIT)]);
    let output = wired.llmops(["stream", "--schema", "person.json", "who?"]).run().expect_status(1);
    assert_eq!(output.stdout, format!("{UNFIT}\n"));
    assert!(output.stderr.contains("does not fit the schema: /name: 5"), "{output}");
    assert_eq!((wired.requests(), &wired.call()["error"]["kind"]), (1, &json!("schema")));
    let args = ["stream", "--format", "jsonl", "--schema", "person.json", "who?"];
    let last = wired.llmops(args).run().expect_status(1).jsonl().pop().unwrap();
    assert_eq!((&last["type"], &last["error"]["kind"]), (&json!("error"), &json!("schema")));
}

#[test]
fn what_a_repair_cannot_mend_is_not_repaired() {
    for (reply, said) in [
        (Reply::answer("{\"name\": ").finish_reason("length"), "cut off at the limit on output tokens"),
        (refusing(), "is a refusal: No."),
    ] {
        let wired = answering(&[reply]);
        let output = wired.llmops(["chat", "--schema", "person.json", "who?"]).run().expect_status(1);
        assert!(output.stderr.contains(said), "{output}");
        assert_eq!((wired.requests(), &wired.call()["status"]), (1, &json!("error")));
    }
    let calls = json!([{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
    let message = json!({"role": "assistant", "content": null, "tool_calls": calls});
    let wired = answering(&[whole(&message, "tool_calls")]);
    let _ = wired.llmops(["chat", "--schema", "person.json", "who?"]).run().expect_status(0);
}

fn refusing() -> Reply {
    whole(&json!({"role": "assistant", "content": null, "refusal": "No."}), "stop")
}

fn whole(message: &Value, reason: &str) -> Reply {
    let choice = json!({"index": 0, "message": message, "finish_reason": reason});
    let usage = json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15});
    Reply::json(&json!({"object": "chat.completion", "choices": [choice], "usage": usage}))
}

#[test]
fn the_first_answer_is_paid_for_whatever_becomes_of_the_second() {
    let gate = Gate::new();
    let wired = answering(&[Reply::answer(UNFIT), Reply::answer(FITTING).gate(&gate)]);
    let running = wired.llmops(["chat", "--schema", "person.json", "who?"]).spawn();
    assert!(gate.wait_until_reached(SOON));
    let output = end_by(running, Signal::INT).expect_status(130);
    assert_eq!(output.stdout, "");
    let call = wired.call();
    assert_eq!((&call["status"], &call["attempts"]), (&json!("cancelled"), &json!(2)));
    assert_eq!((nanos(&call["cost_usd"]), &call["cost_status"]), (price(10, 0, 5), &json!("partial")));
    assert_eq!(call["attempt_list"][0]["failure"], "schema");
    gate.release();

    let wired = answering(&[Reply::answer(UNFIT), Reply::error(400, "bad")]);
    let _ = wired.llmops(["chat", "--schema", "person.json", "who?"]).run().expect_status(1);
    let call = wired.call();
    assert_eq!((&call["status"], &call["error"]["kind"]), (&json!("error"), &json!("bad_request")));
    assert_eq!((nanos(&call["cost_usd"]), &call["cost_status"]), (price(10, 0, 5), &json!("exact")));
    assert_eq!(call["response"]["choices"][0]["message"]["content"], UNFIT);

    let flaky = [Reply::answer(UNFIT), Reply::error(500, "oops"), Reply::answer(FITTING)];
    let wired = answering(&flaky);
    let _ =
        wired.llmops(["chat", "--schema", "person.json", "--retries", "1", "who?"]).run().expect_status(0);
    assert_eq!(wired.call()["attempts"], 3);
}

#[test]
fn the_time_limit_is_for_both_answers() {
    let wired = answering(&[Reply::answer(UNFIT), Reply::hang()]);
    let args = ["chat", "--schema", "person.json", "--timeout", "400ms", "who?"];
    let _ = wired.llmops(args).run().expect_status(1);
    let call = wired.call();
    assert_eq!((&call["error"]["kind"], &call["cost_status"]), (&json!("timeout"), &json!("partial")));
    assert_eq!(nanos(&call["cost_usd"]), price(10, 0, 5));
}

#[test]
fn a_schema_that_is_none_is_refused() {
    let wired = Wired::unused();
    wired.env.write("torn.json", "{\n  \"type\": \"object\",\n");
    wired.env.write("wrong.json", r#"{"properties": {"a": {"type": "strin"}}}"#);
    wired.env.write("number.json", "5");
    wired.env.write("remote.json", r#"{"$ref": "https://example.com/schema.json"}"#);
    wired.env.write("file.json", r#"{"$ref": "file:///etc/passwd"}"#);
    wired.env.write("deep.json", "[".repeat(100_000));
    wired.env.write("large.json", " ".repeat((1 << 20) + 1));
    wired.env.write("empty.json", "");
    for (name, said) in [
        ("torn.json", "torn.json:3:0: not valid JSON: EOF"),
        ("wrong.json", "wrong.json: not a JSON schema: /properties/a/type: \"strin\""),
        ("number.json", "number.json: not a JSON schema: 5 is not of types"),
        ("remote.json", "remote.json: not a schema that can be used: "),
        ("file.json", "file.json: not a schema that can be used: "),
        ("deep.json", "deep.json:1:128: not valid JSON: recursion limit"),
        ("large.json", "large.json is larger than 1 MiB"),
        ("empty.json", "empty.json is empty"),
        ("nowhere.json", "cannot read nowhere.json: No such file"),
        (".", ". is a folder"),
    ] {
        let output = assert_refused(wired.llmops(["chat", "--schema", name, "hi"]));
        assert!(output.stderr.contains(said), "{name}: {output}");
    }
    assert_run!(assert_refused(wired.llmops(["chat", "--schema", "remote.json", "hi"])));
    wired.env.write("person.json", schema().to_string());
    let args = ["chat", "--schema", "person.json", "--param", "response_format={}", "hi"];
    let output = assert_refused(wired.llmops(args));
    assert!(output.stderr.contains("--schema"), "{output}");
}
