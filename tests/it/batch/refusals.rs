//! A batch that cannot go well is refused before any call: bad files, bad lines,
//! unknown models, a missing key.

use std::fs;
use std::process::Command;

use super::{offline, refused, refused_file};
use crate::path::Wired;
use crate::support::{TestEnv, assert_run};

#[test]
fn a_missing_file_is_refused() {
    assert_run!(refused(&Wired::unused(), &["batch", "nowhere.txt", "-o", "out.jsonl"]));
}

#[test]
fn a_missing_file_beside_a_good_one_is_refused() {
    let wired = Wired::unused();
    wired.env.write("in.txt", "hi\n");
    assert_run!(refused(&wired, &["batch", "in.txt", "nowhere.txt", "-o", "out.jsonl"]));
}

#[test]
fn a_folder_without_files_is_refused() {
    let wired = Wired::unused();
    wired.env.write("prompts/.in.txt", "hi\n");
    assert_run!(refused(&wired, &["batch", "prompts", "-o", "out.jsonl"]));
}

#[test]
fn a_name_that_tells_no_format_is_refused() {
    assert_run!(refused_file("in.docx", "hi\n"));
}

#[test]
fn a_file_that_may_not_be_read_says_so() {
    let wired = Wired::unused();
    let path = wired.env.write("in.txt", "hi\n");
    let locked = Command::new("chmod").arg("0").arg(&path).status().unwrap();
    assert!(locked.success());
    // The superuser reads it all the same.
    if fs::read(&path).is_err() {
        let output = refused(&wired, &["batch", "in.txt", "-o", "out.jsonl"]);
        assert!(output.stderr.contains("in.txt"), "{output}");
    }
}

#[test]
fn a_broken_line_is_refused_before_any_call() {
    let mut lines = vec![r#"{"prompt": "hi"}"#; 20];
    lines[16] = r#"{"prompt": "hi"#;
    assert_run!(refused_file("in.jsonl", lines.join("\n")));
}

#[test]
fn every_kind_of_bad_line_is_named_with_its_place() {
    for line in [
        "5",
        "[]",
        "null",
        "{}",
        "\"\"",
        "\"  \"",
        "{\"prompt\": 5}",
        "{\"prompt\": \"\"}",
        "{\"prompt\": \"a\", \"messages\": []}",
        "{\"messages\": []}",
        "{\"messages\": \"hi\"}",
        "{\"messages\": [5]}",
        "{\"messages\": [{\"content\": \"no role\"}]}",
        "{\"prompt\": \"a\", \"tags\": [1]}",
        "{\"prompt\": \"a\", \"model\": 5}",
        "{\"url\": \"/v1/embeddings\", \"body\": {\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}}",
        "{\"body\": 5}",
        "{\"prompt\": \"a\"} trailing",
    ] {
        let output = refused_file("in.jsonl", format!("\"fine\"\n\n{line}\n"));
        assert!(output.stderr.contains("in.jsonl:3"), "{line}: {output}");
    }
}

#[test]
fn text_that_is_not_utf_8_is_refused_with_its_place() {
    assert_run!(refused_file("in.txt", b"one\ntwo\nthr\xffee\n"));
}

#[test]
fn an_empty_file_is_refused() {
    assert_run!(refused_file("in.jsonl", ""));
}

#[test]
fn a_file_of_blank_lines_is_refused() {
    let output = refused_file("in.txt", "\u{feff}\r\n  \n\n");
    assert!(output.stderr.contains("in.txt"), "{output}");
}

#[test]
fn an_unknown_model_is_refused() {
    let wired = Wired::unused();
    wired.env.write("in.txt", "hi\n");
    assert_run!(refused(&wired, &["batch", "in.txt", "-o", "out.jsonl", "-m", "gpt-5.4-nona"]));
}

#[test]
fn an_unknown_model_of_a_line_is_refused() {
    let lines = "\"one\"\n{\"prompt\": \"two\", \"model\": \"gpt-5.4-nona\"}\n";
    let output = refused_file("in.jsonl", lines);
    assert!(output.stderr.contains("in.jsonl:2"), "{output}");
    assert!(output.stderr.contains("gpt-5.4-nona"), "{output}");
}

#[test]
fn a_missing_key_is_refused() {
    let wired = Wired::unused();
    wired.env.write("in.txt", "hi\n");
    let run = wired.llmops(["batch", "in.txt", "-o", "out.jsonl"]);
    let output = run.env_remove("OPENAI_API_KEY").run().expect_status(2);
    assert!(!wired.env.path("out.jsonl").exists());
    assert_run!(output);
}

#[test]
fn no_model_and_no_key_is_refused_with_a_way_out() {
    let env = TestEnv::new();
    env.write("in.txt", "hi\n");
    assert_run!(offline(&env, &["batch", "in.txt", "-o", "out.jsonl"]));
    assert!(!env.path("out.jsonl").exists());
}

#[test]
fn no_jobs_at_all_is_refused() {
    let wired = Wired::unused();
    wired.env.write("in.txt", "hi\n");
    assert_run!(refused(&wired, &["batch", "in.txt", "-o", "out.jsonl", "-j", "0"]));
}

#[test]
fn a_store_that_is_none_is_refused() {
    let wired = Wired::unused();
    wired.env.write("in.txt", "hi\n");
    wired.env.write("not.db", "this is not a database, but it is long enough to look like one");
    let output = refused(&wired, &["batch", "in.txt", "-o", "out.jsonl", "--db", "not.db"]);
    assert!(output.stderr.contains("not.db"), "{output}");
}
