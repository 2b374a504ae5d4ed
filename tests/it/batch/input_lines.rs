//! Lines of OpenAI's Batch API, ids that are there twice, huge lines, and files
//! that change while they are read.

use std::fmt::Write;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::{by_index, echo, parrot, refused, refused_file, texts};
use crate::path::Wired;
use crate::support::{Gate, Reply};

/// A line of the Batch API with more fields, or others.
fn batch_line(id: &str, more: &Value) -> String {
    let mut line = json!({
        "custom_id": id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "gpt-5.4-nano", "messages": [{"role": "user", "content": id}]},
    });
    for (key, value) in more.as_object().unwrap() {
        match value {
            Value::Null => line.as_object_mut().unwrap().shift_remove(key),
            value => line.as_object_mut().unwrap().insert(key.clone(), value.clone()),
        };
    }
    format!("{line}\n")
}

#[test]
fn a_line_of_the_batch_api_goes_by_its_custom_id() {
    let text = batch_line("a", &json!({"id": "x"})) + &batch_line("7", &json!({"custom_id": 7}));
    let lines = echo("in.jsonl", text, &["--output-format", "simple"]);
    assert_eq!(texts(&lines), ["a", "7"]);
    assert_eq!((&lines[0]["id"], &lines[1]["id"]), (&json!("a"), &json!("7")));
}

#[test]
fn a_line_of_the_batch_api_that_cannot_be_sent_is_refused() {
    for (more, said) in [
        (
            json!({"url": "/v1/embeddings"}),
            "in.jsonl:2: `url` is `/v1/embeddings`, but that of line 1 is for chat",
        ),
        (json!({"method": "GET"}), "in.jsonl:2: `method` is `GET`: only POST is supported"),
        (json!({"custom_id": null}), "in.jsonl:2: a Batch API line needs a `custom_id`"),
        (json!({"custom_id": [1]}), "in.jsonl:2: `custom_id` must be a string"),
    ] {
        let output = refused_file("in.jsonl", batch_line("a", &json!({})) + &batch_line("b", &more));
        assert!(output.stderr.contains(said), "{output}");
    }
    let output = refused_file("in.jsonl", batch_line("a", &json!({"url": "/v1/embeddings"})));
    assert!(output.stderr.contains("only /v1/chat/completions is supported so far"), "{output}");
}

#[test]
fn a_custom_id_is_for_one_line() {
    let lines = |ids: &[&str]| ids.iter().map(|id| batch_line(id, &json!({}))).collect::<String>();
    let output = refused_file("in.jsonl", format!("\n{}", lines(&["a", "b", "c", "b", "a"])));
    assert!(output.stderr.contains("error: in.jsonl:5: `custom_id` is that of line 3 already\n"), "{output}");
    let wired = Wired::unused();
    wired.env.write("a.jsonl", lines(&["a", "b"]));
    wired.env.write("b.jsonl", lines(&["c", "b"]));
    let output = refused(&wired, &["batch", "a.jsonl", "b.jsonl", "-o", "out.jsonl"]);
    assert!(output.stderr.contains("b.jsonl:2: `custom_id` is that of a.jsonl:2 already"), "{output}");
    let wired = parrot();
    let run = wired
        .llmops(["batch", "-", "-j", "1", "--output-format", "simple"])
        .stdin(lines(&["a", "b", "a"]))
        .run()
        .expect_status(3);
    let found = by_index(&run.stdout);
    assert_eq!(found[2]["error"]["message"], "`custom_id` is that of an earlier line");
    assert_eq!(texts(&found[..2]), ["a", "b"]);
}

#[test]
fn other_ids_may_be_there_twice() {
    let line = "{\"id\": \"a\", \"prompt\": \"hi\"}\n";
    assert_eq!(texts(&echo("in.jsonl", line.repeat(2), &[])), ["hi", "hi"]);
}

#[test]
fn one_id_among_many_is_found() {
    let mut text = String::new();
    for id in 0..100_000 {
        let id = if id == 90_000 { 17 } else { id };
        writeln!(text, "{{\"custom_id\":\"{id}\",\"body\":{{\"messages\":[{{\"role\":\"user\"}}]}}}}")
            .unwrap();
    }
    let output = refused_file("in.jsonl", text);
    assert!(output.stderr.contains("in.jsonl:90001: `custom_id` is that of line 18 already"), "{output}");
}

#[test]
fn huge_lines_are_read() {
    let huge = "x".repeat(10 << 20);
    let wired = Wired::to(|request| Reply::answer(request.last_user_text().len().to_string()));
    wired.env.write("in.txt", format!("{huge}\nsmall\n{huge}\n"));
    let output = wired.llmops(["batch", "in.txt", "--no-log"]).run().expect_status(0);
    assert_eq!(texts(&by_index(&output.stdout)), ["10485760", "5", "10485760"]);
}

#[test]
fn a_line_without_an_end_is_refused() {
    let mut text = b"one\n".to_vec();
    text.resize((64 << 20) + 16, b'x');
    let output = refused_file("in.txt", text);
    assert!(output.stderr.contains("in.txt:2: longer than 64 MiB"), "{output}");
    let mut text = b"prompt\n\"".to_vec();
    text.resize((65 << 20) + 16, b'x');
    let output = refused_file("in.csv", text);
    assert!(output.stderr.contains("in.csv:2: the quote that begins in line 2 is never closed"), "{output}");
}

#[test]
fn bytes_of_zero_are_bytes() {
    assert_eq!(texts(&echo("in.txt", "a\0b\n", &[])), ["a\0b"]);
    let output = refused_file("in.jsonl", "{\"prompt\": \"a\0b\"}\n");
    assert!(output.stderr.contains("in.jsonl:1:"), "{output}");
}

/// A file that is written to between its check and its end stops the batch, since nobody knows what the rest
/// of it is.
#[test]
fn a_file_that_changes_under_the_batch_stops_it() {
    let gate = Gate::new();
    let (held, prompt) = (gate.clone(), "x".repeat(100_000));
    let wired = Wired::to(move |request| Reply::answer(&request.last_user_text()[..1]).gate(&held));
    let path = wired.env.write("in.txt", format!("{prompt}\n").repeat(200));
    let running = wired.llmops(["batch", "in.txt", "-j", "1", "--no-log"]).spawn();
    assert!(gate.wait_until_reached(Duration::from_secs(20)));
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(100_001).unwrap();
    gate.release();
    let output = running.wait().expect_status(2);
    assert!(output.stderr.contains("error: in.txt changed while it was read"), "{output}");
    assert!(output.stderr.contains("hint: "), "{output}");
}
