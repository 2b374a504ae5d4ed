//! The great search: whatever a server says back of what it was sent, no file and no output has a key in it.

use std::fs;

use serde_json::json;

use super::script;
use crate::path::Wired;
use crate::support::{Output, Received, Reply, Run};

/// In every key of this test, and in nothing else.
const MARK: &str = "Zq7Kx9Wm3Rt5";

/// `me:PASSWORD` as it is sent.
const BASIC: &str = "bWU6cGFzc3dvcmQtWnE3S3g5V20zUnQ1";

/// An event with this text.
fn chunk(text: &str) -> Vec<u8> {
    format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {"content": text}}]})).into_bytes()
}

/// The end of an answer.
const END: &str =
    "data: {\"choices\": [{\"index\": 0, \"delta\": {}, \"finish_reason\": \"stop\"}]}\n\ndata: [DONE]\n\n";

/// All that the server was told, said back in the way that the prompt asks for.
fn echo(request: &Received) -> Reply {
    let told = format!("{} {:?}", request.path, request.headers);
    let key = request.header("authorization").unwrap_or_default().trim_start_matches("Bearer ").to_owned();
    let error = json!({"error": {"message": &told, "type": &key, "code": &key}}).to_string();
    let reply = match &*request.last_user_text() {
        "refuse" => Reply::raw(401, "application/json", error),
        "fail" => Reply::raw(500, "application/json", error),
        "plain" => Reply::raw(503, "text/plain", told.clone()),
        "nonsense" => Reply::raw(200, "text/plain", told.clone()),
        "error in a 200" => Reply::raw(200, "application/json", error),
        "cut" => Reply::answer(told.clone()).cut_after_events(3),
        "broken" => Reply::sse(vec![format!("data: {told}\n\n").into_bytes()]),
        "error in a stream" => Reply::sse(vec![format!("data: {error}\n\n").into_bytes()]),
        // Character by character, which shows on the way and nowhere afterwards.
        "pieces" => Reply::sse(told.chars().map(|c| chunk(&c.to_string())).chain([END.into()]).collect()),
        _ if request.wants_stream() => Reply::sse(vec![chunk(&told), END.into()]),
        _ => Reply::answer(told.clone()).model(&key),
    };
    reply.header("x-request-id", &key).header("x-told", &told.replace('"', ""))
}

const PROMPTS: [&str; 9] =
    ["answer", "refuse", "fail", "plain", "nonsense", "error in a 200", "cut", "broken", "error in a stream"];

/// Runs with everything on that could tell.
fn loudly(wired: &Wired, args: &[&str]) -> Run {
    let run = wired.llmops(args).env("OPENAI_API_KEY", format!("sk-env-{MARK}"));
    run.env("LAB_API_KEY", format!("sk-lab-{MARK}"))
        .env("QUERY_API_KEY", format!("sk-query-{MARK}"))
        .env("RUST_BACKTRACE", "1")
        .env("RUST_LOG", "trace")
}

#[track_caller]
fn assert_clean(what: &str, bytes: &[u8]) {
    for secret in [MARK, BASIC] {
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{secret} is in {what}:\n{}", String::from_utf8_lossy(bytes));
    }
}

#[track_caller]
fn assert_quiet(output: &Output) {
    assert_clean(
        &format!("the output of {}", output.to_string().lines().next().unwrap()),
        output.stdout.as_bytes(),
    );
    assert_clean(
        &format!("stderr of {}", output.to_string().lines().next().unwrap()),
        output.stderr.as_bytes(),
    );
}

fn wired() -> Wired {
    let wired = Wired::to(echo);
    let url = wired.upstream.base_url();
    let command = script(&wired.env, "mine/key.sh", &format!("echo sk-command-{MARK}"));
    let at = url.strip_prefix("http://").unwrap();
    wired.config(
        &format!(
            "providers:\n  lab: {{base_url: '{url}', headers: {{X-Api-Key: 'Token head-{MARK}'}}}}\n  \
         cmd: {{base_url: '{url}', api_key_cmd: '{command}'}}\n  \
         basic: {{base_url: 'http://me:password-{MARK}@{at}'}}\n  \
         query: {{base_url: '{url}?key=query-{MARK}'}}\nretry: {{retries: 1, base: 1ms, max: 1ms}}"
        )
        .replace("retry", "sim: {seed: 1}\n#"),
    )
}

#[test]
fn no_key_is_ever_printed_or_kept() {
    let wired = wired();
    wired.env.write("prompts.txt", PROMPTS.join("\n"));
    for (number, model) in ["openai/m", "lab/m", "cmd/m", "basic/m", "query/m"].iter().enumerate() {
        let (out, summary) = (format!("out-{number}.jsonl"), format!("summary-{number}.json"));
        let mut runs = vec![vec![
            "batch",
            "prompts.txt",
            "-m",
            model,
            "-o",
            &out,
            "--summary",
            &summary,
            "-vv",
            "--log-format",
            "json",
        ]];
        for prompt in PROMPTS {
            let command = if prompt.contains("stream") || prompt == "broken" { "stream" } else { "chat" };
            runs.push(vec![command, "-m", model, prompt, "-vv", "--log-file", "calls.log", "--retries", "0"]);
        }
        runs.push(vec!["chat", "-m", model, "answer", "--format", "json", "--log-format", "json"]);
        runs.push(vec!["stream", "-m", model, "answer", "-v"]);
        let pieces = ["stream", "-m", model, "pieces", "-vv", "--log-format", "json"];
        assert_clean("stderr", loudly(&wired, &pieces).run().expect_status(0).stderr.as_bytes());
        for args in runs {
            assert_quiet(&loudly(&wired, &args).run());
        }
    }
    for args in [
        &["config", "show", "--origin", "-vv"][..],
        &["config", "show", "--format", "json"],
        &["config", "check"],
        &["models", "-vv"],
        &["calls", "--last", "0"],
        &["cost", "--by", "model"],
        &["calls", "--last", "0", "--format", "json"],
    ] {
        assert_quiet(&loudly(&wired, args).run().expect_status(0));
    }
    assert_quiet(&loudly(&wired, &["config", "init"]).run().expect_status(2));
    assert_nothing_is_kept(&wired);
}

/// Neither in what is on record nor in any file.
fn assert_nothing_is_kept(wired: &Wired) {
    let calls = wired.calls();
    assert!(calls.len() > 90, "{}", calls.len());
    // Bodies are compressed: what is in them shows here.
    for call in &calls {
        let id = call["call_id"].as_str().unwrap();
        assert_quiet(&loudly(wired, &["calls", "show", id, "--format", "json"]).run().expect_status(0));
    }
    assert_quiet(
        &loudly(wired, &["calls", "show", calls[0]["call_id"].as_str().unwrap()]).run().expect_status(0),
    );
    let own = ["config/llmops/config.yaml", "work/mine/key.sh"].map(|name| wired.env.root().join(name));
    let files = wired.env.files_below("");
    assert!(files.iter().any(|(name, _)| name.ends_with("calls.log")) && files.len() > 12, "{}", files.len());
    for (name, bytes) in files {
        if !own.iter().any(|own| own.to_str() == Some(&*name)) {
            assert_clean(&name, &bytes);
        }
    }
    assert!(fs::read_to_string(&own[0]).unwrap().contains(MARK));
}
