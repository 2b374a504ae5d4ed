//! `--max-cost` holds: for a run, for all that go on with it, and beside others.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::by_index;
use crate::path::{SOON, Wired, nanos, price};
use crate::support::{Gate, Reply, Signal};

/// What an answer costs: no more than can be foreseen.
const COST: i64 = 5 * 200 + 5 * 1_250;

fn cheap() -> Wired {
    Wired::to(|request| Reply::answer(request.last_user_text()).usage(5, 5))
}

/// As [`cheap`], but holds what is not `well`.
fn held(gate: &Gate) -> Wired {
    let gate = gate.clone();
    Wired::to(move |request| match &*request.last_user_text() {
        "well" => Reply::answer("well").usage(5, 5),
        _ => Reply::answer("late").usage(5, 5).gate(&gate),
    })
}

/// Room for some twenty answers, each of which must be paid for in advance.
const CAP: i64 = 200_000;

fn prompts(wired: &Wired, items: usize) {
    let prompts: Vec<String> = (0..items).map(|n| format!("prompt {n}")).collect();
    wired.env.write("in.txt", prompts.join("\n"));
}

fn args<'a>(cap: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let args = ["batch", "in.txt", "-o", "out", "-j", "4", "--max-tokens", "5", "--max-cost", cap];
    [&args[..], more].concat()
}

fn spent(wired: &Wired) -> i64 {
    nanos(&wired.cost()["total"]["cost_usd"])
}

#[test]
fn a_cap_holds_and_may_be_raised() {
    let wired = cheap();
    prompts(&wired, 60);
    let output = wired.llmops(args("0.0002", &[])).run().expect_status(4);
    let first = wired.requests();
    assert!(spent(&wired) <= CAP && first >= 15, "{first} requests: {output}");
    assert!(output.stderr.contains("--max-cost"), "{output}");
    let listed = wired.llmops(["cost", "budget", "--format", "json"]).run().expect_status(0).json();
    assert_eq!(listed, json!([]));
    // What was spent is spent.
    let output = wired.llmops(args("0.0002", &["--resume"])).run().expect_status(4);
    assert!(spent(&wired) <= CAP, "{output}");
    let output = wired.llmops(args("0.0003", &["--resume"])).run().expect_status(4);
    assert!(spent(&wired) <= CAP + CAP / 2 && wired.requests() > first, "{output}");
    let output = wired.llmops(args("1", &["--resume"])).run().expect_status(0);
    assert_eq!((wired.requests(), by_index(&wired.env.read("out")).len()), (60, 60), "{output}");
    assert_eq!(spent(&wired), 60 * COST);
    assert_eq!(COST, price(5, 0, 5));
}

#[test]
fn a_cap_holds_over_kills() {
    let gate = Gate::new();
    let wired = held(&gate);
    wired.env.write("in.txt", "well\n".repeat(6) + &"wait\n".repeat(60));
    let running = wired.llmops(args("0.0002", &[])).spawn();
    assert!(gate.wait_until_reached_by(4, SOON));
    running.signal(Signal::KILL);
    let _ = running.wait().expect_status(-9);
    gate.release();
    let output = wired.llmops(args("0.0002", &["--resume"])).run().expect_status(4);
    let told = i64::try_from(wired.requests()).unwrap() * COST;
    assert!(told <= spent(&wired) && spent(&wired) <= CAP, "{told} of {}: {output}", spent(&wired));
    assert!(wired.requests() > 10, "{output}");
}

#[test]
fn what_nobody_knows_the_end_of_counts_when_a_run_goes_on() {
    let gate = Gate::new();
    let wired = held(&gate);
    wired.env.write("in.txt", "wait\n".repeat(40));
    // Every time four requests are cut off, which may be billed.
    let mut sent = 0;
    for round in 0..20 {
        let more: &[&str] = if round == 0 { &[] } else { &["--resume"] };
        let mut running = wired.llmops(args("0.0002", more)).spawn();
        while wired.requests() == sent && !running.has_ended() {}
        if running.has_ended() {
            let _ = running.wait().expect_status(4);
            break;
        }
        running.signal(Signal::INT);
        running.wait_for_stderr("in flight");
        running.signal(Signal::INT);
        let _ = running.wait();
        sent = wired.requests();
    }
    let most = i64::try_from(wired.requests()).unwrap() * COST;
    assert!(most <= CAP, "{} requests may cost {most}", wired.requests());
    gate.release();
}

#[test]
fn a_cap_needs_a_store_and_a_price() {
    let wired = Wired::unused();
    prompts(&wired, 3);
    let output = wired.llmops(args("1", &["--no-log"])).run().expect_status(2);
    assert!(output.stderr.contains("--max-cost needs a store"), "{output}");
    let output = wired.llmops(args("1", &["-m", "openai/brand-new"])).run().expect_status(4);
    assert!(output.stderr.contains("has no price"), "{output}");
}

#[test]
fn a_cap_holds_for_standard_output() {
    let wired = cheap();
    prompts(&wired, 60);
    let args = ["batch", "in.txt", "-j", "4", "--max-tokens", "5", "--max-cost", "0.0002"];
    let output = wired.llmops(args).run().expect_status(4);
    assert!(spent(&wired) <= CAP, "{output}");
    assert_eq!(output.stdout.lines().count(), wired.requests(), "{output}");
    let left: i64 =
        wired.env.db().query_row("SELECT count(*) FROM batch_runs", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0);
}

#[test]
fn runs_side_by_side_share_a_budget_and_have_caps_of_their_own() {
    let wired = cheap();
    prompts(&wired, 60);
    let _ = wired.llmops(["cost", "budget", "set", "0.0005"]).run().expect_status(0);
    let start = |out: &str, cap: &str| {
        let args = ["batch", "in.txt", "-o", out, "-j", "4", "--max-tokens", "5", "--max-cost", cap];
        wired.llmops(args).spawn()
    };
    let runs = [start("a", "0.0001"), start("b", "1"), start("c", "1")];
    for running in runs {
        let _ = running.wait().expect_status(4);
    }
    assert!(spent(&wired) <= 500_000, "{}", spent(&wired));
    let of = |out| by_index(&wired.env.read(out)).iter().map(|line| nanos(&line["cost_usd"])).sum::<i64>();
    assert!(of("a") <= 100_000, "{}", of("a"));
    assert_eq!(of("a") + of("b") + of("c"), spent(&wired));
    let _ = wired.llmops(["cost", "budget", "set", "1"]).run().expect_status(0);
    for out in ["a", "b", "c"] {
        let args =
            ["batch", "in.txt", "-o", out, "-j", "4", "--max-tokens", "5", "--max-cost", "1", "--resume"];
        let _ = wired.llmops(args).run().expect_status(0);
        let lines = by_index(&wired.env.read(out));
        let answered: BTreeSet<_> = lines.iter().filter_map(|line| line["text"].as_str()).collect();
        assert_eq!((lines.len(), answered.len()), (60, 60), "{out}");
        assert!(lines.iter().all(|line| line["error"] == Value::Null), "{out}");
    }
    assert_eq!(wired.requests(), 180);
}
