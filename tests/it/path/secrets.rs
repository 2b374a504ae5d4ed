//! The key is nowhere, whatever the server says of it: not in what is printed, not
//! in a view, not in a file.

use std::collections::BTreeSet;

use serde_json::json;

use super::{KEY, SOON, Wired, chunk, data};
use crate::support::{Gate, Output, Reply};

/// No part of the key that would be of use to anybody.
#[track_caller]
fn assert_no_key(what: &str, bytes: &[u8]) {
    let part = &KEY.as_bytes()[..20];
    let found = bytes.windows(part.len()).any(|window| window == part);
    assert!(!found, "the key is in {what}");
}

/// What a run printed, and what all views and files show afterwards.
#[track_caller]
fn assert_key_nowhere(what: &str, wired: &Wired, output: &Output) {
    assert_no_key(&format!("stdout, {what}"), output.stdout.as_bytes());
    assert_no_key(&format!("stderr, {what}"), output.stderr.as_bytes());
    for args in [
        &["calls", "show", "0"][..],
        &["calls", "show", "0", "--format", "json"],
        &["calls", "--format", "json"],
    ] {
        let shown = wired.llmops(args).run().expect_status(0);
        assert_no_key(&format!("{args:?}, {what}"), shown.stdout.as_bytes());
    }
    for (name, bytes) in wired.env.files_below("data") {
        assert_no_key(&format!("{name}, {what}"), &bytes);
    }
}

#[test]
fn the_key_is_nowhere_even_when_the_server_says_it() {
    let told = json!({"error": {"message": format!("key {KEY} is bad"), "type": KEY, "code": KEY}});
    let role = chunk(&json!({"role": "assistant", "content": ""}), None);
    let text = chunk(&json!({"content": "hello"}), None);
    for (what, command, reply) in [
        ("401", "chat", Reply::raw(401, "application/json", told.to_string())),
        ("500", "chat", Reply::raw(500, "application/json", told.to_string()).header("x-request-id", KEY)),
        ("plain", "chat", Reply::raw(503, "text/plain", KEY)),
        ("an error in a 200", "chat", Reply::raw(200, "application/json", told.to_string())),
        ("no JSON in a 200", "chat", Reply::raw(200, "text/plain", format!("key {KEY}!"))),
        ("an error in a stream", "stream", Reply::sse(vec![role.clone(), data(&told)])),
        ("an error after text", "stream", Reply::sse(vec![role.clone(), text, data(&told)])),
        ("no JSON in a stream", "stream", Reply::sse(vec![role, format!("data: {KEY}\n\n").into_bytes()])),
    ] {
        let wired = Wired::always(reply);
        let output = wired.llmops([command, "-vv", "hi"]).run().expect_status(1);
        assert_key_nowhere(what, &wired, &output);
    }
}

#[test]
fn the_key_is_not_even_there_in_part_where_a_text_is_cut_short() {
    for before in [0, 10, 20, 30, 35, 39] {
        let filler = "x".repeat(before);
        let wired = Wired::always(Reply::raw(200, "text/plain", format!("{filler}{KEY}")));
        let output = wired.llmops(["chat", "-vv", "hi"]).run().expect_status(1);
        assert_key_nowhere(&format!("{before} before it"), &wired, &output);
    }
    for before in [250, 270, 290, 300] {
        let message = format!("{}{KEY}", "x".repeat(before));
        let body = json!({"error": {"message": message, "code": message}}).to_string();
        let wired = Wired::always(Reply::raw(400, "application/json", body));
        let output = wired.llmops(["chat", "-vv", "hi"]).run().expect_status(1);
        assert_key_nowhere(&format!("{before} before it"), &wired, &output);
    }
}

#[test]
fn the_key_is_not_in_the_store_while_it_is_written() {
    let gate = Gate::new();
    let held = gate.clone();
    let wired = Wired::to(move |request| match &*request.last_user_text() {
        "first" => Reply::error(400, KEY),
        _ => Reply::answer("hello").gate(&held),
    });
    let mut running = wired.llmops(["batch", "-", "-j", "1", "-vv"]).open_stdin().spawn();
    running.write_line("first");
    running.write_line("second");
    assert!(gate.wait_until_reached(SOON));
    let files = wired.env.files_below("data");
    let names: BTreeSet<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.iter().any(|name| name.ends_with("/llmops.db")), "{names:?}");
    for (name, bytes) in &files {
        assert_no_key(name, bytes);
    }
    gate.release();
    let output = running.wait().expect_status(3);
    assert_no_key("stdout", output.stdout.as_bytes());
    assert_no_key("stderr", output.stderr.as_bytes());
}
