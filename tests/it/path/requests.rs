//! What the server is sent: the question, the options, and the fields of a line
//! as they are, and nothing else.

use serde_json::json;

use super::{KEY, Wired};
use crate::support::Reply;

#[test]
fn a_request_is_the_question_and_nothing_else() {
    let wired = Wired::always(Reply::answer("hello"));
    let args = ["chat", "-m", "openai/gpt-5.4-nano", "--user", "u-1", "hi"];
    let _ = wired.llmops(args).run().expect_status(0);
    let request = &wired.upstream.received()[0];
    assert_eq!((&*request.method, &*request.path), ("POST", "/v1/chat/completions"));
    assert_eq!(request.header("authorization"), Some(&*format!("Bearer {KEY}")));
    assert_eq!(request.header("content-type"), Some("application/json"));
    let mut body = request.body.clone();
    assert_ne!(body["stream"], true);
    body.as_object_mut().unwrap().shift_remove("stream");
    let messages = json!([{"role": "user", "content": "hi"}]);
    assert_eq!(body, json!({"model": "gpt-5.4-nano", "messages": messages}));
    assert_eq!(wired.call()["user"], "u-1");
}

#[test]
fn a_streamed_request_asks_for_usage() {
    let wired = Wired::always(Reply::answer("hello"));
    let _ = wired.llmops(["stream", "hi"]).run().expect_status(0);
    let body = wired.body();
    assert_eq!((&body["stream"], &body["stream_options"]), (&json!(true), &json!({"include_usage": true})));
}

#[test]
fn options_go_into_the_request() {
    let wired = Wired::always(Reply::answer("hello"));
    let args = "chat -s terse --temperature 0.25 --max-tokens 7 --param reasoning_effort=low \
        --param x_vendor={\"a\":[1,null,\"ü\"]} --param seed=9007199254740993 --tag team=a hi";
    let _ = wired.llmops(args.split_whitespace()).run().expect_status(0);
    let body = wired.body();
    let messages = json!([{"role": "system", "content": "terse"}, {"role": "user", "content": "hi"}]);
    assert_eq!(body["messages"], messages);
    assert_eq!(body["temperature"], 0.25);
    assert_eq!(body["reasoning_effort"], "low");
    assert_eq!(body["x_vendor"], json!({"a": [1, null, "ü"]}));
    assert_eq!(body["seed"], json!(9_007_199_254_740_993_u64));
    assert_eq!((&body["max_completion_tokens"], body.get("max_tokens")), (&json!(7), None));
    assert_eq!((body.get("tags"), body.get("user")), (None, None));
    assert_eq!(wired.call()["tags"], json!({"team": "a"}));
}

#[test]
fn a_provider_of_ones_own_gets_the_older_name_of_the_limit() {
    let wired = Wired::always(Reply::answer("hello"));
    let address = wired.upstream.base_url();
    let wired = wired.config(&format!(
        "providers: {{mine: {{base_url: '{address}/', api_key_env: WORK_KEY, headers: {{x-team: blue}}}}}}"
    ));
    let args = ["chat", "-m", "mine/org/model-1", "--max-tokens", "7", "hi"];
    let _ = wired.llmops(args).env("WORK_KEY", "k-1").run().expect_status(0);
    let request = &wired.upstream.received()[0];
    assert_eq!(request.path, "/v1/chat/completions");
    assert_eq!(request.header("authorization"), Some("Bearer k-1"));
    assert_eq!(request.header("x-team"), Some("blue"));
    assert_eq!(request.body["model"], "org/model-1");
    assert_eq!(request.body["max_tokens"], 7);
    assert_eq!(request.body.get("max_completion_tokens"), None);
}

#[test]
fn a_provider_without_a_key_gets_none() {
    let wired = Wired::always(Reply::answer("hello"));
    let address = wired.upstream.base_url();
    let wired = wired.config(&format!("providers: {{mine: {{base_url: '{address}'}}}}"));
    let _ = wired.llmops(["chat", "-m", "mine/x", "hi"]).run().expect_status(0);
    assert_eq!(wired.upstream.received()[0].header("authorization"), None);
}

#[test]
fn unknown_fields_of_a_line_pass_through_untouched() {
    let wired = Wired::always(Reply::answer("hello"));
    let mut body = json!({
        "messages": [
            {"role": "developer", "content": [{"type": "text", "text": "ü", "x": {"y": []}}]},
            {"role": "user", "content": "hi", "name": "Zoë"},
        ],
        "model": "gpt-5.4-nano",
        "temperature": 1.0,
        "logit_bias": {"50256": -100},
        "seed": 9_007_199_254_740_993_u64,
        "x_vendor": {"deep": [1, null, "ü", 1e-7, {"k": false}]},
        "metadata": null,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    });
    let wire = body.clone();
    for (field, value) in [("id", json!("x-1")), ("user", json!("u-9")), ("tags", json!({"team": "a"}))] {
        body[field] = value;
    }
    wired.env.write("in.jsonl", format!("{body}\n"));
    let _ = wired.llmops(["batch", "in.jsonl"]).run().expect_status(0);
    let mut sent = wired.body();
    assert_ne!(sent["stream"], true);
    sent.as_object_mut().unwrap().shift_remove("stream");
    assert_eq!(sent, wire);
    let call = wired.call();
    assert_eq!((&call["user"], &call["tags"]), (&json!("u-9"), &json!({"team": "a"})));
}

#[test]
fn the_user_is_sent_to_those_who_are_to_know() {
    let wired = Wired::always(Reply::answer("hello"));
    for (send_user, user, sent) in
        [(true, Some("u-17"), json!("u-17")), (false, Some("u-17"), json!(null)), (true, None, json!(null))]
    {
        wired.env.write_config(&format!("providers: {{openai: {{send_user: {send_user}}}}}\n"));
        let args: Vec<&str> =
            ["chat", "hi"].into_iter().chain(user.iter().flat_map(|user| ["--user", user])).collect();
        let _ = wired.llmops(args).run().expect_status(0);
        assert_eq!(wired.upstream.received().last().unwrap().body["user"], sent);
    }
}
