//! Going on with a run: what has its answer is not sent again, whatever ended the run, and what is not the same run
//! any more is refused.

use std::fs;

use serde_json::{Value, json};

use super::{as_asked, by_index, held, json_lines, parrot, texts};
use crate::path::{SOON, Wired, end_by};
use crate::support::{Gate, Output, Reply, Signal};

/// A run of 22 items that was killed when 12 had their lines and 4 were in flight; what was held goes on.
fn killed(form: &str, more: &[&str]) -> Wired {
    let gate = Gate::new();
    let wired = held(&gate);
    wired.env.write("in.txt", "well\n".repeat(12) + &"wait\n".repeat(10));
    let running = wired.llmops(args(form, more)).spawn();
    assert!(gate.wait_until_reached_by(4, SOON));
    running.signal(Signal::KILL);
    let _ = running.wait().expect_status(-9);
    gate.release();
    assert_eq!(wired.requests(), 16);
    wired
}

fn args<'a>(form: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["batch", "in.txt", "-o", "out", "-j", "4", "--output-format", form], more].concat()
}

/// Goes on, and counts the requests that takes.
#[track_caller]
fn go_on(wired: &Wired, form: &str, more: &[&str], status: i32) -> (Output, usize) {
    let before = wired.requests();
    let args = [&args(form, &["--resume"])[..], more].concat();
    let output = wired.llmops(args).run().expect_status(status);
    (output, wired.requests() - before)
}

fn summary(wired: &Wired) -> Value {
    serde_json::from_str(&wired.env.read("sum.json")).unwrap()
}

/// OUT of the simple form has a line with an answer for each of so many items.
#[track_caller]
fn assert_all(wired: &Wired, items: usize) {
    let lines = by_index(&wired.env.read("out"));
    let indices: Vec<_> = lines.iter().map(|line| line["index"].as_u64().unwrap()).collect();
    assert_eq!(indices, (0..items as u64).collect::<Vec<_>>());
    assert!(lines.iter().all(|line| line["error"].is_null()), "{lines:?}");
}

#[test]
fn a_killed_run_sends_what_has_no_answer() {
    let wired = killed("simple", &[]);
    let (output, sent) = go_on(&wired, "simple", &["--summary", "sum.json"], 0);
    assert_eq!((sent, wired.calls().len()), (10, 26), "{output}");
    assert_all(&wired, 22);
    let summary = summary(&wired);
    let counts = ["done", "failed", "unknown", "kept"].map(|field| summary[field].as_u64().unwrap());
    assert_eq!(counts, [10, 0, 4, 12], "{summary}");
    // Once more there is nothing to do.
    let out = wired.env.read("out");
    let (_, sent) = go_on(&wired, "simple", &[], 0);
    assert_eq!((sent, wired.env.read("out")), (0, out));
}

#[test]
fn what_was_in_flight_is_left_alone_if_that_is_asked_for() {
    let wired = killed("simple", &[]);
    let (output, sent) = go_on(&wired, "simple", &["--no-resend"], 3);
    let lines = by_index(&wired.env.read("out"));
    let unknown = lines.iter().filter(|line| line["error"]["kind"] == "unknown").count();
    assert_eq!((sent, lines.len(), unknown), (6, 22, 4), "{output}");
    let (_, sent) = go_on(&wired, "simple", &[], 0);
    assert_eq!(sent, 4);
    assert_all(&wired, 22);
}

#[test]
fn without_a_store_out_is_enough_if_it_tells_its_items() {
    for form in ["simple", "openai", "csv"] {
        let wired = killed(form, &[]);
        fs::remove_dir_all(wired.env.root().join("data/llmops")).unwrap();
        let (output, sent) = go_on(&wired, form, &[], 0);
        assert_eq!(sent, 10, "{form}: {output}");
        let (_, sent) = go_on(&wired, form, &[], 0);
        assert_eq!(sent, 0, "{form}");
        let wired = killed(form, &["--no-log"]);
        let (output, sent) = go_on(&wired, form, &["--no-log"], 0);
        assert_eq!(sent, 10, "{form}: {output}");
        assert!(fs::read_dir(wired.env.root().join("data")).unwrap().next().is_none());
    }
}

#[test]
fn without_a_store_text_is_refused() {
    for more in [&[][..], &["--no-log"]] {
        let wired = killed("text", &[]);
        let out = wired.env.read("out");
        if more.is_empty() {
            fs::remove_dir_all(wired.env.root().join("data/llmops")).unwrap();
        }
        let (output, _) = go_on(&wired, "text", more, 2);
        assert!(output.stderr.contains("error: cannot tell which answers are in out\nhint: "), "{output}");
        assert_eq!(wired.env.read("out"), out);
    }
}

#[test]
fn text_whose_calls_were_deleted_is_refused() {
    let wired = killed("text", &[]);
    let _ = go_on(&wired, "text", &[], 0);
    let out = wired.env.read("out");
    assert_eq!(out.lines().count(), 22);
    let prune = ["calls", "prune", "--before", "2999-01-01", "-y"];
    let _ = wired.llmops(prune).run().expect_status(0);
    let (output, sent) = go_on(&wired, "text", &[], 2);
    assert_eq!((sent, wired.env.read("out")), (0, out), "{output}");
}

