//! `llmops calls show`: one call, and how it is found.

use serde_json::{Value, json};

use super::{ask, ids, rename, rows, show};
use crate::path::Wired;
use crate::support::{Reply, TestEnv, assert_run};

#[test]
fn a_call_is_found_by_the_beginning_of_its_id() {
    let env = TestEnv::new();
    ask(&env, 1);
    let id = "01a1b2c3-d4e5-7f60-8a9b-0c1d2e3f4a5b";
    rename(&env, id);
    for prefix in
        ["0", "01a1b2c", "01a1b2c3", "01a1b2c3-", "01a1b2c3-d4", "01a1b2c3d4e57f60", id, "01A1B2C3-D4"]
    {
        assert_eq!(show(&env, prefix)["call_id"], id, "{prefix}");
    }
    assert_eq!(show(&env, &id.replace('-', ""))["call_id"], id);
}

#[test]
fn a_beginning_of_several_ids_is_asked_back() {
    let env = TestEnv::new();
    ask(&env, 2);
    let ids = ids(&env);
    let output = env.llmops(["calls", "show", "0"]).run().expect_status(2);
    assert_eq!(output.stdout, "");
    assert!(output.stderr.starts_with("error: 0 begins the ids of several calls: "), "{output}");
    assert!(
        ids.iter().all(|id| output.stderr.contains(id)) && output.stderr.contains("\nhint: "),
        "{output}"
    );
}

#[test]
fn a_call_that_is_not_there_is_an_error() {
    let env = TestEnv::new();
    ask(&env, 1);
    assert_run!(env.llmops(["calls", "show", "ffffffff"]).run().expect_status(2));
    let long = "0".repeat(33);
    for id in
        ["", "-", "zz", "1' OR '1'='1", "%", "0x01", "💥", &long, "01a1b2c3-d4e5-7f60-8a9b-0c1d2e3f4a5b-00"]
    {
        let output = env.llmops(["calls", "show", "--", id]).run().expect_status(2);
        assert_eq!(output.stdout, "");
        assert!(output.stderr.starts_with("error: ") && output.stderr.contains("\nhint: "), "{output}");
    }
    let empty = TestEnv::new().llmops(["calls", "show", "0"]).run().expect_status(2);
    assert!(empty.stderr.starts_with("error: no call 0\n"), "{empty}");
    let _ = env.llmops(["calls", "show"]).run().expect_status(2);
}

#[test]
fn every_attempt_of_a_call_is_shown() {
    let wired = Wired::to(|request| match request.seen {
        0 => Reply::error(500, "oops"),
        1 => Reply::error(429, "slow_down"),
        _ => Reply::answer("third time lucky").usage(20, 4),
    });
    let _ = wired.llmops(["chat", "again and again", "-s", "Be patient."]).run().expect_status(0);
    let call = wired.call();
    assert_eq!(call["attempts"], 3);
    let list = call["attempt_list"].as_array().unwrap();
    let told =
        |attempt: &Value| (attempt["number"].clone(), attempt["failure"].clone(), attempt["status"].clone());
    let expected = [
        (json!(1), json!("http"), json!(500)),
        (json!(2), json!("http"), json!(429)),
        (json!(3), Value::Null, Value::Null),
    ];
    assert_eq!(list.iter().map(told).collect::<Vec<_>>(), expected);
    assert_eq!(list[1]["code"], "slow_down");
    assert_run!(wired.llmops(["calls", "show", "0"]).run().expect_status(0), squeezed);
}

#[test]
fn a_call_that_failed_is_shown_with_its_error() {
    let wired = Wired::always(Reply::error(400, "context_length_exceeded"));
    let _ = wired.llmops(["chat", "too long"]).run().expect_status(1);
    let call = wired.call();
    assert_eq!(
        (&call["status"], &call["response"], &call["usage"]),
        (&json!("error"), &Value::Null, &Value::Null)
    );
    assert_eq!((&call["error"]["kind"], &call["error"]["status"]), (&json!("bad_request"), &json!(400)));
    assert_run!(wired.llmops(["calls", "show", "0"]).run().expect_status(0), squeezed);
}

