//! Several processes at one store: what they see adds up, one of them finds out whether a target is back, and all of
//! them hear of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::json;

use super::{TARGETS, shown};
use crate::path::{SOON, Wired, end_by};
use crate::support::{Gate, Output, Received, Reply, Running, Signal};

/// The only target.
pub(super) const TARGET: &str = "openai/gpt-5.4-nano";

/// What a process may take to hear of what another has learnt, however busy the machine is.
pub(super) const HEARD: Duration = Duration::from_secs(2);

/// A server that fails until it is mended, and what it answers from then on.
pub(super) struct Sick {
    pub(super) wired: Wired,
    mended: Arc<AtomicBool>,
}

impl Sick {
    pub(super) fn new(breaker: &str) -> Self {
        Self::then(breaker, |request| Reply::answer(request.last_user_text()))
    }

    pub(super) fn then(breaker: &str, well: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let mended = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&mended);
        let wired = Wired::to(move |request| {
            if theirs.load(Ordering::SeqCst) { well(request) } else { Reply::error(500, "server_error") }
        });
        Self { wired: wired.config(&format!("breaker: {breaker}")), mended }
    }

    pub(super) fn mend(&self) {
        self.mended.store(true, Ordering::SeqCst);
    }

    /// A chat that tries once.
    pub(super) fn chat(&self, more: &[&str]) -> Running {
        self.wired.llmops([&["chat", "hi", "--retries", "0"], more].concat()).spawn()
    }

    /// Five processes fail, at once, and the breaker is open.
    #[track_caller]
    pub(super) fn open(&self) {
        for running in [(); 5].map(|()| self.chat(&[])) {
            let _ = running.wait().expect_status(1);
        }
        let row = self.row();
        // Its time may be over by now.
        assert!(row["openings"] == 1 && row["closed_at"].is_null() && row["state"] != "closed", "{row}");
    }

    pub(super) fn state(&self) -> serde_json::Value {
        self.row()["state"].clone()
    }

    pub(super) fn row(&self) -> serde_json::Value {
        shown(self.wired.llmops(TARGETS), TARGET)
    }

    /// A batch of so many lines.
    pub(super) fn batch(&self, name: &str, lines: usize) -> Running {
        self.wired.env.write(format!("{name}.txt"), "hi\n".repeat(lines));
        let (input, out) = (format!("{name}.txt"), format!("{name}.jsonl"));
        self.wired.llmops(["batch", &input, "-o", &out, "-j", "4"]).spawn()
    }

    #[track_caller]
    pub(super) fn assert_batch(&self, name: &str, lines: usize, output: &Output) {
        let text = self.wired.env.read(format!("{name}.jsonl"));
        let well = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["error"].is_null() && line["text"] == "hi"
        };
        assert!(text.lines().count() == lines && text.lines().all(well), "{text}\n{output}");
    }
}

#[test]
fn failures_that_several_processes_see_add_up() {
    let sick = Sick::new("{open: 1h, longest: 1h}");
    sick.open();
    let began = Instant::now();
    let output = sick.chat(&[]).wait().expect_status(1);
    assert!(began.elapsed() < HEARD, "{output}");
    assert_eq!(sick.wired.requests(), 5, "{output}");
    let until = sick.row()["reopens_at"].as_str().unwrap().replace('T', " ");
    let said = format!("error: {TARGET}'s breaker is open until {} UTC; its last failure: ", &until[..19]);
    assert!(output.stderr.contains(&said) && output.stderr.contains("500"), "{said}\n{output}");
}

#[test]
fn one_of_four_processes_finds_out_and_all_go_on() {
    let gate = Gate::new();
    let held = gate.clone();
    let sick = Sick::then("{open: 300ms}", move |_| Reply::answer("hi").gate(&held));
    sick.open();
    sick.mend();
    let waiting = ["a", "b"].map(|name| sick.batch(name, 20));
    let asking = [(); 2].map(|()| sick.chat(&["--wait"]));
    assert!(gate.wait_until_reached(SOON));
    assert_quiet(&sick.wired);
    assert_eq!(sick.wired.upstream.load(), (6, 1));
    assert_eq!(sick.state(), "half_open");
    gate.release();
    let released = Instant::now();
    for (name, running) in ["a", "b"].into_iter().zip(waiting) {
        let output = running.wait().expect_status(0);
        sick.assert_batch(name, 20, &output);
    }
    for running in asking {
        assert_eq!(running.wait().expect_status(0).stdout, "hi\n");
    }
    let heard = sick.wired.upstream.visits().iter().map(|visit| visit.came - released).max().unwrap();
    assert!(heard < HEARD, "{heard:?}");
    assert_eq!((sick.state(), sick.wired.requests()), (json!("closed"), 5 + 42));
}

/// Nobody sends anything, although every process has the time to look at the store several times.
#[track_caller]
fn assert_quiet(wired: &Wired) {
    let sent = wired.requests();
    assert!(!wired.upstream.wait_for_requests(sent + 1, Duration::from_millis(1_500)), "one more was sent");
}

