//! Waiting for a target that is left alone: it is said, it ends by itself or by hand, and not too late.

use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};

use super::processes::{HEARD, Sick, TARGET};
use crate::path::{SOON, end_by};
use crate::support::{ShiftedClock, Signal};

/// A breaker that does not close by itself while a test runs.
const FOR_GOOD: &str = "{open: 1h, longest: 1h}";

/// What is said by who waits.
fn said() -> String {
    format!("waiting for {TARGET}: its breaker is open until ")
}

#[test]
fn a_reset_by_hand_lets_all_that_wait_go_on() {
    let sick = Sick::new(FOR_GOOD);
    sick.open();
    let (chat, batch) = (sick.chat(&["--wait"]), sick.batch("in", 10));
    let _ = (chat.wait_for_stderr(&said()), batch.wait_for_stderr(&said()));
    sick.mend();
    assert_eq!(sick.wired.requests(), 5);
    let reset = sick.wired.llmops(["calls", "targets", "reset", TARGET]).run().expect_status(0);
    let begun = Instant::now();
    assert!(sick.wired.upstream.wait_for_requests(5 + 11, SOON), "{reset}");
    assert!(begun.elapsed() < HEARD, "{:?}", begun.elapsed());
    assert_eq!(chat.wait().expect_status(0).stdout, "hi\n");
    let output = batch.wait().expect_status(0);
    sick.assert_batch("in", 10, &output);
}

#[test]
fn a_batch_whose_only_target_is_left_alone_waits_and_goes_on_by_itself() {
    let sick = Sick::new("{open: 4s}");
    let batch = sick.batch("in", 30);
    let _ = batch.wait_for_stderr(&said());
    sick.mend();
    let output = batch.wait().expect_status(0);
    sick.assert_batch("in", 30, &output);
    let visits = sick.wired.upstream.visits();
    let back = visits[4].left.unwrap() + Duration::from_millis(3_900);
    // Four at once: some were under way as it opened.
    let early = visits.iter().filter(|visit| visit.came < back).count();
    assert!((5..=8).contains(&early), "{early}\n{output}");
    assert_eq!(sick.state(), "closed");
}

#[test]
fn probes_that_fail_cost_no_item_that_may_be_tried_again() {
    let sick = Sick::new("{open: 100ms, longest: 200ms}");
    sick.wired.env.write("in.txt", "hi\n".repeat(30));
    let args = ["batch", "in.txt", "-o", "in.jsonl", "-j", "4", "--retries", "10"];
    let batch = sick.wired.llmops(args).spawn();
    // Some of them are probes: no more than so many were under way as the breaker opened.
    assert!(sick.wired.upstream.wait_for_requests(4 + 5 + 2, SOON));
    sick.mend();
    let output = batch.wait().expect_status(0);
    sick.assert_batch("in", 30, &output);
    assert_eq!(sick.state(), "closed");
}

#[test]
fn after_five_minutes_a_batch_stops_and_can_be_gone_on_with() {
    let sick = Sick::new(FOR_GOOD);
    sick.open();
    let Some(clock) = ShiftedClock::at(&sick.wired.env, &Utc::now().to_rfc3339()) else { return };
    let after = |minutes| (Utc::now() + TimeDelta::minutes(minutes)).to_rfc3339();
    sick.wired.env.write("in.txt", "hi\n".repeat(30));
    let args = ["batch", "in.txt", "-o", "in.jsonl", "-j", "4"];
    let batch = clock.over_waits(sick.wired.llmops(args)).spawn();
    let _ = batch.wait_for_stderr(&said());
    clock.set(&sick.wired.env, &after(4));
    let mut batch = batch;
    assert!(!sick.wired.upstream.wait_for_requests(6, Duration::from_secs(1)) && !batch.has_ended());
    clock.set(&sick.wired.env, &after(6));
    let told = Instant::now();
    let output = batch.wait().expect_status(1);
    assert!(told.elapsed() < HEARD, "{output}");
    let why = format!("error: stopped, since going on is pointless: {TARGET}'s breaker is open until ");
    assert!(output.stderr.contains(&why), "{output}");
    assert!(output.stderr.contains("to go on: llmops batch in.txt -o in.jsonl -j 4 --resume"), "{output}");
    assert_eq!(sick.wired.requests(), 5, "{output}");
    sick.mend();
    let _ = sick.wired.llmops(["calls", "targets", "reset", "openai"]).run().expect_status(0);
    let output = sick.wired.llmops([&args[..], &["--resume"]].concat()).run().expect_status(0);
    sick.assert_batch("in", 30, &output);
}

#[test]
fn who_waits_can_be_interrupted() {
    let sick = Sick::new(FOR_GOOD);
    sick.open();
    let chat = sick.chat(&["--wait"]);
    let _ = chat.wait_for_stderr(&said());
    let _ = end_by(chat, Signal::INT).expect_status(130);
    let batch = sick.batch("in", 10);
    let _ = batch.wait_for_stderr(&said());
    let output = end_by(batch, Signal::INT).expect_status(130);
    assert!(output.stderr.contains("--resume"), "{output}");
    assert_eq!(sick.wired.requests(), 5);
    let store = sick.wired.env.db();
    let owners: i64 = store.query_row("SELECT count(*) FROM owners", [], |row| row.get(0)).unwrap();
    assert_eq!(owners, 0, "somebody is still there");
    sick.mend();
    let _ = sick.wired.llmops(["calls", "targets", "reset", "openai"]).run().expect_status(0);
    let args = ["batch", "in.txt", "-o", "in.jsonl", "-j", "4", "--resume"];
    let output = sick.wired.llmops(args).run().expect_status(0);
    sick.assert_batch("in", 10, &output);
}
