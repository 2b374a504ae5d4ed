//! A batch that is told to end, or that nobody reads any more, ends in order, with
//! what was in flight on the books.

use std::fs::File;
use std::io::Write;
use std::time::Instant;

use serde_json::json;

use super::{fifo, held, json_lines, parrot};
use crate::path::{Closed, Piped, SOON, Wired, end_by, nanos, price};
use crate::support::{Gate, Reply, Signal};

#[test]
fn a_signal_lets_what_is_in_flight_finish() {
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let gate = Gate::new();
        let wired = held(&gate);
        wired.env.write("in.txt", "well\nwell\nwell\n".to_owned() + &"wait\n".repeat(10));
        let running = wired.llmops(["batch", "in.txt", "-o", "out.jsonl", "-j", "4"]).spawn();
        assert!(gate.wait_until_reached_by(4, SOON));
        running.signal(signal);
        running.wait_for_stderr("in flight");
        gate.release();
        let output = running.wait().expect_status(status);
        let lines = json_lines(&wired.env.read("out.jsonl"));
        assert_eq!((lines.len(), wired.requests()), (7, 7), "{output}");
        assert!(lines.iter().all(|line| line["error"].is_null()), "{output}");
        assert!(output.stderr.contains("7 done, 0 failed"), "{output}");
        let calls = wired.calls();
        assert_eq!(calls.len(), 7);
        assert!(calls.iter().all(|call| call["status"] == "ok"));
    }
}

#[test]
fn a_second_signal_ends_what_is_in_flight() {
    let gate = Gate::new();
    let wired = held(&gate);
    wired.env.write("in.txt", "well\nwell\n".to_owned() + &"wait\n".repeat(10));
    let running = wired.llmops(["batch", "in.txt", "-o", "out.jsonl", "-j", "4"]).spawn();
    assert!(gate.wait_until_reached_by(4, SOON));
    running.signal(Signal::INT);
    running.wait_for_stderr("in flight");
    let output = end_by(running, Signal::INT).expect_status(130);
    assert!(wired.upstream.wait_for_hangups(4, SOON));
    assert_eq!(wired.requests(), 6, "{output}");
    let answered = json_lines(&wired.env.read("out.jsonl"));
    let answered = answered.iter().filter(|line| line["error"].is_null()).count();
    assert_eq!(answered, 2, "{output}");
    let calls = wired.calls();
    let with = |status: &str| calls.iter().filter(|call| call["status"] == status).count();
    assert_eq!((calls.len(), with("ok"), with("cancelled")), (6, 2, 4));
    // Whether the server bills what it was asked and did not answer, nobody knows.
    let total = &wired.cost()["total"];
    assert_eq!((nanos(&total["cost_usd"]), &total["unpriced_calls"]), (2 * price(10, 0, 5), &json!(4)));
}

#[test]
fn a_signal_does_not_wait_for_more_input() {
    let wired = parrot();
    let path = fifo(&wired, "prompts");
    let mut running = wired.llmops(["batch", "prompts"]).spawn();
    let mut writer = File::options().write(true).open(path).unwrap();
    writeln!(writer, "one").unwrap();
    assert!(running.next_line().is_some());
    let _ = end_by(running, Signal::INT).expect_status(130);
    drop(writer);
}

#[test]
fn a_batch_that_nobody_reads_any_more_ends_quietly() {
    let gate = Gate::new();
    let wired = held(&gate);
    wired.env.write("in.txt", "well\n".to_owned() + &"wait\n".repeat(100));
    let mut piped = Piped::spawn(&wired, &["batch", "in.txt", "-j", "4"]);
    assert_eq!(json_lines(&piped.next_line())[0]["text"], "well");
    // One that has seen its reader leave begins no more.
    assert!(gate.wait_until_reached_by(4, SOON));
    let closed: Closed = piped.close();
    gate.release();
    assert_eq!(closed.wait(), 0);
    assert_eq!(wired.env.read("stderr"), "");
    let calls = wired.calls();
    assert_eq!(calls.len(), wired.requests());
    assert!(calls.len() < 20, "{} calls for nobody", calls.len());
    assert!(calls.iter().any(|call| call["status"] == "ok"), "{calls:?}");
}

/// More than a pipe takes.
fn long() -> String {
    "long ".repeat(60_000)
}

#[test]
fn a_reader_who_does_not_read_stops_neither_calls_nor_signals() {
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let gate = Gate::new();
        let held = gate.clone();
        let wired = Wired::to(move |request| match &*request.last_user_text() {
            "first" => Reply::answer(long()),
            _ => Reply::answer("late").gate(&held),
        });
        wired.env.write("in.txt", "first\n".to_owned() + &"wait\n".repeat(100));
        let mut running = wired.llmops(["batch", "in.txt", "-j", "4"]).unread().spawn();
        running.wait_for_first_byte();
        assert!(gate.wait_until_reached_by(3, SOON));
        gate.release();
        let began = Instant::now();
        while wired.calls().len() < 4 {
            assert!(began.elapsed() < SOON, "calls wait for the reader");
        }
        running.signal(signal);
        running.wait_for_stderr("in flight");
        let output = end_by(running, signal).expect_status(status);
        assert!(output.stderr.contains("4 done, 0 failed"), "{output}");
        assert!(output.stderr.contains("4 of the answers were not written"), "{output}");
        assert_eq!((wired.requests(), wired.calls().len()), (4, 4), "{output}");
    }
}
