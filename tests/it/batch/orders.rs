//! `--ordered`: lines in the order of the input, and no more items ahead of the slowest than there is room for.

use std::time::Duration;

use super::{held, json_lines};
use crate::path::{SOON, Wired};
use crate::support::{Gate, Reply, Signal};

/// How many items `-j 4` may start beyond the one that is to be written next.
const WINDOW: usize = 4 * 4 + 64;

fn in_order(wired: &Wired, items: u64) {
    let lines = json_lines(&wired.env.read("out"));
    let indices: Vec<_> = lines.iter().map(|line| line["index"].as_u64().unwrap()).collect();
    assert_eq!(indices, (0..items).collect::<Vec<_>>());
}

#[test]
fn a_slow_item_holds_up_only_so_many() {
    let gate = Gate::new();
    let wired = held(&gate);
    wired.env.write("in.txt", "slow\n".to_owned() + &"well\n".repeat(300));
    let args = ["batch", "in.txt", "-o", "out", "-j", "4", "--ordered"];
    let running = wired.llmops(args).spawn();
    assert!(wired.upstream.wait_for_requests(WINDOW, SOON));
    assert!(!wired.upstream.wait_for_requests(WINDOW + 1, Duration::from_millis(200)));
    assert_eq!(wired.env.read("out"), "");
    gate.release();
    let _ = running.wait().expect_status(0);
    in_order(&wired, 301);
}

#[test]
fn many_lines_that_waited_are_written_in_order() {
    for form in ["simple", "csv", "text"] {
        let gate = Gate::new();
        let slow = gate.clone();
        let wired = Wired::to(move |request| match &*request.last_user_text() {
            "item 0" => Reply::answer("item 0").gate(&slow),
            text => Reply::answer(text),
        });
        let prompts: Vec<String> = (0..1_000).map(|n| format!("item {n}")).collect();
        wired.env.write("in.txt", prompts.join("\n"));
        let args = ["batch", "in.txt", "-o", "out", "-j", "128", "--ordered", "--output-format", form];
        let running = wired.llmops(args).spawn();
        assert!(wired.upstream.wait_for_requests(4 * 128 + 64, SOON));
        gate.release();
        let _ = running.wait().expect_status(0);
        let out = wired.env.read("out");
        let lines: Vec<&str> = out.lines().skip(usize::from(form == "csv")).collect();
        let misplaced = lines.iter().zip(&prompts).position(|(line, prompt)| !line.contains(prompt.as_str()));
        assert_eq!((lines.len(), misplaced), (1_000, None), "{form}");
    }
}

#[test]
fn a_run_that_ended_early_is_in_order_once_it_is_done() {
    for signal in [Signal::KILL, Signal::INT] {
        let gate = Gate::new();
        let wired = held(&gate);
        wired.env.write("in.txt", "well\nwell\nslow\n".to_owned() + &"well\n".repeat(100));
        let args = ["batch", "in.txt", "-o", "out", "-j", "4", "--ordered"];
        let running = wired.llmops(args).spawn();
        assert!(wired.upstream.wait_for_requests(WINDOW + 2, SOON));
        running.signal(signal);
        if signal == Signal::INT {
            running.wait_for_stderr("in flight");
            running.signal(signal);
        }
        let _ = running.wait();
        gate.release();
        let before = wired.requests();
        let output = wired.llmops([&args[..], &["--resume"]].concat()).run().expect_status(0);
        in_order(&wired, 103);
        assert!(wired.requests() - before <= 103 - WINDOW + 3, "{output}");
    }
}

#[test]
fn what_is_sent_again_takes_its_place() {
    for form in ["simple", "csv", "openai"] {
        let wired = Wired::to(|request| match (&*request.last_user_text(), request.seen) {
            ("late", 0) => Reply::error(500, "server_error"),
            (text, _) => Reply::answer(text),
        });
        let prompts: Vec<String> =
            (0..9).map(|n| if n == 3 { "late".into() } else { format!("p{n}") }).collect();
        wired.env.write("in.txt", prompts.join("\n"));
        let args = ["batch", "in.txt", "-o", "out", "--ordered", "--retries", "0", "--output-format", form];
        let _ = wired.llmops(args).run().expect_status(3);
        let _ = wired.llmops([&args[..], &["--resume"]].concat()).run().expect_status(0);
        let out = wired.env.read("out");
        let lines: Vec<&str> = out.lines().skip(usize::from(form == "csv")).collect();
        assert_eq!(lines.len(), 9, "{form}: {out}");
        for (line, prompt) in lines.iter().zip(&prompts) {
            assert!(line.contains(prompt.as_str()), "{form}: {out}");
        }
    }
}
