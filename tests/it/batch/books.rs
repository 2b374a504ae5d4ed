//! The books are equal to what the server saw, to the last nano-dollar, also with
//! two batches at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{assert_echoes, by_index, expected_echoes, parrot};
use crate::path::{SOON, Wired, nanos, price};
use crate::support::{Gate, Received, Reply};

#[test]
fn nothing_is_on_record_when_nothing_is_to_be() {
    let wired = parrot();
    wired.env.write("in.txt", "one\n");
    let args = ["batch", "in.txt", "--no-log"];
    let _ = wired.llmops(args).run().expect_status(0);
    assert!(fs::read_dir(wired.env.root().join("data")).unwrap().next().is_none());
}

/// A number that depends on a text and on nothing else (FNV-1a).
fn hash(text: &str) -> u64 {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, mix)
}

/// What the server has told its clients, in all.
#[derive(Default)]
struct Told {
    causes: BTreeMap<&'static str, u64>,
    cost: i64,
    answers: usize,
}

/// How the attempts at a text end before its answer.
fn troubles(text: &str) -> &'static [&'static str] {
    match hash(text) >> 8 & 15 {
        0 | 1 => &["429"],
        2 => &["500"],
        3 => &["dropped"],
        4 => &["429", "429"],
        5 => &["dropped", "500"],
        6 => &["500", "429", "dropped"],
        _ => &[],
    }
}

/// Answers with tokens that depend on the text, after its troubles.
fn troubled(request: &Received, told: &Mutex<Told>) -> Reply {
    let text = request.last_user_text();
    let mut told = told.lock().unwrap();
    if let Some(cause) = troubles(&text).get(request.seen) {
        *told.causes.entry(cause).or_default() += 1;
        return match *cause {
            "429" => Reply::error(429, "rate_limit_exceeded").header("retry-after-ms", "1"),
            "500" => Reply::error(500, "server_error"),
            _ => Reply::drop_connection(),
        };
    }
    let (input, output) = (hash(&text) % 100_000, hash(&text) % 977);
    let cached = input / 3;
    let [i, c, o] = [input, cached, output].map(|n| i64::try_from(n).unwrap());
    told.cost += price(i, c, o);
    told.answers += 1;
    Reply::answer(text).usage(input, output).cached(cached)
}

#[test]
fn the_books_are_what_the_server_saw_to_the_last_nano_dollar() {
    let told = Arc::new(Mutex::new(Told::default()));
    let theirs = Arc::clone(&told);
    let wired = Wired::to(move |request| troubled(request, &theirs));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/prompts/mixed.jsonl");
    let args = ["batch", file.to_str().unwrap(), "-o", "out.jsonl", "-j", "16", "--summary", "sum.json"];
    // What one server has against some prompts is not to keep the others from it.
    let patient = [("LLMOPS_BREAKER__FAILURES", "999"), ("LLMOPS_BREAKER__LEAST_CALLS", "999")];
    let run = patient.iter().fold(wired.llmops(args), |run, (name, value)| run.env(name, value));
    let output = run.run().expect_status(0);
    let told = told.lock().unwrap();
    let requests = wired.requests();

    let expected = expected_echoes(&file);
    let lines = by_index(&wired.env.read("out.jsonl"));
    assert!(expected.len() >= 200 && told.answers == expected.len());
    assert_echoes(&lines, &expected);

    let (calls, cost) = (wired.calls(), wired.cost());
    let sum = |rows: &[Value]| rows.iter().map(|row| nanos(&row["cost_usd"])).sum::<i64>();
    let summary: Value = serde_json::from_str(&wired.env.read("sum.json")).unwrap();
    assert_eq!(
        [sum(&lines), sum(&calls), nanos(&cost["total"]["cost_usd"]), nanos(&summary["cost_usd"])],
        [told.cost; 4],
        "{output}"
    );
    let attempts = |rows: &[Value]| rows.iter().map(|row| row["attempts"].as_u64().unwrap()).sum::<u64>();
    let troubles: u64 = told.causes.values().sum();
    assert!(troubles > 50 && told.causes.len() == 3, "{:?}", told.causes);
    assert_eq!([attempts(&lines), attempts(&calls)], [requests as u64; 2], "{output}");
    assert_eq!(requests as u64, told.answers as u64 + troubles);
    assert_eq!(summary["retries"], json!(told.causes), "{output}");
    assert_eq!((&summary["done"], &summary["failed"]), (&json!(expected.len()), &json!(0)));
    for field in ["input_tokens", "output_tokens"] {
        let used = |rows: &[Value]| rows.iter().map(|row| row["usage"][field].as_u64().unwrap()).sum::<u64>();
        assert_eq!(json!([used(&lines), used(&calls)]), json!([cost["total"][field], summary[field]]));
    }
}

#[test]
fn two_batches_at_once_share_one_set_of_books() {
    let gate = Gate::new();
    let held = gate.clone();
    let wired = Wired::to(move |request| match request.last_user_text() {
        text if text == "first" => Reply::answer(text).gate(&held),
        text => Reply::answer(text),
    });
    let prompts: Vec<String> = (0..60).map(|n| format!("prompt {n}")).collect();
    wired.env.write("in.txt", format!("first\n{}\n", prompts.join("\n")));
    let start = |out| wired.llmops(["batch", "in.txt", "-o", out]).spawn();
    let both = [start("a.jsonl"), start("b.jsonl")];
    // Both have opened the store and neither can be done.
    assert!(gate.wait_until_reached_by(2, SOON));
    gate.release();
    for running in both {
        let _ = running.wait().expect_status(0);
    }
    for out in ["a.jsonl", "b.jsonl"] {
        assert_eq!(by_index(&wired.env.read(out)).len(), 61);
    }
    let (calls, total) = (wired.calls(), &wired.cost()["total"]);
    assert_eq!((calls.len(), &total["calls"]), (122, &json!(122)));
    assert_eq!(nanos(&total["cost_usd"]), 122 * price(10, 0, 5));
    let ids: BTreeSet<_> = calls.iter().map(|call| call["call_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 122);
}

#[test]
fn an_unpriced_item_is_not_a_free_one() {
    let wired = Wired::to(|_| Reply::answer("hello"));
    wired.env.write("in.jsonl", "\"one\"\n{\"prompt\": \"two\", \"model\": \"openai/brand-new\"}\n");
    let args = ["batch", "in.jsonl", "-o", "out.jsonl", "--summary", "sum.json"];
    let output = wired.llmops(args).run().expect_status(0);
    let lines = by_index(&wired.env.read("out.jsonl"));
    assert_eq!((nanos(&lines[0]["cost_usd"]), &lines[1]["cost_usd"]), (price(10, 0, 5), &Value::Null));
    assert!(output.stderr.contains("unknown cost"), "{output}");
    let total = &wired.cost()["total"];
    assert_eq!((nanos(&total["cost_usd"]), &total["unpriced_calls"]), (price(10, 0, 5), &json!(1)));
}
