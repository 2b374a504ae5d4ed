//! Every line of every kind of input is answered once: of files, of pipes and of
//! standard input, in every form and format; and no bytes make a batch panic.

use std::fs;

use serde_json::{Value, json};

use super::{
    assert_echoes, by_index, echo, expected_echoes, fifo, json_lines, offline, parrot, prompt_files, texts,
};
use crate::support::TestEnv;

#[test]
fn every_prompt_of_every_file_is_answered_once() {
    let env = TestEnv::new();
    let files = prompt_files();
    let expected: Vec<_> = files.iter().flat_map(|file| expected_echoes(file)).collect();
    let mut run = vec!["batch", "-m", "sim/echo", "-o", "out.jsonl"];
    run.extend(files.iter().map(|file| file.to_str().unwrap()));
    let output = offline(&env, &run).expect_status(0);
    assert_eq!(output.stdout, "", "{output}");
    assert_echoes(&by_index(&env.read("out.jsonl")), &expected);
    let listed = offline(&env, &["calls", "--last", "0", "--format", "jsonl"]).expect_status(0);
    assert_eq!(listed.jsonl().len(), expected.len());
}

#[test]
fn a_file_on_stdin_is_answered_like_a_file() {
    let wired = parrot();
    for file in prompt_files() {
        let run = wired.llmops(["batch", "-", "-m", "gpt-5.4-nano", "--no-log"]);
        let output = run.stdin(fs::read(&file).unwrap()).run().expect_status(0);
        assert_echoes(&by_index(&output.stdout), &expected_echoes(&file));
    }
}

#[test]
fn several_files_are_one_batch() {
    let wired = parrot();
    wired.env.write("a.txt", "one\ntwo\n");
    wired.env.write("b.jsonl", "\"three\"\n{\"prompt\": \"four\", \"id\": \"d\"}\n");
    let args = ["batch", "a.txt", "b.jsonl"];
    let lines = by_index(&wired.llmops(args).run().expect_status(0).stdout);
    assert_eq!(texts(&lines), ["one", "two", "three", "four"]);
    let sources: Vec<_> = lines.iter().map(|line| &line["source"]).collect();
    assert_eq!(sources, ["a.txt:1", "a.txt:2", "b.jsonl:1", "b.jsonl:2"]);
    assert_eq!(lines[3]["id"], "d");
}

