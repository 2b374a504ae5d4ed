//! Batches with a template: the keys of a line are its variables.

use serde_json::json;

use super::{by_index, echo, parrot, refused, texts};
use crate::path::Wired;
use crate::support::assert_run;

#[test]
fn the_keys_of_a_line_are_variables() {
    let wired = parrot();
    wired.env.write("t.j2", "{{ title }} in {{ lang }}{% if id is defined %} ({{ id }}){% endif %}");
    wired.env.write(
        "in.jsonl",
        "{\"title\": \"A\", \"id\": 7}\n{\"title\": \"B\", \"lang\": \"en\", \"body\": \"x\"}\n",
    );
    let output = wired.llmops(["batch", "in.jsonl", "-t", "t.j2", "--var", "lang=de"]).run().expect_status(0);
    assert_eq!(texts(&by_index(&output.stdout)), ["A in de (7)", "B in en"]);
    assert!(output.stderr.contains("note: keys that the template does not use: `body`"), "{output}");
}

#[test]
fn a_template_is_for_every_kind_of_line() {
    let wired = parrot();
    wired.env.write("t.j2", "Why {{ prompt }}?");
    let lines = "\"a\"\n{\"prompt\": \"b\"}\n{\"messages\": [{\"role\": \"user\", \"content\": \"c\"}]}\n";
    wired.env.write("in.jsonl", lines);
    wired.env.write("in.txt", "d\n");
    let output = wired.llmops(["batch", "in.jsonl", "in.txt", "-t", "t.j2"]).run().expect_status(0);
    assert_eq!(texts(&by_index(&output.stdout)), ["Why a?", "Why b?", "Why c?", "Why d?"]);
    let args = ["batch", "in.jsonl", "in.txt", "-t", "t.j2", "--dry-run"];
    let output = wired.llmops(args).run().expect_status(0);
    assert!(output.stdout.contains("gpt-5.4-nano"), "{output}");
}

#[test]
fn a_line_that_lacks_a_variable_is_refused_before_any_call() {
    let wired = Wired::unused();
    wired.env.write("t.j2", "{{ title }}\nin {{ lang }}");
    wired.env.write("in.jsonl", "{\"title\": \"A\", \"lang\": \"de\"}\n\n{\"title\": \"B\"}\n");
    let args = ["batch", "in.jsonl", "-t", "t.j2", "-o", "out.jsonl"];
    assert_run!(refused(&wired, &args));
    let output = refused(&wired, &[&args[..], &["--dry-run"]].concat());
    assert!(output.stderr.contains("in.jsonl:3: template `t.j2`, line 2: `lang`"), "{output}");
    wired.env.write("bad.j2", "{% for %}");
    let output = refused(&wired, &["batch", "-", "-t", "bad.j2", "-o", "out.jsonl"]);
    assert!(output.stderr.contains("template `bad.j2`, line 1"), "{output}");
}

#[test]
fn a_line_of_stdin_that_lacks_a_variable_is_that_items_error() {
    let wired = parrot();
    wired.env.write("t.j2", "in {{ lang }}");
    let input = "{\"lang\": \"de\"}\n{\"x\": 1}\n{\"lang\": \"en\"}\n";
    let output = wired.llmops(["batch", "-", "-t", "t.j2", "-j", "1"]).stdin(input).run().expect_status(3);
    let lines = by_index(&output.stdout);
    assert_eq!((&lines[0]["text"], &lines[2]["text"]), (&json!("in de"), &json!("in en")));
    assert_eq!(lines[1]["error"]["kind"], "bad_input");
    assert!(lines[1]["error"]["message"].as_str().unwrap().contains("`lang` is not defined"), "{output}");
}

#[test]
fn without_a_template_keys_are_noted() {
    let lines = echo("in.jsonl", "{\"prompt\": \"a\", \"lang\": \"de\"}\n", &[]);
    assert_eq!(texts(&lines), ["a"]);
}
