//! A run stops by itself where going on is pointless, wastes few requests on that, and goes on once it is mended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{as_asked, by_index, parrot};
use crate::path::{KEY, Wired};
use crate::support::{Received, Reply};

/// A server that refuses everything until it is mended.
fn refusing(status: u16, code: &'static str) -> (Wired, Arc<AtomicBool>) {
    let mended = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&mended);
    let wired = Wired::to(move |request: &Received| {
        if theirs.load(Ordering::SeqCst) {
            Reply::answer(request.last_user_text())
        } else {
            Reply::error(status, code)
        }
    });
    (wired, mended)
}

#[test]
fn a_key_or_an_account_that_is_no_good_ends_the_run() {
    for (status, code) in
        [(401, "invalid_api_key"), (402, "payment_required"), (403, "forbidden"), (429, "insufficient_quota")]
    {
        let (wired, mended) = refusing(status, code);
        let prompts: Vec<String> = (0..100).map(|n| format!("prompt {n}")).collect();
        wired.env.write("in.txt", prompts.join("\n"));
        let args = ["batch", "in.txt", "-o", "out", "-j", "4"];
        let output = wired.llmops(args).run().expect_status(1);
        assert!(output.stderr.contains("error: stopped, since going on is pointless: "), "{output}");
        assert!(output.stderr.contains("to go on: llmops batch in.txt -o out -j 4 --resume"), "{output}");
        let wasted = wired.requests();
        assert!(wasted <= 8, "{code}: {wasted} requests");
        let listed = wired.llmops(["batch", "--list", "--format", "json"]).run().expect_status(0).json();
        assert_eq!(listed[0]["status"], "stopped", "{listed}");
        mended.store(true, Ordering::SeqCst);
        let output = wired.llmops([&args[..], &["--resume"]].concat()).run().expect_status(0);
        assert_eq!(wired.requests() - wasted, 100, "{output}");
        let lines = by_index(&wired.env.read("out"));
        assert!(lines.len() == 100 && lines.iter().all(|line| line["error"].is_null()), "{output}");
    }
}

#[test]
fn fifty_failures_in_a_row_end_the_run() {
    let (wired, mended) = refusing(400, "invalid_value");
    wired.env.write("in.txt", "prompt\n".repeat(200));
    let args = ["batch", "in.txt", "-o", "out", "-j", "4"];
    let output = wired.llmops(args).run().expect_status(1);
    assert!(output.stderr.contains("50 items in a row have failed, the last with: "), "{output}");
    let wasted = wired.requests();
    assert!((50..=58).contains(&wasted), "{wasted} requests");
    mended.store(true, Ordering::SeqCst);
    let _ = wired.llmops([&args[..], &["--resume", "--retry-failed"]].concat()).run().expect_status(0);
    assert_eq!(wired.requests() - wasted, 200);
    assert_eq!(by_index(&wired.env.read("out")).len(), 200);
}

#[test]
fn failures_that_are_not_in_a_row_do_not() {
    let wired = Wired::to(as_asked);
    let bad = "400 invalid_value\n".repeat(49);
    wired.env.write("in.txt", format!("{bad}well\n{bad}well\n"));
    let _ = wired.llmops(["batch", "in.txt", "-o", "out", "-j", "1"]).run().expect_status(3);
    assert_eq!(wired.requests(), 100);
}

#[test]
fn lines_that_are_none_do_not() {
    let wired = parrot();
    let input = "{broken\n".repeat(60) + "\"well\"\n";
    let output = wired.llmops(["batch", "-", "--input-format", "jsonl"]).stdin(input).run().expect_status(3);
    assert_eq!((output.jsonl().len(), wired.requests()), (61, 1), "{output}");
}

#[test]
fn one_providers_bad_key_says_nothing_of_another() {
    let wired = Wired::to(|request| match request.header("authorization") {
        Some(key) if key.ends_with(KEY) => Reply::error(401, "invalid_api_key"),
        _ => Reply::answer("well"),
    });
    let bad = "{\"prompt\": \"one\"}\n".repeat(20);
    let good = "{\"prompt\": \"two\", \"model\": \"deepseek/deepseek-chat\"}\n".repeat(20);
    wired.env.write("in.jsonl", bad + &good);
    let run = wired.llmops(["batch", "in.jsonl", "-o", "out", "-j", "2"]);
    let run = run.env("DEEPSEEK_API_KEY", "sk-other").env("DEEPSEEK_BASE_URL", wired.upstream.base_url());
    let output = run.run().expect_status(3);
    assert_eq!(wired.requests(), 40, "{output}");
    let lines = by_index(&wired.env.read("out"));
    assert_eq!(lines.iter().filter(|line| line["error"].is_null()).count(), 20, "{output}");
}
