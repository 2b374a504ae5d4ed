//! What is written and where: the fields of a line, an OUT that exists, is shared,
//! is no file or cannot grow; and the key is in none of it.

use std::collections::BTreeSet;
use std::fs;

use serde_json::json;

use super::{by_index, echo, fifo, held, json_lines, parrot, refused, texts};
use crate::path::{KEY, SOON, Wired, nanos, price};
use crate::support::{Gate, Reply, assert_run};

#[test]
fn a_line_of_output_has_all_its_fields() {
    let lines = echo("in.jsonl", "{\"id\": 7, \"prompt\": \"hi\"}\n", &[]);
    let fields: BTreeSet<&str> = lines[0].as_object().unwrap().keys().map(String::as_str).collect();
    let promised =
        "index id source text tool_calls finish_reason model usage cost_usd latency_ms attempts cache error";
    assert_eq!(fields, promised.split(' ').collect());
    assert_eq!((&lines[0]["id"], &lines[0]["model"]), (&json!("7"), &json!("gpt-5.4-nano")));
    assert_eq!((&lines[0]["attempts"], &lines[0]["tool_calls"]), (&json!(1), &json!([])));
    assert_eq!((nanos(&lines[0]["cost_usd"]), &lines[0]["cache"]), (price(10, 0, 5), &json!("none")));
}

#[test]
fn an_out_in_no_folder_is_refused() {
    let wired = Wired::unused();
    wired.env.write("in.txt", "hi\n");
    assert_run!(refused(&wired, &["batch", "in.txt", "-o", "nowhere/out.jsonl"]));
}

#[test]
fn an_out_that_is_a_folder_is_refused() {
    let wired = Wired::unused();
    wired.env.write("in.txt", "hi\n");
    fs::create_dir(wired.env.path("answers")).unwrap();
    for more in [&[][..], &["--overwrite"]] {
        let args = [&["batch", "in.txt", "-o", "answers"], more].concat();
        let output = refused(&wired, &args);
        assert!(output.stderr.contains("answers"), "{output}");
    }
}

#[test]
fn an_out_that_exists_is_refused_and_left_alone() {
    let wired = Wired::unused();
    wired.env.write("in.txt", "hi\n");
    wired.env.write("old.jsonl", "precious\n");
    assert_run!(refused(&wired, &["batch", "in.txt", "-o", "old.jsonl"]));
    assert_eq!(wired.env.read("old.jsonl"), "precious\n");
}

#[test]
fn an_out_that_exists_is_replaced_when_that_is_asked_for() {
    let wired = parrot();
    wired.env.write("in.txt", "hi\n");
    wired.env.write("old.jsonl", "x".repeat(10_000));
    let args = ["batch", "in.txt", "-o", "old.jsonl", "--overwrite"];
    let _ = wired.llmops(args).run().expect_status(0);
    assert_eq!(texts(&json_lines(&wired.env.read("old.jsonl"))), ["hi"]);
}

#[test]
fn an_out_is_left_alone_when_the_input_is_refused() {
    let wired = Wired::unused();
    wired.env.write("in.jsonl", "{broken\n");
    wired.env.write("old.jsonl", "precious\n");
    let _ = refused(&wired, &["batch", "in.jsonl", "-o", "old.jsonl", "--overwrite"]);
    wired.env.write("in.jsonl", "{\"prompt\": \"hi\", \"model\": \"no-such-model\"}\n");
    let _ = refused(&wired, &["batch", "in.jsonl", "-o", "old.jsonl", "--overwrite"]);
    assert_eq!(wired.env.read("old.jsonl"), "precious\n");
}

#[test]
fn an_out_that_is_the_input_is_refused() {
    let wired = Wired::unused();
    wired.env.write("in.txt", "hi\n");
    assert_run!(refused(&wired, &["batch", "in.txt", "-o", "./in.txt", "--overwrite"]));
    assert_eq!(wired.env.read("in.txt"), "hi\n");
}