#[test]
fn what_was_sent_and_answered_is_kept_to_the_letter() {
    let body = include_str!("../../../fixtures/openai/response/openrouter.json");
    let wired = Wired::always(Reply::raw(200, "application/json", body));
    let args = ["chat", "为什么？ \"quoted\" \\ \u{1F600}\u{0}", "--param", "seed=7"];
    let question = args[1].replace('\0', "\u{1}");
    let _ = wired.llmops(["chat", &question, args[2], args[3]]).run().expect_status(0);
    let call = wired.call();
    assert_eq!(call["request"], wired.upstream.received()[0].body);
    assert_eq!(call["response"], serde_json::from_str::<Value>(body).unwrap());
    assert_eq!(
        (&call["usage"]["cached_input_tokens"], &call["usage"]["reasoning_tokens"]),
        (&json!(16), &json!(12))
    );
}

#[test]
fn tool_calls_are_shown() {
    let stream = include_bytes!("../../../fixtures/openai/stream/tool_calls.sse");
    let wired = Wired::always(Reply::sse(vec![stream.to_vec()]));
    let _ = wired.llmops(["stream", "Where is A-10042?"]).run().expect_status(0);
    assert_run!(wired.llmops(["calls", "show", "0"]).run().expect_status(0), squeezed);
}

#[test]
fn a_list_and_one_call_are_not_asked_for_at_once() {
    let env = TestEnv::new();
    ask(&env, 1);
    for own in [&["--last", "3"][..], &["--format", "json"], &["--user", "u"]] {
        let output = env.llmops([&["calls"], own, &["show", "0"]].concat()).run().expect_status(2);
        assert!(output.stderr.contains("with 'show'") || output.stderr.contains("behind 'show'"), "{output}");
    }
    let _ = env.llmops(["calls", "-q", "show", "0"]).run().expect_status(0);
}

#[test]
fn secrets_are_masked_and_images_are_named() {
    let wired =
        Wired::always(Reply::answer("use Authorization: Bearer abcdef1234567890 \u{1b}[31m").usage(20, 4));
    let png = format!("data:image/png;base64,{}", "iVBORw0KGgo".repeat(400));
    let line = json!({"messages": [{"role": "user", "content": [
        {"type": "text", "text": "postgres://me:hunter2@db and this:"},
        {"type": "image_url", "image_url": {"url": png}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAAAAA="}},
        {"type": "odd"},
    ]}]});
    wired.env.write("in.jsonl", format!("{line}\n"));
    let _ = wired.llmops(["batch", "in.jsonl", "-q"]).run().expect_status(0);
    let output = wired.llmops(["calls", "show", "0"]).run().expect_status(0);
    let told = output.stdout.split("\nUser\n").nth(1).unwrap();
    let expected = "postgres://me:***@db and this:\n[image/png, 3.3 kB]\n[image https://example.com/a.png]\n\
        [audio/wav, 3 B]\n[a.pdf] [application/pdf, 5 B]\n[odd]\n\n\
        Answer\nuse Authorization: Bearer *** \u{fffd}[31m\n";
    assert_eq!(told, expected);
    let call = wired.call();
    assert_eq!(call["request"]["messages"][0]["content"][0]["text"], "postgres://me:***@db and this:");
    assert_eq!(call["request"]["messages"][0]["content"][1]["image_url"]["url"], png);
    assert_eq!(call["bodies"], "full", "what is on record has it all");
}

#[test]
fn what_is_not_kept_is_said() {
    let env = TestEnv::new();
    ask(&env, 1);
    let store = rusqlite::Connection::open(env.db_path()).unwrap();
    for (kept, words) in [
        ("masked", "secrets were masked when the call was recorded"),
        ("cut", "a request or an answer that is larger than the store takes is not kept"),
        ("none", "request and answer were not recorded"),
        ("pruned", "request and answer have been deleted"),
    ] {
        store.execute("UPDATE calls SET bodies = ?1", [kept]).unwrap();
        store.execute("UPDATE bodies SET request = zeroblob(0), response = zeroblob(0)", []).unwrap();
        let output = env.llmops(["calls", "show", "0"]).run().expect_status(0);
        assert!(output.stdout.contains(&format!("\nbodies    {words}\n")), "{output}");
        let call = show(&env, "0");
        assert_eq!((&call["bodies"], &call["request"]), (&json!(kept), &Value::Null));
        assert_eq!(rows(&env, &[])[0]["bodies"], kept);
    }
}
