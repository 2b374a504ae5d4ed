//! Options of a batch are for all of its lines, lines speak for themselves, and a
//! dry run calls nobody.

use serde_json::json;

use super::{by_index, texts};
use crate::path::Wired;
use crate::support::{Reply, assert_run};

#[test]
fn an_option_beats_a_lines_model_which_beats_the_config() {
    let wired = Wired::to(|request| Reply::answer(request.body["model"].as_str().unwrap()));
    wired.env.write("in.jsonl", "\"one\"\n{\"prompt\": \"two\", \"model\": \"gpt-5.4-mini\"}\n");
    let answered = |more: &[&str]| {
        let args = [&["batch", "in.jsonl", "--no-log"], more].concat();
        let output = wired.llmops(args).run().expect_status(0);
        texts(&by_index(&output.stdout)).join(" ")
    };
    assert_eq!(answered(&[]), "gpt-5.4-nano gpt-5.4-mini");
    assert_eq!(answered(&["-m", "openai/other"]), "other other");
}

#[test]
fn options_are_for_every_line_and_lines_for_themselves() {
    let wired = Wired::to(|_| Reply::answer("hello"));
    let line = json!({
        "messages": [{"role": "system", "content": "chatty"}, {"role": "user", "content": "one"}],
        "max_tokens": 99, "top_p": 0.5, "user": "u-line", "tags": {"team": "line"},
    });
    wired.env.write("in.jsonl", format!("{line}\n\"two\"\n"));
    let args = "batch in.jsonl -j 1 -s terse --max-tokens 7 --user u-all --tag team=all --tag run=1";
    let _ = wired.llmops(args.split(' ')).run().expect_status(0);
    let received = wired.upstream.received();
    for request in &received {
        assert_eq!(request.body["messages"][0], json!({"role": "system", "content": "terse"}));
        assert_eq!(request.body["max_completion_tokens"], 7);
        assert_eq!(request.body.get("max_tokens"), None);
        assert_eq!((request.body.get("user"), request.body.get("tags")), (None, None));
    }
    assert_eq!(received[0].body["messages"].as_array().unwrap().len(), 2);
    assert_eq!(received[0].body["top_p"], 0.5);
    let calls = wired.calls();
    let of = |user: &str| calls.iter().find(|call| call["user"] == user).unwrap();
    assert_eq!(of("u-line")["tags"], json!({"team": "line", "run": "1"}));
    assert_eq!(of("u-all")["tags"], json!({"team": "all", "run": "1"}));
}

#[test]
fn a_dry_run_counts_and_calls_nobody() {
    let wired = Wired::unused();
    wired.env.write("in.txt", "hi\nhello there\n");
    let output =
        wired.llmops(["batch", "in.txt", "-o", "out.jsonl", "--dry-run", "--max-tokens", "10"]).run();
    assert_run!(output);
    assert!(!wired.env.path("out.jsonl").exists());
    assert!(!wired.env.db_path().exists());
}
