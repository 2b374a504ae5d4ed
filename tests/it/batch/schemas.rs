//! Batches whose answers have to fit a schema.

use serde_json::{Value, json};

use super::by_index;
use crate::path::{Wired, nanos, price};
use crate::support::Reply;

#[test]
fn every_answer_is_checked_and_once_repaired() {
    // "well" fits at once, "mend" when asked again, "never" never does.
    let wired = Wired::to(|request| {
        let again = request.body["messages"].as_array().unwrap().len() > 1;
        let question = request.body["messages"][0]["content"].as_str().unwrap().to_owned();
        Reply::answer(match (&*question, again) {
            ("well", _) | ("mend", true) => "5",
            _ => "five",
        })
    });
    wired.env.write("number.json", r#"{"type": "integer"}"#);
    wired.env.write("in.txt", "well\nmend\nnever\n");
    let args = ["batch", "in.txt", "--schema", "number.json", "--summary", "sum.json"];
    let output = wired.llmops(args).run().expect_status(3);
    let lines = by_index(&output.stdout);
    let of = |field: &str| lines.iter().map(|line| line[field].clone()).collect::<Vec<_>>();
    assert_eq!(of("attempts"), [json!(1), json!(2), json!(2)]);
    assert_eq!(of("text"), [json!("5"), json!("5"), json!("five")]);
    assert_eq!(lines[2]["error"]["kind"], "schema");
    assert_eq!((&lines[0]["error"], &lines[1]["error"]), (&Value::Null, &Value::Null));
    let costs: Vec<i64> = lines.iter().map(|line| nanos(&line["cost_usd"])).collect();
    assert_eq!(costs, [price(10, 0, 5), price(20, 0, 10), price(20, 0, 10)]);
    assert_eq!(nanos(&wired.cost()["total"]["cost_usd"]), price(50, 0, 25));
    assert_eq!(wired.requests(), 5);
    let summary: Value = serde_json::from_str(&wired.env.read("sum.json")).unwrap();
    assert_eq!(summary["retries"], json!({"schema": 2}));
    let strict = wired.upstream.received()[0].body["response_format"]["json_schema"]["strict"].clone();
    assert_eq!(strict, false);
}
