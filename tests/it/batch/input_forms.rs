//! Every form of input gives the same items: tables, YAML lists, files that are
//! prompts, folders of them; and a mistake in any is named by its place.

use std::fs;

use serde_json::{Value, json};

use super::{by_index, echo, parrot, refused, refused_file, texts};
use crate::path::Wired;

/// The place of every item.
fn sources(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["source"].as_str().unwrap()).collect()
}

#[test]
fn a_table_has_a_prompt_a_row() {
    let csv = "\u{feff}id,prompt\r\n7,\"one, \"\"and\"\"\r\nmore\"\r\n\r\n,two\r\n";
    let tsv = "prompt\tcustom_id\none, \"and\"\t7\ntwo\t\n";
    let lines = echo("in.csv", csv, &[]);
    assert_eq!(texts(&lines), ["one, \"and\"\r\nmore", "two"]);
    assert_eq!(sources(&lines), ["in.csv:2", "in.csv:5"]);
    assert_eq!((&lines[0]["id"], &lines[1]["id"]), (&json!("7"), &Value::Null));
    let lines = echo("in.tsv", tsv, &[]);
    assert_eq!(texts(&lines), ["one, \"and\"", "two"]);
    assert_eq!(lines[0]["id"], "7");
}

#[test]
fn columns_are_variables() {
    let wired = parrot();
    wired.env.write("t.j2", "{{ title }} in {{ lang }}{% if note %} ({{ note }}){% endif %}");
    wired.env.write(
        "in.csv",
        "title,lang,note,user,tags,model\nA,de,,ada,\"team=x,n=1\",\nB,en,hm,,,gpt-5.4-mini\n",
    );
    let output = wired.llmops(["batch", "in.csv", "-t", "t.j2"]).run().expect_status(0);
    let lines = by_index(&output.stdout);
    assert_eq!(texts(&lines), ["A in de", "B in en (hm)"]);
    assert_eq!(lines[1]["model"], "gpt-5.4-mini");
    let calls = wired.llmops(["calls", "--user", "ada", "--format", "jsonl"]).run().expect_status(0).jsonl();
    assert_eq!((calls.len(), &calls[0]["tags"]), (1, &json!({"n": "1", "team": "x"})));
}

#[test]
fn a_list_of_yaml_has_any_form_of_item() {
    let yaml = "# prompts\n- one\n- id: b\n  prompt: |\n    two\n    - three\n- messages:\n    - {role: user, content: four}\n";
    let lines = echo("in.yaml", yaml, &[]);
    assert_eq!(texts(&lines), ["one", "two\n- three\n", "four"]);
    assert_eq!(sources(&lines), ["in.yaml:2", "in.yaml:3", "in.yaml:7"]);
    assert_eq!(lines[1]["id"], "b");
    assert_eq!(texts(&echo("in.yml", "[one, {prompt: two}]", &[])), ["one", "two"]);
}

#[test]
fn a_file_may_be_a_prompt() {
    let lines = echo("in.md", "# one\n\ntwo\n", &["--input-format", "file"]);
    assert_eq!((texts(&lines), sources(&lines)), (vec!["# one\n\ntwo"], vec!["in.md"]));
    let wired = parrot();
    wired.env.write("t.j2", "Review:\n{{ prompt }}");
    wired.env.write("code/a.rs", "fn main() {}\n");
    let output = wired.llmops(["batch", "code", "-t", "t.j2"]).run().expect_status(0);
    assert_eq!(texts(&by_index(&output.stdout)), ["Review:\nfn main() {}"]);
}

#[test]
fn a_folder_is_its_files_in_order() {
    let wired = parrot();
    for (name, text) in
        [("b.txt", "two"), ("a.txt", "one\n"), ("c/d/e", "three"), (".hidden", "no"), ("c/.x/y", "no")]
    {
        wired.env.write(format!("in/{name}"), text);
    }
    wired.env.write("elsewhere", "four");
    std::os::unix::fs::symlink(wired.env.path("elsewhere"), wired.env.path("in/z")).unwrap();
    std::os::unix::fs::symlink("..", wired.env.path("in/c/circle")).unwrap();
    let lines = by_index(&wired.llmops(["batch", "in"]).run().expect_status(0).stdout);
    assert_eq!(texts(&lines), ["one", "two", "three", "four"]);
    assert_eq!(sources(&lines), ["in/a.txt", "in/b.txt", "in/c/d/e", "in/z"]);
    wired.env.write("lines/a", "\"one\"\n\"two\"\n");
    wired.env.write("lines/b", "\"three\"\n");
    let args = ["batch", "lines", "--input-format", "jsonl"];
    let lines = by_index(&wired.llmops(args).run().expect_status(0).stdout);
    assert_eq!(
        (texts(&lines), lines[2]["source"].as_str()),
        (vec!["one", "two", "three"], Some("lines/b:1"))
    );
}