#[test]
fn a_summary_in_the_place_of_the_answers_is_refused() {
    let wired = Wired::unused();
    wired.env.write("in.txt", "hi\n");
    refused(&wired, &["batch", "in.txt", "-o", "out.jsonl", "--summary", "./out.jsonl"]);
    refused(&wired, &["batch", "in.txt", "--summary", "in.txt"]);
    assert_eq!(wired.env.read("in.txt"), "hi\n");
}

#[test]
fn the_key_is_in_no_line_of_output() {
    let told = json!({"error": {"message": format!("key {KEY} is bad"), "code": KEY}}).to_string();
    let wired = Wired::to(move |_| Reply::raw(400, "application/json", told.clone()));
    wired.env.write("in.txt", "hi\n");
    let output = wired.llmops(["batch", "in.txt", "-vv", "--summary", "sum.json"]).run().expect_status(3);
    for text in [&output.stdout, &output.stderr, &wired.env.read("sum.json")] {
        assert!(!text.contains(&KEY[..20]), "{output}");
    }
}

#[test]
fn an_out_belongs_to_one_run_at_a_time() {
    for more in [&[][..], &["--overwrite"]] {
        let gate = Gate::new();
        let wired = held(&gate);
        wired.env.write("in.txt", "well\nwait\n");
        let args = [&["batch", "in.txt", "-o", "out.jsonl"], more].concat();
        let running = wired.llmops(&args).spawn();
        assert!(gate.wait_until_reached(SOON) && wired.upstream.wait_for_requests(2, SOON));
        for more in [&[][..], &["--overwrite"]] {
            let requests = wired.requests();
            let second = wired.llmops([&args[..4], more].concat()).run().expect_status(2);
            assert_eq!(
                second.stderr,
                "error: out.jsonl is being written by another run\nhint: wait for it to end, or name another OUT\n"
            );
            assert_eq!(wired.requests(), requests);
        }
        gate.release();
        let output = running.wait().expect_status(0);
        assert_eq!(by_index(&wired.env.read("out.jsonl")).len(), 2, "{output}");
    }
}

#[test]
fn an_out_need_not_be_a_file() {
    let wired = parrot();
    wired.env.write("in.txt", "hi\n");
    let _ = wired.llmops(["batch", "in.txt", "-o", "/dev/null"]).run().expect_status(0);
    let output = wired.llmops(["batch", "in.txt", "-o", "-"]).run().expect_status(0);
    assert_eq!(texts(&json_lines(&output.stdout)), ["hi"]);
    assert!(!wired.env.path("-").exists());
    let path = fifo(&wired, "answers");
    let running = wired.llmops(["batch", "in.txt", "-o", "answers"]).spawn();
    let answers = fs::read_to_string(path).unwrap();
    assert_eq!(texts(&json_lines(&answers)), ["hi"]);
    let _ = running.wait().expect_status(0);
}

#[test]
fn an_out_that_cannot_grow_keeps_whole_lines() {
    let answer = "x".repeat(1 << 20);
    let wired = Wired::to(move |_| Reply::answer(&answer));
    wired.env.write("in.txt", "hi\n".repeat(40));
    // No file may be larger than 4 MiB, or 8 MiB, as the shell counts.
    let run = wired.llmops(["batch", "in.txt", "-o", "out.jsonl", "-j", "2"]);
    let output = run.after("trap '' XFSZ; ulimit -f 8192").run().expect_status(2);
    let text = wired.env.read("out.jsonl");
    assert!(text.ends_with('\n'), "{output}");
    let lines = json_lines(&text).len();
    let calls = wired.calls().len();
    assert!(lines > 0 && calls > lines && calls < 40, "{lines} lines, {calls} calls");
    let missing = calls - lines;
    let (are, hint) =
        (if missing == 1 { "answer is" } else { "answers are" }, "\nhint: make room and go on with --resume");
    let said = format!("; {missing} {are} on record, but not in it{hint}");
    assert!(
        output.stderr.contains("error: cannot write out.jsonl: ") && output.stderr.contains(&said),
        "{output}"
    );
}
