//! A last line that is torn, wherever: with its record it is mended, and without it sent again.

use std::fs::{self, OpenOptions};

use super::parrot;
use crate::path::Wired;

/// A run of two items that is done.
fn done(form: &str) -> (Wired, Vec<u8>) {
    let wired = parrot();
    wired.env.write("in.jsonl", "{\"prompt\": \"one\"}\n{\"prompt\": \"a \\\"two\\\",\\nü\"}\n");
    let _ = wired.llmops(args(form, &[])).run().expect_status(0);
    let whole = fs::read(wired.env.path("out")).unwrap();
    (wired, whole)
}

fn args<'a>(form: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["batch", "in.jsonl", "-o", "out", "-j", "1", "--output-format", form], more].concat()
}

/// Where the line of the second item begins, which of text, and in a table, is several lines of the file.
fn second(whole: &[u8], form: &str) -> usize {
    let lines = usize::from(form == "csv") + 1;
    let ends = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    ends.take(lines).last().unwrap()
}

fn tear(wired: &Wired, length: usize) {
    let out = OpenOptions::new().write(true).open(wired.env.path("out")).unwrap();
    out.set_len(length as u64).unwrap();
}

#[test]
fn a_line_that_is_on_record_is_mended() {
    for form in ["simple", "openai", "csv"] {
        let (wired, whole) = done(form);
        for length in (second(&whole, form)..whole.len()).step_by(9) {
            tear(&wired, length);
            let output = wired.llmops(args(form, &["--resume"])).run().expect_status(0);
            let mended = fs::read(wired.env.path("out")).unwrap();
            assert_eq!(mended, whole, "{form}, {length} bytes left: {output}");
        }
        assert_eq!(wired.requests(), 2, "{form}");
    }
}

#[test]
fn a_line_that_is_nowhere_is_sent_again() {
    for form in ["simple", "openai", "csv"] {
        let (wired, whole) = done(form);
        let first = second(&whole, form);
        for (round, length) in (first..whole.len()).step_by(29).enumerate() {
            tear(&wired, length);
            let output = wired.llmops(args(form, &["--resume", "--no-log"])).run().expect_status(0);
            let mended = fs::read(wired.env.path("out")).unwrap();
            assert_eq!(mended[..first], whole[..first], "{form}, {length} bytes left: {output}");
            assert_eq!(second(&mended, form), first, "{form}, {length} bytes left: {output}");
            assert_eq!(wired.requests(), 3 + round, "{form}, {length}: {output}");
        }
    }
}

#[test]
fn text_shorter_than_it_was_is_refused() {
    let (wired, whole) = done("text");
    for length in 1..whole.len() {
        tear(&wired, length);
        let output = wired.llmops(args("text", &["--resume"])).run().expect_status(2);
        assert!(output.stderr.contains("cannot tell which answers are in out"), "{output}");
        wired.env.write("out", &whole);
    }
    assert_eq!(wired.requests(), 2);
}

#[test]
fn what_was_put_behind_text_goes() {
    let (wired, whole) = done("text");
    wired.env.write("out", [&whole[..], b"half a l"].concat());
    let _ = wired.llmops(args("text", &["--resume"])).run().expect_status(0);
    assert_eq!(fs::read(wired.env.path("out")).unwrap(), whole);
}