#[test]
fn all_forms_go_together() {
    let wired = parrot();
    wired.env.write("a.txt", "one\n");
    wired.env.write("b.csv", "prompt\ntwo\n");
    wired.env.write("c/d", "three");
    wired.env.write("e.yaml", "- four\n");
    let args = ["batch", "e.yaml", "c", "b.csv", "a.txt"];
    let lines = by_index(&wired.llmops(args).run().expect_status(0).stdout);
    assert_eq!(texts(&lines), ["four", "three", "two", "one"]);
    let args =
        ["cost", "estimate", "e.yaml", "c", "b.csv", "a.txt", "-m", "gpt-5.4-nano", "--format", "json"];
    let rows = wired.llmops(args).run().expect_status(0).json();
    assert_eq!(rows[0]["requests"], 4, "{rows}");
}

#[test]
fn stdin_may_have_any_form() {
    let wired = parrot();
    for (format, text) in [
        ("csv", "prompt,x\none,1\ntwo,2\n"),
        ("tsv", "x\tprompt\n1\tone\n2\ttwo\n"),
        ("yaml", "- one\n- two\n"),
        ("jsonl", "\"one\"\n\"two\"\n"),
        ("txt", "one\ntwo\n"),
    ] {
        let run = wired.llmops(["batch", "-", "--no-log", "--input-format", format]).stdin(text).run();
        let lines = by_index(&run.expect_status(0).stdout);
        assert_eq!((texts(&lines), lines[1]["index"].as_u64()), (vec!["one", "two"], Some(1)), "{format}");
    }
    let run = wired.llmops(["batch", "-", "--input-format", "file"]).stdin("one\ntwo\n").run();
    assert_eq!(texts(&by_index(&run.expect_status(0).stdout)), ["one\ntwo"]);
}

#[test]
fn a_bad_row_of_stdin_is_that_items_error() {
    let wired = parrot();
    for (format, text) in
        [("csv", "prompt,x\none,1\ntwo\nthree,3\n"), ("yaml", "- one\n- prompt: 'two\n- three\n")]
    {
        let run = wired.llmops(["batch", "-", "--no-log", "--input-format", format]).stdin(text).run();
        let lines = by_index(&run.expect_status(3).stdout);
        assert_eq!((&lines[0]["text"], &lines[2]["text"]), (&json!("one"), &json!("three")));
        assert_eq!(lines[1]["error"]["kind"], "bad_input", "{format}");
    }
}

#[test]
fn every_mistake_of_a_file_is_named_with_its_place() {
    for (name, text, said) in [
        ("in.csv", &b"prompt,x\na,1\nb\n"[..], "in.csv:3: 1 field, where the header has 2"),
        ("in.csv", b"prompt,x,prompt\na,1,2\n", "in.csv:1: two columns are called `prompt`"),
        ("in.csv", b"prompt,\na,1\n", "in.csv:1: column 2 has no name"),
        ("in.csv", b"prompt\n\n", "in.csv:1: a header without rows"),
        ("in.csv", b"title,lang\na,de\n", "in.csv:1: no column is called `prompt`"),
        ("in.csv", b"prompt\na\n\"b\nc\n", "in.csv:3: the quote that begins in line 3 is never closed"),
        ("in.csv", b"prompt\na\n\"b\" c\n", "in.csv:3: text behind the quotes of field 1"),
        ("in.csv", b"prompt,x\na,\"1\n\xff\"\n", "in.csv:2: column `x` is not valid UTF-8 at byte 3 of it"),
        ("in.csv", b"prompt,x\n ,1\n", "in.csv:2: the prompt is empty"),
        ("in.csv", b"prompt,tags\na,b\n", "in.csv:2: `tags` must be a JSON object or `k=v,k2=v2`"),
        ("in.yaml", b"prompt: a\n", "in.yaml:1: expected a list"),
        ("in.yaml", b"- a\n- 5\n", "in.yaml:2: expected a string or object, found a number"),
        (
            "in.yaml",
            b"- a\n\n- prompt: b\n  prompt: c\n",
            "in.yaml:4:3: `prompt` is here for the second time",
        ),
        ("in.yaml", b"- a\n- b\xff\n", "in.yaml:2: not valid UTF-8 at byte 4 of the line"),
        ("in.yaml", b"[a, b\n", "in.yaml:1:1: the bracket that begins here is never closed"),
        ("in.yaml", b"- a\n--- # x\n- b\n", "in.yaml:3: a second document"),
        ("in.csv", b"", "no prompts in in.csv"),
        ("in.yaml", b"# nothing\n", "no prompts in in.yaml"),
    ] {
        let output = refused_file(name, text);
        assert!(output.stderr.contains(&format!("error: {said}")), "{said}: {output}");
    }
}