#[test]
fn a_process_that_dies_with_its_probe_is_replaced() {
    let gate = Gate::new();
    let (held, turn) = (gate.clone(), AtomicUsize::new(0));
    let sick = Sick::then("{open: 100ms}", move |_| match turn.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::hang(),
        _ => Reply::answer("hi").gate(&held),
    });
    sick.open();
    sick.mend();
    let prober = sick.chat(&["--wait"]);
    assert!(sick.wired.upstream.wait_for_requests(6, SOON));
    let [others, chat] = [sick.batch("in", 8), sick.chat(&["--wait"])];
    prober.signal(Signal::KILL);
    let _ = prober.wait().expect_status(-9);
    assert_quiet(&sick.wired);
    assert_eq!(sick.wired.requests(), 6, "nobody knows yet that it is dead");
    age_the_prober(&sick.wired);
    assert!(gate.wait_until_reached(HEARD), "nobody takes its place");
    assert_quiet(&sick.wired);
    assert_eq!(sick.wired.requests(), 7, "one takes its place");
    gate.release();
    let output = others.wait().expect_status(0);
    sick.assert_batch("in", 8, &output);
    let _ = chat.wait().expect_status(0);
    assert_eq!(sick.state(), "closed");
}

#[test]
fn a_probe_that_is_interrupted_is_left_to_another_at_once() {
    let turn = AtomicUsize::new(0);
    let sick = Sick::then("{open: 100ms}", move |_| match turn.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::hang(),
        _ => Reply::answer("hi"),
    });
    sick.open();
    sick.mend();
    let prober = sick.chat(&["--wait"]);
    assert!(sick.wired.upstream.wait_for_requests(6, SOON));
    let other = sick.chat(&["--wait"]);
    assert_quiet(&sick.wired);
    let _ = end_by(prober, Signal::INT).expect_status(130);
    assert!(sick.wired.upstream.wait_for_requests(7, HEARD), "nobody takes its place");
    let _ = other.wait().expect_status(0);
    assert_eq!(sick.state(), "closed");
}

/// As if the last sign of life of the process that probes were ten seconds older.
#[track_caller]
fn age_the_prober(wired: &Wired) {
    let store = Connection::open(wired.env.db_path()).unwrap();
    store.busy_timeout(SOON).unwrap();
    let aged = "UPDATE owners SET heartbeat = heartbeat - 10000 WHERE id = (SELECT probe FROM targets)";
    assert_eq!(store.execute(aged, []).unwrap(), 1);
}

#[test]
fn a_prober_that_was_taken_for_dead_does_not_speak_for_the_one_in_its_place() {
    let gates = [Gate::new(), Gate::new()];
    let (held, turn) = (gates.clone(), AtomicUsize::new(0));
    let sick = Sick::then("{open: 100ms}", move |_| match turn.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::error(500, "server_error").gate(&held[0]),
        1 => Reply::answer("hi").gate(&held[1]),
        _ => Reply::answer("hi"),
    });
    sick.open();
    sick.mend();
    let stopped = sick.chat(&["--wait"]);
    assert!(gates[0].wait_until_reached(SOON));
    stopped.signal(Signal::STOP);
    age_the_prober(&sick.wired);
    let in_its_place = sick.chat(&["--wait"]);
    assert!(gates[1].wait_until_reached(SOON));
    let third = sick.chat(&["--wait"]);
    gates[0].release();
    stopped.signal(Signal::CONT);
    let _ = stopped.wait().expect_status(1);
    assert_quiet(&sick.wired);
    gates[1].release();
    let _ = in_its_place.wait().expect_status(0);
    let _ = third.wait().expect_status(0);
    assert_eq!((sick.state(), sick.wired.requests()), (json!("closed"), 8));
}

#[test]
fn a_probe_that_fails_doubles_the_time() {
    let sick = Sick::new("{open: 200ms, longest: 1h}");
    sick.open();
    let length = || {
        let row = sick.row();
        let time =
            |field: &str| row[field].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
        (time("reopens_at") - time("last_failure_at")).num_milliseconds()
    };
    assert_eq!(length(), 200);
    for (probe, expected) in [400, 800, 1_600].into_iter().enumerate() {
        // A call that waits is the probe, and may not try again.
        let output = sick.chat(&["--wait"]).wait().expect_status(1);
        assert_eq!(length(), expected, "{output}");
        assert_eq!((sick.wired.requests(), sick.row()["openings"].clone()), (6 + probe, json!(1)));
    }
    sick.mend();
    let _ = sick.chat(&["--wait"]).wait().expect_status(0);
    assert_eq!(sick.state(), "closed");
}

#[test]
fn without_a_store_a_process_has_breakers_of_its_own() {
    let sick = Sick::new("{open: 300ms}");
    sick.wired.env.write("in.txt", "hi\n".repeat(40));
    let args = ["batch", "in.txt", "--no-log", "-j", "1"];
    let running = sick.wired.llmops(args).spawn();
    // Four attempts are the first item's, the fifth opens it; the next is a probe.
    assert!(sick.wired.upstream.wait_for_requests(6, SOON));
    sick.mend();
    let output = running.wait();
    let visits = sick.wired.upstream.visits();
    let rest = visits[5].came - visits[4].left.unwrap();
    assert!(rest >= Duration::from_millis(280), "{rest:?}\n{output}");
    assert!(!sick.wired.env.db_path().exists());
    assert_eq!(output.stdout.lines().count(), 40, "{output}");
}