#[test]
fn every_form_of_line_is_a_request() {
    let messages = r#"[{"role": "user", "content": "hi"}]"#;
    for line in [
        r#""hi""#.to_owned(),
        r#"{"prompt": "hi"}"#.to_owned(),
        format!(r#"{{"messages": {messages}}}"#),
        format!(r#"{{"model": "gpt-5.4-mini", "messages": {messages}, "temperature": 0.5}}"#),
        format!(
            r#"{{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {{"model": "x", "messages": {messages}}}}}"#
        ),
    ] {
        let lines = echo("in.jsonl", &line, &["-m", "gpt-5.4-nano", "--output-format", "simple"]);
        assert_eq!(texts(&lines), ["hi"], "{line}");
    }
}

#[test]
fn marks_line_ends_and_blank_lines_are_no_prompts() {
    for text in
        ["one\ntwo", "one\ntwo\n", "one\r\ntwo\r\n", "\u{feff}one\n\n  \n\t\ntwo\n\n", "\n\r\none\r\ntwo\n"]
    {
        assert_eq!(texts(&echo("in.txt", text, &[])), ["one", "two"], "{text:?}");
    }
    let json = "\u{feff}{\"prompt\": \"one\"}\r\n\r\n\"two\"\r\n";
    assert_eq!(texts(&echo("in.jsonl", json, &[])), ["one", "two"]);
}

#[test]
fn a_line_keeps_its_number_behind_blank_ones() {
    let lines = echo("in.txt", "\none\n\n\ntwo\n", &[]);
    let places: Vec<_> = lines.iter().map(|line| (&line["index"], &line["source"])).collect();
    assert_eq!(places, [(&json!(0), &json!("in.txt:2")), (&json!(1), &json!("in.txt:5"))]);
}

#[test]
fn the_format_may_be_said() {
    let text = "{\"prompt\": \"hi\"}\n";
    assert_eq!(texts(&echo("in.data", text, &["--input-format", "jsonl"])), ["hi"]);
    assert_eq!(texts(&echo("in.jsonl", text, &["--input-format", "txt"])), [text.trim_end()]);
    assert_eq!(texts(&echo("in.ndjson", text, &[])), ["hi"]);
}

#[test]
fn a_limit_is_for_the_first_items() {
    let text = "one\n\ntwo\nthree\n";
    assert_eq!(texts(&echo("in.txt", text, &["--limit", "2"])), ["one", "two"]);
    assert_eq!(texts(&echo("in.txt", text, &["--limit", "9"])).len(), 3);
    // Nothing behind the limit is looked at.
    let broken = "{\"prompt\": \"one\"}\n{broken\n";
    assert_eq!(texts(&echo("in.jsonl", broken, &["--limit", "1"])), ["one"]);
}

#[test]
fn a_fifo_is_read_like_stdin() {
    let wired = parrot();
    for (name, text) in [("prompts.jsonl", "\"one\"\n\"two\"\n"), ("prompts", "one\ntwo\n")] {
        let path = fifo(&wired, name);
        let running = wired.llmops(["batch", name]).spawn();
        fs::write(&path, text).unwrap();
        let output = running.wait().expect_status(0);
        let lines = by_index(&output.stdout);
        assert_eq!(texts(&lines), ["one", "two"]);
        assert_eq!(lines[1]["source"], format!("{name}:2"));
    }
}

#[test]
fn lines_on_stdin_are_answered_as_they_come() {
    let wired = parrot();
    let mut running = wired.llmops(["batch", "-"]).open_stdin().spawn();
    for text in ["one", "two"] {
        running.write_line(text);
        let line: Value = serde_json::from_str(&running.next_line().unwrap()).unwrap();
        assert_eq!(line["text"], text);
    }
    running.close_stdin();
    let _ = running.wait().expect_status(0);
}

#[test]
fn no_bytes_make_a_batch_panic() {
    let wired = parrot();
    let mut dice = fastrand::Rng::with_seed(20_260_102);
    for round in 0..24 {
        let (name, format) = if round % 2 == 0 { ("in.txt", "txt") } else { ("in.jsonl", "jsonl") };
        let bytes = if round % 4 < 2 { noise(&mut dice) } else { nearly_json(&mut dice) };
        wired.env.write(name, &bytes);
        let from_file = wired.llmops(["batch", name, "--no-log"]).run();
        let args = ["batch", "-", "--no-log", "--input-format", format];
        let from_stdin = wired.llmops(args).stdin(bytes).run();
        for output in [from_file, from_stdin] {
            assert!([0, 2, 3].contains(&output.status), "{output}");
            assert!(!output.stderr.contains("panicked"), "{output}");
            json_lines(&output.stdout);
        }
    }
}

fn noise(dice: &mut fastrand::Rng) -> Vec<u8> {
    let length = dice.usize(..2_000);
    std::iter::repeat_with(|| dice.u8(..)).take(length).collect()
}

/// Fragments of good lines in any order.
fn nearly_json(dice: &mut fastrand::Rng) -> Vec<u8> {
    const FRAGMENTS: [&str; 18] = [
        "{",
        "}",
        "[",
        "]",
        "\"",
        ":",
        ",",
        "\n",
        "\\u",
        "\"prompt\": \"hi\"",
        "\"messages\": ",
        "{\"role\": \"user\"}",
        "{\"prompt\": \"hi\"}\n",
        "1e999",
        "null",
        "\"ü\"",
        "\u{feff}",
        "\0",
    ];
    let length = dice.usize(..60);
    let fragments = std::iter::repeat_with(|| FRAGMENTS[dice.usize(..FRAGMENTS.len())]);
    fragments.take(length).collect::<String>().into_bytes()
}
