//! Every row of the table of failures, against two servers: how often the first is asked, whether another model at the
//! same server or at another's is asked instead, what is said, and whether the target's breaker counts it.

use std::net::TcpListener;

use serde_json::{Value, json};

use super::{FIRST, OTHER, Pair, SAME};
use crate::path::{chunk, data, error_line, refusal};
use crate::support::{Reply, Upstream, refused_url};

/// Who is asked once the first target has failed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    Nobody,
    OtherProvider,
    Anybody,
}

use Then::{Anybody, Nobody, OtherProvider};

/// What the first target answers, how often it is asked, who is asked then, what the error is called, and whether
/// every attempt counts for the breaker.
struct Row(&'static str, Reply, usize, Then, &'static str, bool);

const BOTH: &[&str] = &["chat", "stream"];

impl Row {
    /// The servers: one that answers so, but well for another model, and one that is asked or must not be.
    fn servers(&self, two: bool) -> Pair {
        let reply = self.1.clone();
        let one = Upstream::start(move |request| match request.body["model"].as_str() {
            Some("gpt-5.4-mini") => Reply::answer("same"),
            _ => reply.clone(),
        });
        let two = if two { Upstream::start(|_| Reply::answer("other")) } else { Upstream::unused() };
        let limit = if self.0 == "timeout" { "timeouts: {first_delta: 150ms}" } else { "" };
        Pair::of(one, two).config(limit)
    }

    /// With nobody else to ask.
    fn alone(&self, command: &str) {
        let Self(what, _, attempts, _, kind, counts) = *self;
        let pair = self.servers(false);
        let output = pair.llmops([command, "-n", "hi"]).run();
        assert_eq!((output.status, &*output.stdout), (1, ""), "{what}: {output}");
        error_line(&output);
        assert_eq!(pair.requests()[0], attempts, "{what}: {output}");
        let call = pair.call();
        assert_eq!(
            (&call["error"]["kind"], &call["attempts"]),
            (&json!(kind), &json!(attempts)),
            "{what}: {call}"
        );
        assert_eq!(
            (&call["status"], &call["fallback_from"]),
            (&json!("error"), &Value::Null),
            "{what}: {call}"
        );
        let target = pair.target(FIRST);
        let counted = if counts { attempts } else { 0 };
        assert_eq!(target["failures_in_a_row"].as_u64().unwrap_or(0), counted as u64, "{what}: {target}");
        assert_eq!(target["recent_failures"].as_u64().unwrap_or(0), counted as u64, "{what}: {target}");
    }

    /// With another model to ask.
    fn with(&self, command: &str, fallback: &str, asked: bool) {
        let Self(what, _, attempts, ..) = *self;
        let pair = self.servers(asked && fallback == OTHER);
        let output = pair.llmops([command, "-n", "hi", "--fallback", fallback]).run();
        let at_one = attempts + usize::from(asked && fallback == SAME);
        assert_eq!(pair.requests(), [at_one, usize::from(asked && fallback == OTHER)], "{what}: {output}");
        let call = pair.call();
        if asked {
            let answer = if fallback == OTHER { "other\n" } else { "same\n" };
            assert_eq!((output.status, &*output.stdout), (0, answer), "{what}: {output}");
            assert!(output.stderr.contains(&format!("asking {fallback}")), "{what}: {output}");
            assert_eq!(
                (&call["fallback_from"], &call["status"]),
                (&json!(FIRST), &json!("ok")),
                "{what}: {call}"
            );
            assert_eq!(call["attempts"], attempts + 1, "{what}: {call}");
        } else {
            assert_eq!((output.status, &*output.stdout), (1, ""), "{what}: {output}");
            assert_eq!(
                (&call["fallback_from"], &call["attempts"]),
                (&Value::Null, &json!(attempts)),
                "{what}: {call}"
            );
        }
    }

    fn play(&self, commands: &[&str]) {
        for command in commands {
            self.alone(command);
            self.with(command, SAME, self.3 == Anybody);
            self.with(command, OTHER, self.3 != Nobody);
        }
    }
}

fn play(commands: &[&str], rows: impl IntoIterator<Item = Row>) {
    rows.into_iter().for_each(|row| row.play(commands));
}

#[test]
fn what_passes_is_tried_again_and_then_left_to_another() {
    play(
        BOTH,
        [
            Row("reset", Reply::drop_connection(), 4, Anybody, "dropped", true),
            Row("timeout", Reply::hang(), 4, Anybody, "timeout", true),
            Row("408", refusal(408, None), 4, Anybody, "timeout", true),
            Row("409", refusal(409, None), 4, Anybody, "bad_request", false),
            Row("429", refusal(429, None), 4, Anybody, "rate_limit", false),
            Row("429 code", refusal(429, Some("rate_limit_exceeded")), 4, Anybody, "rate_limit", false),
            Row("429 slow", refusal(429, Some("slow_down")), 4, Anybody, "rate_limit", false),
        ],
    );
    let servers = [500, 502, 503, 504, 529, 507];
    play(BOTH, servers.map(|status| Row("5xx", refusal(status, None), 4, Anybody, "server", true)));
}

#[test]
fn what_is_used_up_is_left_to_another_at_once() {
    let codes = [
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "monthly_usage_limit_exceeded",
        "enforced_spend_limit_reached",
    ];
    play(&["chat"], codes.map(|code| Row(code, refusal(429, Some(code)), 1, Anybody, "quota", false)));
}

