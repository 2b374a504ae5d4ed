//! A call that fits only once others have settled waits; one that never will is refused at once.

use super::{ask, assert_settled, batch, held_for_one, number, sent, set_budget, sums};
use crate::path::{SOON, Wired, end_by, price};
use crate::support::{Gate, Reply, Signal};

/// A server that holds everything until the gate is opened.
fn gated() -> (Gate, Wired) {
    let gate = Gate::new();
    let held = gate.clone();
    (gate, Wired::to(move |_| Reply::answer("hello").gate(&held)))
}

#[test]
fn what_fits_later_waits_and_what_never_fits_is_refused() {
    let (gate, wired) = gated();
    set_budget(&wired, 2 * held_for_one() - 1);
    let first = ask(&wired, "chat", &[]);
    assert!(gate.wait_until_reached(SOON));
    let second = ask(&wired, "chat", &[]);
    let waits = second.wait_for_stderr("is held for 1 call of `chat`");
    assert!(waits.contains("is left"), "{waits}");
    let output = wired.llmops(["chat", "hi", "--max-tokens", "1000"]).run().expect_status(4);
    assert!(output.stdout.is_empty() && output.stderr.contains("is left"), "{output}");
    assert_eq!(wired.requests(), 1);

    gate.release();
    for running in [first, second] {
        assert_eq!(running.wait().expect_status(0).stdout, "hello\n");
    }
    assert_settled(&wired, 0);
    assert_eq!(sums(&wired), [2 * price(10, 0, 5), 0, 0]);
}

#[test]
fn calls_of_one_batch_wait_for_each_other() {
    let (gate, wired) = gated();
    set_budget(&wired, 2 * held_for_one() - 1);
    wired.env.write("in.txt", "hi\n".repeat(10));
    let running = batch(&wired, "in.txt", "out.jsonl", "10");
    assert!(gate.wait_until_reached(SOON));
    running.wait_for_stderr("is held for 1 call of `batch`");
    assert_eq!(wired.requests(), 1);
    gate.release();
    let output = running.wait().expect_status(0);
    assert_eq!(wired.env.read("out.jsonl").lines().count(), 10, "{output}");
    assert_eq!((wired.requests(), wired.upstream.max_in_flight()), (10, 1));
    assert_settled(&wired, 0);
}

#[test]
fn whoever_waits_can_be_told_to_end() {
    let (gate, wired) = gated();
    set_budget(&wired, 2 * held_for_one() - 1);
    wired.env.write("in.txt", "hi\n".repeat(10));
    let running = batch(&wired, "in.txt", "out.jsonl", "10");
    assert!(gate.wait_until_reached(SOON));
    let other = ask(&wired, "chat", &[]);
    other.wait_for_stderr("is held for 1 call of `batch`");
    let _ = end_by(other, Signal::INT).expect_status(130);
    running.signal(Signal::INT);
    running.wait_for_stderr("in flight");
    gate.release();
    let output = running.wait().expect_status(130);
    assert_eq!((wired.requests(), wired.env.read("out.jsonl").lines().count()), (1, 1), "{output}");
    assert_settled(&wired, 0);
    assert_eq!(sums(&wired), [price(10, 0, 5), 0, 0]);
    let unsent =
        number(&wired.env.db(), "SELECT count(*) FROM calls WHERE attempts = 0 AND status <> 'cancelled'");
    assert_eq!((sent(&wired), unsent), (1, 0), "{output}");
}
