//! Many lines: 20,000 of them, or as many as `LLMOPS_LINES` says, such as 1000000.

use std::collections::HashSet;
use std::fmt::Write;

use super::json_lines;
use crate::support::TestEnv;

#[test]
fn many_lines_are_answered_once_each() {
    let lines = std::env::var("LLMOPS_LINES").map_or(20_000, |lines| lines.parse().unwrap());
    let env = TestEnv::new();
    let mut input = String::new();
    for n in 0..lines {
        writeln!(input, "{{\"id\": \"id-{n}\", \"prompt\": \"item {n}\"}}").unwrap();
    }
    env.write("in.jsonl", input);
    let args = ["batch", "in.jsonl", "-o", "out", "-m", "sim/echo", "-j", "64"];
    let output = env.llmops(args).of_great_length().run().expect_status(0);
    let items: HashSet<(u64, String)> = json_lines(&env.read("out"))
        .iter()
        .map(|line| (line["index"].as_u64().unwrap(), line["text"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(items.len(), lines, "{output}");
    assert!(items.iter().all(|(index, text)| *text == format!("item {index}")));
    let out = env.read("out");
    let output = env.llmops([&args[..], &["--resume"]].concat()).run().expect_status(0);
    assert_eq!(env.read("out"), out, "{output}");
    assert!(output.stderr.contains(" kept in "), "{output}");
}
