//! How far a batch is: on terminals of any width, one line that fits; and what its summary says at the end.

use console::measure_text_width;
use serde_json::Value;

use super::held;
use crate::path::{SOON, Wired};
use crate::support::{Gate, Reply, Signal, TestEnv, shown};

#[test]
fn a_bar_fits_its_terminal() {
    for (columns, parts) in [
        (60, &["5/13", " left"][..]),
        (80, &["5/13", "/s", "$0.", " of ~$0.", " left"]),
        (120, &["5/13", "/s", " tokens/s", "$0.", " of ~$0.", " left"]),
    ] {
        let gate = Gate::new();
        let wired = held(&gate);
        wired.env.write("in.txt", "well\n".repeat(5) + &"wait\n".repeat(8));
        let mut terminal = wired.llmops(["batch", "in.txt", "-o", "out.jsonl", "--yes"]).on_terminal(columns);
        assert!(gate.wait_until_reached_by(8, SOON));
        terminal.wait_for("5/13");
        gate.release();
        let output = terminal.wait().expect_status(0);
        let screen = shown(&output.stdout);
        let bars: Vec<&str> = screen.split(['\r', '\n']).filter(|line| line.contains('░')).collect();
        let bar = bars.iter().find(|line| line.contains("5/13")).unwrap_or_else(|| panic!("{output}"));
        assert!(parts.iter().all(|part| bar.contains(part)), "{columns}: {bar}");
        for bar in bars {
            assert!(measure_text_width(bar) <= usize::from(columns), "{columns}: {bar}");
        }
        assert!(screen.contains("13 done, 0 failed in "), "{output}");
    }
}

#[test]
fn what_is_retried_is_said() {
    let wired = Wired::to(|request| match &*request.last_user_text() {
        "busy" => Reply::error(429, "rate_limit_exceeded").header("retry-after", "60"),
        _ => Reply::answer("well"),
    });
    wired.env.write("in.txt", "well\nbusy\nbusy\n");
    let mut terminal = wired.llmops(["batch", "in.txt", "-o", "out.jsonl", "--yes"]).on_terminal(80);
    terminal.wait_for("1/3 · 2 retrying (429)");
    terminal.signal(Signal::INT);
    terminal.wait_for("in flight will finish");
    terminal.signal(Signal::INT);
    let _ = terminal.wait().expect_status(130);
}

#[test]
fn a_budget_that_is_waited_for_is_named() {
    let env = TestEnv::new();
    // A token of output costs a dollar.
    env.write_config(
        "model: sim/dollar\nsim: {models: {dollar: {answer: a, price: {input: 0, output: 1000000}}}}\n",
    );
    env.write("in.txt", "hi\n");
    let _ = env.llmops(["cost", "budget", "set", "1", "--period", "month"]).run().expect_status(0);
    let _ = env.llmops(["chat", "hi", "--max-tokens", "1"]).run().expect_status(0);
    let args = ["batch", "in.txt", "-o", "out.jsonl", "--max-tokens", "1", "--wait", "--yes"];
    let mut terminal = env.llmops(args).on_terminal(80);
    terminal.wait_for("0/1 · waiting: budget 1 · $0.00");
    terminal.signal(Signal::INT);
    let _ = terminal.wait().expect_status(130);
}

#[test]
fn the_summary_of_a_run_has_all_its_sums() {
    let wired = Wired::always(Reply::answer("hello").usage(10, 5));
    wired.env.write("in.txt", "hi\n".repeat(20));
    let args = ["batch", "in.txt", "-o", "out.jsonl", "--summary", "sum.json"];
    let output = wired.llmops(args).run().expect_status(0);
    let summary: Value = serde_json::from_str(&wired.env.read("sum.json")).unwrap();
    for (field, expected) in
        [("done", 20), ("failed", 0), ("cached", 0), ("unknown", 0), ("kept", 0), ("input_tokens", 200)]
    {
        assert_eq!(summary[field], expected, "{summary}");
    }
    let number = |field: &str| summary[field].as_f64().unwrap();
    assert!(number("tokens_per_s") > number("requests_per_s"), "{summary}");
    assert!(number("p50_ms") <= number("p95_ms") && number("p95_ms") <= number("p99_ms"), "{summary}");
    for word in ["cached", "kept", "unknown"] {
        assert!(!output.stderr.contains(word), "{output}");
    }
}
