//! As many calls are in flight as there are jobs, and no more; more jobs than open
//! files allow are refused.

use std::time::Duration;

use super::{parrot, texts};
use crate::path::{SOON, Wired};
use crate::support::{Gate, Reply};

#[test]
fn one_at_a_time_keeps_the_order() {
    let wired = parrot();
    let prompts: Vec<String> = (0..50).map(|n| format!("prompt {n}")).collect();
    wired.env.write("in.txt", prompts.join("\n"));
    let args = ["batch", "in.txt", "-j", "1"];
    let output = wired.llmops(args).run().expect_status(0);
    assert_eq!(texts(&output.jsonl()), prompts);
}

#[test]
fn so_many_are_in_flight_and_no_more() {
    let gate = Gate::new();
    let held = gate.clone();
    let wired = Wired::to(move |_| Reply::answer("hello").gate(&held));
    wired.env.write("in.txt", "hi\n".repeat(12));
    let running = wired.llmops(["batch", "in.txt", "-j", "5"]).spawn();
    assert!(gate.wait_until_reached_by(5, SOON));
    assert!(!wired.upstream.wait_for_requests(6, Duration::from_millis(100)));
    gate.release();
    let output = running.wait().expect_status(0);
    assert_eq!(output.jsonl().len(), 12);
    assert_eq!(wired.upstream.max_in_flight(), 5);
}

#[test]
fn as_many_jobs_as_files_may_be_open() {
    let wired = parrot();
    wired.env.write("in.txt", "hi\n".repeat(100));
    let args = ["batch", "in.txt", "-j", "64"];
    let _ = wired.llmops(args).after("ulimit -Sn 64").run().expect_status(0);
    let output = wired.llmops(args).after("ulimit -n 64").run().expect_status(2);
    assert_eq!(
        output.stderr,
        "error: -j 64 needs more open files than the 64 allowed here\nhint: use -j 32, or allow more with `ulimit -n 96`\n"
    );
}