#[test]
fn a_request_at_fault_is_left_to_nobody() {
    let rows = [400, 404, 405, 413, 422, 300]
        .map(|status| Row("at fault", refusal(status, None), 1, Nobody, "bad_request", false));
    play(&["chat"], rows);
    let elsewhere = refusal(307, None).header("location", "/v1/elsewhere");
    let filtered = |status| refusal(status, Some("content_filter"));
    play(
        BOTH,
        [
            Row("307", elsewhere, 1, Nobody, "bad_request", false),
            Row("filtered", filtered(400), 1, Nobody, "bad_request", false),
            Row("filtered by a server", filtered(500), 1, Nobody, "server", false),
        ],
    );
}

#[test]
fn a_key_at_fault_is_left_to_another_provider() {
    for (status, kind) in [(401, "auth"), (402, "quota"), (403, "auth")] {
        let row = Row("a key", refusal(status, None), 1, OtherProvider, kind, false);
        row.play(BOTH);
        let pair = row.servers(false);
        let output = pair.llmops(["chat", "-n", "hi"]).run().expect_status(1);
        assert!(output.stderr.contains("the key is from OPENAI_API_KEY"), "{output}");
    }
}

#[test]
fn the_server_may_say_what_is_tried_again() {
    let said = |status, code, yes: &str| refusal(status, code).header("x-should-retry", yes);
    play(
        &["chat"],
        [
            Row("400, retry", said(400, None, "true"), 4, Nobody, "bad_request", false),
            Row("500, no", said(500, None, "false"), 1, Anybody, "server", true),
            Row("408, no", said(408, None, "false"), 1, Anybody, "timeout", true),
            Row("429, no", said(429, None, "false"), 1, Anybody, "rate_limit", false),
            Row("401, retry", said(401, None, "true"), 1, OtherProvider, "auth", false),
            Row("quota, retry", said(429, Some("insufficient_quota"), "true"), 1, Anybody, "quota", false),
            Row("filter, retry", said(400, Some("content_filter"), "true"), 1, Nobody, "bad_request", false),
        ],
    );
}

#[test]
fn an_answer_that_makes_no_sense_is_tried_once_more_and_left_to_another() {
    let raw = |body: &str| Reply::raw(200, "application/json", body);
    play(
        BOTH,
        [
            Row("no JSON", raw("<html>busy</html>"), 2, Anybody, "bad_response", true),
            Row("no choices", raw("{}"), 2, Anybody, "bad_response", true),
        ],
    );
    play(&["chat"], [Row("cut", Reply::answer("x").cut_after_events(0), 4, Anybody, "dropped", true)]);
}

/// The piece with which every stream begins, and which is no content.
fn role() -> Vec<u8> {
    chunk(&json!({"role": "assistant", "content": ""}), None)
}

fn error() -> Vec<u8> {
    data(&json!({"error": {"message": "overloaded", "type": "server_error", "code": null}}))
}

#[test]
fn a_stream_that_breaks_before_it_begins_is_as_a_failure_of_the_server() {
    let role_then_error = Reply::sse(vec![role(), error()]);
    play(
        &["stream"],
        [
            Row("nothing", Reply::answer("x").cut_after_events(0), 4, Anybody, "stream", true),
            Row("a role", Reply::answer("x").cut_after_events(1), 4, Anybody, "stream", true),
            Row("an error", Reply::sse(vec![error()]), 4, Anybody, "stream", true),
            Row("a role and an error", role_then_error, 4, Anybody, "stream", true),
        ],
    );
}

#[test]
fn a_stream_that_has_begun_is_left_to_nobody() {
    let call =
        json!({"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{"}});
    for (what, delta) in [
        ("text", json!({"content": "half"})),
        ("reasoning", json!({"reasoning_content": "hm"})),
        ("reasoning, otherwise", json!({"reasoning": "hm"})),
        ("a tool", json!({"tool_calls": [call]})),
    ] {
        let pieces = [role(), chunk(&delta, None)];
        let broken = Reply::sse([&pieces[..], &[role()]].concat()).cut_after_events(2);
        let ended = Reply::sse([&pieces[..], &[error()]].concat());
        for reply in [broken, ended] {
            let pair = Row(what, reply, 1, Nobody, "stream", false).servers(false);
            let args = ["stream", "-n", "hi", "--fallback", OTHER, "--fallback", SAME, "--degrade", "later"];
            let output = pair.llmops(args).run().expect_status(1);
            assert_eq!(pair.requests(), [1, 0], "{what}: {output}");
            assert!(!output.stdout.contains("later"), "{what}: {output}");
            let call = pair.call();
            assert_eq!(
                (&call["status"], &call["attempts"]),
                (&json!("partial"), &json!(1)),
                "{what}: {call}"
            );
            assert_eq!(call["fallback_from"], Value::Null, "{what}: {call}");
        }
    }
}

#[test]
fn nobody_there_and_nobody_who_shakes_hands() {
    // Accepts, and says nothing: the handshake waits in vain.
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mute = format!("https://{}/v1", silent.local_addr().unwrap());
    for (what, address) in [("refused", refused_url()), ("handshake", mute)] {
        for command in BOTH {
            let two = Upstream::start(|_| Reply::answer("other"));
            let pair = Pair::of(Upstream::unused(), two).config("timeouts: {connect: 100ms}");
            let run = |more: &[&str]| {
                let args = [&[*command, "-n", "hi"], more].concat();
                pair.llmops(args).env("OPENAI_BASE_URL", &address).run()
            };
            let output = run(&[]).expect_status(1);
            let call = pair.call();
            assert_eq!(call["attempts"], 4, "{what}: {output}");
            assert!(
                ["connect", "timeout"].contains(&call["error"]["kind"].as_str().unwrap()),
                "{what}: {call}"
            );
            assert_eq!(pair.target(FIRST)["failures_in_a_row"], 4, "{what}");
            assert_eq!(run(&["--fallback", OTHER]).expect_status(0).stdout, "other\n", "{what}");
        }
    }
}