#[test]
fn a_folder_is_refused_for_any_of_its_files() {
    let wired = Wired::unused();
    fs::create_dir_all(wired.env.path("in/empty")).unwrap();
    wired.env.write("in/.hidden", "x");
    let args = ["batch", "in", "-o", "out.jsonl"];
    assert!(refused(&wired, &args).stderr.contains("error: no files in the folder in\nhint: hidden files"));
    wired.env.write("in/b", b"one\ntw\xff");
    let said = refused(&wired, &args).stderr;
    assert!(said.contains("error: in/b:2: not valid UTF-8 at byte 3 of the line"), "{said}");
    wired.env.write("in/b", "\n");
    let said = refused(&wired, &args).stderr;
    assert!(said.contains("error: in/b: the prompt is empty"), "{said}");
    std::os::unix::fs::symlink("nowhere", wired.env.path("in/a")).unwrap();
    let said = refused(&wired, &args).stderr;
    assert!(said.contains("error: cannot read in/a: "), "{said}");
}

#[test]
fn nothing_is_paid_for_twice() {
    let wired = Wired::unused();
    wired.env.write("in/a.txt", "one\n");
    for (args, said) in [
        (["in/a.txt", "./in/a.txt"], "./in/a.txt is given twice"),
        (["in/a.txt", "in"], "in/a.txt is in in, which is given too"),
        (["-", "-"], "stdin is given twice"),
    ] {
        let output = refused(&wired, &[&["batch", "-o", "out.jsonl"], &args[..]].concat());
        assert!(output.stderr.contains(said), "{output}");
    }
}

#[test]
fn answers_are_no_prompts() {
    let wired = Wired::unused();
    wired.env.write("in/a.txt", "one\n");
    for out in ["in/out.jsonl", "in/../in/out.jsonl"] {
        let output = wired.llmops(["batch", "in", "-o", out]).run().expect_status(2);
        assert!(output.stderr.contains("which is the input"), "{output}");
    }
    let output = wired.llmops(["batch", ".", "-o", "out.jsonl"]).run().expect_status(2);
    assert!(output.stderr.contains("error: out.jsonl is in ., which is the input"), "{output}");
}

#[test]
fn no_bytes_make_a_form_panic() {
    const FRAGMENTS: [&str; 17] = [
        "- ",
        "\n",
        "\"",
        ",",
        "\t",
        "prompt",
        ": ",
        "[",
        "]",
        "{",
        "}",
        "---\n",
        "prompt,x\n",
        "\u{feff}",
        "\0",
        "|\n",
        " ",
    ];
    let wired = parrot();
    let mut dice = fastrand::Rng::with_seed(20_261_123);
    for round in 0..24 {
        let format = ["csv", "yaml", "file", "tsv"][round % 4];
        let fragments = std::iter::repeat_with(|| FRAGMENTS[dice.usize(..FRAGMENTS.len())]);
        let text: String = fragments.take(30).collect();
        wired.env.write("in.data", &text);
        let run = ["--no-log", "--input-format", format];
        let from_file = wired.llmops([&["batch", "in.data"], &run[..]].concat()).run();
        let from_stdin = wired.llmops([&["batch", "-"], &run[..]].concat()).stdin(text).run();
        for output in [from_file, from_stdin] {
            assert!([0, 2, 3].contains(&output.status), "{output}");
            assert!(!output.stderr.contains("panicked"), "{output}");
        }
    }
}