#[test]
fn an_out_that_is_gone_is_made_from_the_store() {
    for form in ["simple", "openai", "text", "csv"] {
        let wired = killed(form, &[]);
        let _ = go_on(&wired, form, &[], 0);
        let whole = wired.env.read("out");
        let sorted = |text: &str| {
            let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
            lines.sort_unstable();
            lines
        };
        fs::remove_file(wired.env.path("out")).unwrap();
        let (output, sent) = go_on(&wired, form, &[], 0);
        assert_eq!((sent, sorted(&wired.env.read("out"))), (0, sorted(&whole)), "{form}: {output}");
        wired.env.write("out", "");
        let (output, sent) = go_on(&wired, form, &[], 0);
        assert_eq!((sent, sorted(&wired.env.read("out"))), (0, sorted(&whole)), "{form}: {output}");
        let (_, sent) = go_on(&wired, form, &[], 0);
        assert_eq!((sent, sorted(&wired.env.read("out"))), (0, sorted(&whole)), "{form}");
    }
}

#[test]
fn where_there_is_nothing_yet_a_run_begins() {
    let wired = parrot();
    wired.env.write("in.txt", "one\ntwo\n");
    let (_, sent) = go_on(&wired, "simple", &[], 0);
    assert_eq!(sent, 2);
    assert_all(&wired, 2);
}

/// A server that mends what it refuses at first.
fn mending() -> Wired {
    let wired =
        Wired::to(|request| if request.seen == 0 { as_asked(request) } else { Reply::answer("mended") });
    wired.env.write("in.txt", "well\n500 server_error\n400 invalid_value\ngood\n");
    wired
}

#[test]
fn failures_are_sent_again_as_far_as_that_may_help() {
    for form in ["simple", "openai", "csv"] {
        let wired = mending();
        let _ = wired.llmops(args(form, &["--retries", "0"])).run().expect_status(3);
        let (output, sent) = go_on(&wired, form, &["--retries", "0"], 3);
        assert_eq!(sent, 1, "{form}: {output}");
        let (output, sent) = go_on(&wired, form, &["--retries", "0", "--retry-failed"], 0);
        assert_eq!(sent, 1, "{form}: {output}");
        let text = wired.env.read("out");
        let lines = text.lines().count() - usize::from(form == "csv");
        assert_eq!((lines, text.matches("mended").count()), (4, 2), "{form}: {text}");
        if form == "simple" {
            assert_eq!(texts(&by_index(&text)), ["well", "mended", "mended", "good"]);
        }
    }
}

#[test]
fn text_has_answers_only() {
    let wired = mending();
    let _ = wired.llmops(args("text", &["--retries", "0"])).run().expect_status(3);
    assert_eq!(wired.env.read("out").lines().count(), 2);
    let (output, sent) = go_on(&wired, "text", &["--retries", "0"], 3);
    assert_eq!((sent, wired.env.read("out").lines().count()), (1, 3), "{output}");
    // A run that adds nothing takes nothing away.
    let (_, sent) = go_on(&wired, "text", &["--retries", "0"], 3);
    assert_eq!((sent, wired.env.read("out").lines().count()), (0, 3));
    let (_, sent) = go_on(&wired, "text", &["--retry-failed"], 0);
    assert_eq!((sent, wired.env.read("out").lines().count()), (1, 4));
}

#[test]
fn a_text_that_gains_nothing_keeps_what_it_has() {
    let wired = Wired::to(as_asked);
    wired.env.write("in.txt", "well\n500 server_error\n");
    let _ = wired.llmops(args("text", &["--retries", "0"])).run().expect_status(3);
    for _ in 0..3 {
        let (output, sent) = go_on(&wired, "text", &["--retries", "0"], 3);
        assert_eq!((sent, wired.env.read("out").as_str()), (1, "well\n"), "{output}");
    }
}

#[test]
fn other_settings_are_refused_and_named() {
    let wired = parrot();
    wired.env.write("in.txt", "one\n");
    wired.env.write("t.j2", "Why {{ prompt }}?");
    let _ = wired.llmops(args("simple", &["-s", "terse"])).run().expect_status(0);
    for (more, said) in [
        (&["-s", "terse", "-m", "gpt-5.4-mini"][..], "the model was not set and is `gpt-5.4-mini`"),
        (&["-s", "chatty"], "the system prompt has changed"),
        (&[], "the system prompt was set and is not now"),
        (&["-s", "terse", "-t", "t.j2"], "the template was not set and is now"),
        (&["-s", "terse", "--param", "top_p=0.5"], "--param or --temperature was not set and is now"),
        (&["-s", "terse", "--temperature", "0"], "--param or --temperature was not set and is now"),
        (&["-s", "terse", "--max-tokens", "9"], "--max-tokens was not set and is 9"),
    ] {
        let out = wired.env.read("out");
        let (output, sent) = go_on(&wired, "simple", more, 2);
        assert!(output.stderr.starts_with("error: out is of another run: "), "{output}");
        assert!(output.stderr.contains(said), "no {said:?} in {output}");
        assert_eq!((sent, &wired.env.read("out")), (0, &out));
        let forced = [more, &["--force"]].concat();
        let (_, sent) = go_on(&wired, "simple", &forced, 0);
        assert_eq!(sent, 0);
        let _ = wired.llmops(args("simple", &["-s", "terse", "--overwrite"])).run().expect_status(0);
    }
    let (output, _) = go_on(&wired, "csv", &["-s", "terse", "--force"], 2);
    assert!(output.stderr.contains("the output format was simple and is csv"), "{output}");
}

