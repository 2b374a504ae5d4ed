//! Four batches at once through the same two targets, of which the first falls ill: together they leave it alone as
//! one would, and together they come back to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::{AT_ONCE, FIRST, OPEN, Pair, TARGETS, assert_probes, first_probe, shown};
use crate::path::SOON;
use crate::support::{Reply, Visit};

const PROCESSES: [&str; 4] = ["a", "b", "c", "d"];

/// Items of each.
const ITEMS: usize = 600;

/// Requests at once of each.
const JOBS: usize = 4;

/// What the second server takes for an answer, so that the batches outlast the illness.
const DELAY: Duration = Duration::from_millis(15);

/// Every item of a process was answered, once, with its own words.
#[track_caller]
fn assert_whole(pair: &Pair, name: &str) {
    let text = pair.env.read(format!("{name}.jsonl"));
    let mut seen = vec![false; ITEMS];
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let index: usize = serde_json::from_value(line["index"].clone()).unwrap();
        assert!(!std::mem::replace(&mut seen[index], true), "twice: {line}");
        assert!(line["text"] == format!("{name} {index}") && line["error"].is_null(), "{line}");
    }
    assert!(seen.iter().all(|seen| *seen), "not all items of {name} are in OUT");
}

#[test]
fn four_batches_leave_a_target_alone_as_one() {
    let ill = Arc::new(AtomicBool::new(false));
    let is_ill = Arc::clone(&ill);
    let pair = Pair::new(
        move |request| {
            if is_ill.load(Ordering::SeqCst) {
                return Reply::error(503, "server_error");
            }
            Reply::answer(request.last_user_text())
        },
        |request| {
            std::thread::sleep(DELAY);
            Reply::answer(request.last_user_text())
        },
        &format!("{AT_ONCE}breaker: {{open: {0}ms, longest: {0}ms}}\n", OPEN.as_millis()),
    );
    let running = PROCESSES.map(|name| {
        let prompts: Vec<String> = (0..ITEMS).map(|n| format!("{name} {n}")).collect();
        pair.env.write(format!("{name}.txt"), prompts.join("\n"));
        let (input, out, jobs) = (format!("{name}.txt"), format!("{name}.jsonl"), JOBS.to_string());
        pair.llmops(["batch", &input, "-o", &out, "-j", &jobs]).spawn()
    });
    assert!(pair.first.wait_for_requests(100, SOON));
    ill.store(true, Ordering::SeqCst);
    // Those that were answered already may be among these.
    let healthy = pair.first.load().0;
    let three_probes = |visits: &[Visit]| {
        let after = visits.get(healthy..).unwrap_or_default();
        first_probe(after).is_some_and(|first| after.len() >= first + 3)
    };
    assert!(pair.first.wait_for_visits(SOON, three_probes));
    let visits = pair.first.visits()[healthy..].to_vec();
    ill.store(false, Ordering::SeqCst);
    let sent = pair.first.load().0;
    assert!(pair.first.wait_for_requests(sent + 20, SOON), "they do not come back to it");
    for (name, running) in PROCESSES.into_iter().zip(running) {
        let _ = running.wait().expect_status(0);
        assert_whole(&pair, name);
    }
    assert_probes(&visits, PROCESSES.len(), JOBS);
    let row = shown(pair.llmops(TARGETS), FIRST);
    assert!(row["state"] == "closed" && row["openings"] == 1, "{row}");
    let store = pair.env.db();
    let count = |provider: &str| {
        let query = format!("SELECT count(*) FROM attempts WHERE provider = '{provider}'");
        store.query_row(&query, [], |row| row.get::<_, usize>(0)).unwrap()
    };
    assert_eq!([count("openai"), count("groq")], [pair.first.load().0, pair.second.load().0]);
}
