//! Batches, from files and pipes into files and pipes: every line answered once,
//! the books equal to what the server saw, bad input refused before any call,
//! and an end in order whatever the reason for it.

mod books;
mod caps;
mod disks;
mod failures;
mod input;
mod input_forms;
mod input_lines;
mod jobs;
mod kill_drill;
mod kills;
mod large;
mod lists;
mod mending;
mod options;
mod orders;
mod output;
mod owners;
mod progress;
mod quotes;
mod refusals;
mod reports;
mod resume;
mod schemas;
mod signals;
mod spool;
mod stops;
mod templates;
mod torn;

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;

use crate::path::Wired;
use crate::support::{Gate, Output, Received, Reply, TestEnv};

/// What an echo of each prompt of a file is, with the id of its line.
fn expected_echoes(path: &Path) -> Vec<(Value, String)> {
    let text = fs::read_to_string(path).unwrap();
    let is_text = path.extension().unwrap() == "txt";
    let echo = |line: &str| {
        if is_text {
            return (Value::Null, line.to_owned());
        }
        match serde_json::from_str(line).unwrap() {
            Value::String(prompt) => (Value::Null, prompt),
            line => (line["id"].clone(), last_words(&line)),
        }
    };
    text.lines().map(echo).collect()
}

/// The prompt of a line, or the last message of its user.
fn last_words(line: &Value) -> String {
    if let Some(prompt) = line["prompt"].as_str() {
        return prompt.to_owned();
    }
    let messages = line["messages"].as_array().unwrap();
    let last = messages.iter().rfind(|message| message["role"] == "user");
    last.unwrap()["content"].as_str().unwrap().to_owned()
}

fn prompt_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/prompts");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.collect();
    assert!(files.len() >= 5, "{files:?}");
    files
}

/// Lines of output in the order of the input.
fn by_index(text: &str) -> Vec<Value> {
    let mut lines = json_lines(text);
    lines.sort_by_key(|line| line["index"].as_u64().unwrap());
    lines
}

/// Every line of a text, which must be whole, as JSON.
#[track_caller]
fn json_lines(text: &str) -> Vec<Value> {
    assert!(text.is_empty() || text.ends_with('\n'), "a torn line: {text}");
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(parse).collect()
}

/// Every line of the input was answered, once, with its own words.
#[track_caller]
fn assert_echoes(lines: &[Value], expected: &[(Value, String)]) {
    assert_eq!(lines.len(), expected.len());
    for (index, (line, (id, text))) in lines.iter().zip(expected).enumerate() {
        assert_eq!(line["index"], index, "{line}");
        assert_eq!(line["id"], *id, "{line}");
        assert_eq!(line["text"], **text, "{line}");
        assert_eq!(line["error"], Value::Null, "{line}");
    }
}

/// `llmops ARGS` without a key or a server.
#[track_caller]
fn offline(env: &TestEnv, args: &[&str]) -> Output {
    env.llmops(args).run()
}

/// A server that says what it hears.
fn parrot() -> Wired {
    Wired::to(|request| Reply::answer(request.last_user_text()))
}

/// A batch of `text` as a file of that name, answered with itself.
#[track_caller]
fn echo(name: &str, text: impl AsRef<[u8]>, more: &[&str]) -> Vec<Value> {
    let wired = parrot();
    wired.env.write(name, text);
    let run = wired.llmops([&["batch", name, "--no-log"], more].concat());
    by_index(&run.run().expect_status(0).stdout)
}

fn texts(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["text"].as_str().unwrap()).collect()
}

/// A named pipe in the working directory.
fn fifo(wired: &Wired, name: &str) -> PathBuf {
    let path = wired.env.path(name);
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    path
}

/// What the server answers to a text that asks for trouble.
fn as_asked(request: &Received) -> Reply {
    let text = request.last_user_text();
    match text.split_once(' ').map(|(status, code)| (status.parse(), code)) {
        Some((Ok(200), code)) => Reply::raw(200, "text/html", code),
        Some((Ok(status), code)) => Reply::error(status, code),
        Some((Err(_), "drop")) => Reply::drop_connection(),
        _ => Reply::answer(text),
    }
}

/// The run was refused: exit code 2, one `error:` line, nobody called and OUT
/// not made. The server of `wired` objects to calls by itself.
#[track_caller]
fn refused(wired: &Wired, args: &[&str]) -> Output {
    let output = wired.llmops(args).run().expect_status(2);
    assert_eq!(output.stdout, "", "{output}");
    let errors = output.stderr.lines().filter(|line| line.starts_with("error:"));
    assert_eq!(errors.count(), 1, "{output}");
    assert!(!wired.env.path("out.jsonl").exists(), "{output}");
    output
}

/// A batch of one file with this content is refused.
#[track_caller]
fn refused_file(name: &str, content: impl AsRef<[u8]>) -> Output {
    let wired = Wired::unused();
    wired.env.write(name, content);
    refused(&wired, &["batch", name, "-o", "out.jsonl"])
}

/// A server that answers `well` at once and holds everything else.
fn held(gate: &Gate) -> Wired {
    let gate = gate.clone();
    Wired::to(move |request| match &*request.last_user_text() {
        "well" => Reply::answer("well"),
        _ => Reply::answer("late").gate(&gate),
    })
}
