//! What was answered survives a kill: in the output, and in a store that is whole
//! and goes on where it was.

use serde_json::{Value, json};

use super::{held, json_lines};
use crate::path::{SOON, Wired, nanos};
use crate::support::{Gate, Reply, Signal};

/// The store opens, is whole, and its views agree with each other.
#[track_caller]
fn assert_whole_books(wired: &Wired, calls: &[Value]) {
    let check: String = wired.env.db().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let total = &wired.cost()["total"];
    let cost: i64 = calls.iter().map(|call| nanos(&call["cost_usd"])).sum();
    assert_eq!((nanos(&total["cost_usd"]), &total["calls"]), (cost, &json!(calls.len())));
    for call in calls {
        let args = ["calls", "show", call["call_id"].as_str().unwrap(), "--format", "json"];
        let detail = wired.llmops(args).run().expect_status(0).json();
        assert_eq!(detail["attempt_list"].as_array().unwrap().len(), 1, "{detail}");
        assert!(detail["response"]["choices"].is_array(), "{detail}");
    }
}

#[test]
fn what_was_answered_survives_a_kill() {
    let gate = Gate::new();
    let wired = held(&gate);
    wired.env.write("in.txt", "well\n".repeat(12) + &"wait\n".repeat(10));
    let running = wired.llmops(["batch", "in.txt", "-o", "out.jsonl", "-j", "4"]).spawn();
    // The places of four are taken for good: all others have given theirs back.
    assert!(gate.wait_until_reached_by(4, SOON));
    running.signal(Signal::KILL);
    let _ = running.wait().expect_status(-9);
    let lines = json_lines(&wired.env.read("out.jsonl"));
    let calls = wired.calls();
    assert_eq!((lines.len(), calls.len()), (12, 12));
    assert_whole_books(&wired, &calls);
}

#[test]
fn a_line_that_was_read_is_on_record_whenever_the_kill_comes() {
    for read in [1, 7, 23] {
        let wired = Wired::to(|_| Reply::answer("well"));
        wired.env.write("in.txt", "hi\n".repeat(400));
        let mut running = wired.llmops(["batch", "in.txt", "-j", "8"]).spawn();
        for _ in 0..read {
            assert!(running.next_line().is_some());
        }
        running.signal(Signal::KILL);
        let output = running.wait();
        let lines = json_lines(&output.stdout);
        let calls = wired.calls();
        assert!(lines.len() >= read && calls.len() >= lines.len(), "{} {}", lines.len(), calls.len());
        assert!(calls.len() <= wired.requests());
        assert_eq!(calls.iter().filter(|call| call["status"] != "ok").count(), 0);
        let newest = &calls[..calls.len().min(10)];
        let sum: i64 = calls.iter().map(|call| nanos(&call["cost_usd"])).sum();
        assert_eq!(nanos(&wired.cost()["total"]["cost_usd"]), sum);
        assert!(newest.iter().all(|call| call["attempts"] == 1));
        // The store goes on where it was.
        let _ = wired.llmops(["chat", "hi"]).run().expect_status(0);
        assert_eq!(wired.calls().len(), calls.len() + 1);
    }
}
