//! What a call cost is the same in every view of it: exact where the server
//! counted, an estimate where it did not, and unknown where no price is known.

use serde_json::{Value, json};

use super::{Wired, assert_everywhere, completion, nanos, price, report};
use crate::support::Reply;

#[test]
fn every_view_of_a_whole_answer_has_the_same_cost() {
    for (input, cached, output) in [(10, 0, 5), (1_000, 400, 200), (7, 7, 0), (123_456_789, 123_456_788, 1)] {
        let usage = |n: i64| u64::try_from(n).unwrap();
        let reply = Reply::answer("hello").usage(usage(input), usage(output));
        let wired = Wired::always(reply.cached(usage(cached)));
        let report = report(&wired, "chat");
        assert_eq!((&report["text"], &report["finish_reason"]), (&json!("hello"), &json!("stop")));
        let cost = price(input, cached, output);
        assert_everywhere(&wired, &report, cost, [input, cached, output]);
    }
}

#[test]
fn every_view_of_a_streamed_answer_has_the_same_cost() {
    let wired = Wired::always(Reply::answer("hello").usage(1_000, 200).cached(400));
    let report = report(&wired, "stream");
    assert_eq!((&report["type"], &report["text"]), (&json!("done"), &json!("hello")));
    assert_everywhere(&wired, &report, 378_000, [1_000, 400, 200]);
}

#[test]
fn an_answer_without_usage_is_counted_and_its_cost_an_estimate() {
    for command in ["chat", "stream"] {
        let wired = Wired::always(Reply::answer("hello").without_usage());
        let report = report(&wired, command);
        // 3 a message, 1 for `user`, 1 for `hi`, 3 for the answer to come; then 1 for `hello`.
        for call in [&report, &wired.call()] {
            assert_eq!(call["usage"]["input_tokens"], 8, "{call}");
            assert_eq!(call["usage"]["output_tokens"], 1, "{call}");
            assert_eq!(nanos(&call["cost_usd"]), price(8, 0, 1), "{call}");
            assert_eq!(call["cost_status"], "estimated", "{call}");
            assert_eq!(call["status"].as_str().unwrap_or("ok"), "ok", "{call}");
        }
        assert_eq!(nanos(&wired.cost()["total"]["cost_usd"]), price(8, 0, 1));
    }
}

#[test]
fn the_service_tier_of_the_response_decides_the_price() {
    // Flex is half the price; what was asked for does not count.
    for (asked, answered, cost) in [("auto", "flex", 216_000), ("flex", "default", price(1_000, 100, 200))] {
        let wired = Wired::always(completion(&json!({ "service_tier": answered })));
        let asked = format!("service_tier={asked}");
        let args = ["chat", "--format", "json", "--param", &asked, "hi"];
        let report = wired.llmops(args).run().expect_status(0).json();
        assert_everywhere(&wired, &report, cost, [1_000, 100, 200]);
    }
}

#[test]
fn a_service_tier_without_a_price_is_of_unknown_cost() {
    let wired = Wired::always(completion(&json!({"service_tier": "priority"})));
    let report = report(&wired, "chat");
    assert_unpriced(&wired, &report);
}

#[test]
fn a_model_without_a_price_is_of_unknown_cost() {
    let wired = Wired::always(Reply::answer("hello"));
    let args = ["chat", "--format", "json", "-m", "openai/brand-new", "hi"];
    let report = wired.llmops(args).run().expect_status(0).json();
    assert_eq!((&report["model"], &report["provider"]), (&json!("brand-new"), &json!("openai")));
    assert_eq!(wired.body()["model"], "brand-new");
    assert_unpriced(&wired, &report);
    let table = wired.llmops(["cost"]).run().expect_status(0);
    assert!(table.stdout.contains('?'), "{table}");
    assert!(!table.stdout.contains("$0"), "{table}");
}

/// Everybody says that the cost of the only call is not known.
#[track_caller]
fn assert_unpriced(wired: &Wired, report: &Value) {
    for call in [report, &wired.call(), &wired.calls()[0]] {
        assert_eq!(call["cost_usd"], Value::Null, "{call}");
        assert_eq!(call["cost_status"], "unknown", "{call}");
        assert!(call["usage"]["input_tokens"].as_i64().unwrap() > 0, "{call}");
    }
    let cost = wired.cost();
    for sum in [&cost["total"], &cost["rows"][0]] {
        assert_eq!((&sum["calls"], &sum["unpriced_calls"]), (&json!(1), &json!(1)));
        assert_eq!(sum["cost_usd"], Value::Null, "{cost}");
    }
}