#[test]
fn an_out_that_is_something_else_is_left_alone() {
    for (form, foreign) in [
        ("simple", "precious\n"),
        ("simple", "{\"index\": 0, \"error\": null}\n{\"a\": 1}\n"),
        ("openai", "{\"index\": 0, \"error\": null}\n"),
        ("csv", "a,b\n1,2\n"),
        ("text", "precious\n"),
    ] {
        let wired = Wired::unused();
        wired.env.write("in.txt", "one\n");
        wired.env.write("out", foreign);
        let (output, _) = go_on(&wired, form, &[], 2);
        assert_eq!(wired.env.read("out"), foreign, "{form}: {output}");
    }
}

#[test]
fn a_run_that_was_told_to_end_goes_on() {
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        for form in ["simple", "text"] {
            let gate = Gate::new();
            let wired = held(&gate);
            wired.env.write("in.txt", "well\n".repeat(5) + &"wait\n".repeat(10));
            let running = wired.llmops(args(form, &[])).spawn();
            assert!(gate.wait_until_reached_by(4, SOON));
            running.signal(signal);
            running.wait_for_stderr("in flight");
            gate.release();
            let output = running.wait().expect_status(status);
            assert!(output.stderr.contains("to go on: llmops batch in.txt -o out"), "{output}");
            let (_, sent) = go_on(&wired, form, &[], 0);
            assert_eq!((sent, wired.requests()), (6, 15), "{form}");
            assert_eq!(wired.env.read("out").lines().count(), 15, "{form}");
        }
    }
}

#[test]
fn what_a_second_signal_cut_off_is_sent_again() {
    let gate = Gate::new();
    let wired = held(&gate);
    wired.env.write("in.txt", "well\nwell\n".to_owned() + &"wait\n".repeat(10));
    let running = wired.llmops(args("simple", &[])).spawn();
    assert!(gate.wait_until_reached_by(4, SOON));
    running.signal(Signal::INT);
    running.wait_for_stderr("in flight");
    let _ = end_by(running, Signal::INT).expect_status(130);
    gate.release();
    let (output, sent) = go_on(&wired, "simple", &[], 0);
    assert_eq!(sent, 10, "{output}");
    assert_all(&wired, 12);
}

#[test]
fn a_limit_may_be_lifted() {
    let wired = parrot();
    wired.env.write("in.txt", "one\ntwo\nthree\nfour\n");
    let _ = wired.llmops(args("simple", &["--limit", "2"])).run().expect_status(0);
    assert_all(&wired, 2);
    let (output, sent) = go_on(&wired, "simple", &[], 0);
    assert_eq!(sent, 2, "{output}");
    assert_all(&wired, 4);
}

#[test]
fn a_run_of_standard_input_goes_on_by_its_lines() {
    let wired = parrot();
    let run = |more: &[&str]| {
        let args = [&["batch", "-", "-o", "out"], more].concat();
        wired.llmops(args).stdin("one\ntwo\nthree\n").run().expect_status(0)
    };
    let _ = run(&["--limit", "1"]);
    let output = run(&["--resume"]);
    assert_eq!(wired.requests(), 3, "{output}");
    assert_eq!(texts(&by_index(&wired.env.read("out"))), ["one", "two", "three"]);
}

#[test]
fn a_line_that_was_deleted_comes_back_from_the_store() {
    let wired = parrot();
    wired.env.write("in.txt", "one\ntwo\nthree\n");
    let _ = wired.llmops(args("simple", &[])).run().expect_status(0);
    let lines = json_lines(&wired.env.read("out"));
    let left = lines.iter().filter(|line| line["text"] != "two").map(|line| format!("{line}\n"));
    wired.env.write("out", left.collect::<String>());
    let (output, sent) = go_on(&wired, "simple", &["--ordered"], 0);
    assert_eq!(
        (sent, texts(&json_lines(&wired.env.read("out")))),
        (0, vec!["one", "two", "three"]),
        "{output}"
    );
    let listed = wired.llmops(["batch", "--list", "--format", "json"]).run().expect_status(0).json();
    assert_eq!((&listed[0]["done"], &listed[0]["total"]), (&json!(3), &json!(3)), "{listed}");
}
