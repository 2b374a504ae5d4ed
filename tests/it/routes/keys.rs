//! Several keys of one provider: what is wrong with one is not wrong with the others.

use std::sync::Mutex;

use serde_json::{Value, json};

use super::{FIRST, OTHER, Pair};
use crate::path::{error_line, refusal};
use crate::support::{Output, Reply, Upstream};

const KEYS: &str = "providers: {openai: {api_key_env: [KEY_A, KEY_B]}}";

/// Refuses whichever key comes first, for good, and takes any other.
fn dislikes_the_first(refused: Reply) -> Upstream {
    let first: Mutex<Option<String>> = Mutex::default();
    Upstream::start(move |request| {
        let key = request.header("authorization").unwrap().to_owned();
        let mut first = first.lock().unwrap();
        if *first.get_or_insert_with(|| key.clone()) == key { refused.clone() } else { Reply::answer("one") }
    })
}

impl Pair {
    /// Asks with two keys.
    fn with_keys(&self, args: &[&str]) -> Output {
        let args = [&["chat", "-n", "--format", "json", "hi"], args].concat();
        self.llmops(args).env("KEY_A", "sk-key-a").env("KEY_B", "sk-key-b").run()
    }

    fn keys_used(&self) -> Vec<String> {
        let received = self.one.received();
        received.iter().map(|request| request.header("authorization").unwrap().to_owned()).collect()
    }
}

#[test]
fn a_key_that_has_to_wait_gives_way_to_the_other_at_once() {
    let refused = refusal(429, None).header("retry-after", "100");
    let pair = Pair::of(dislikes_the_first(refused), Upstream::unused()).config(KEYS);
    let answer = pair.with_keys(&["--timeout", "50s", "--fallback", OTHER]).expect_status(0).json();
    assert_eq!((&answer["text"], &answer["attempts"]), (&json!("one"), &json!(2)), "{answer}");
    assert_eq!(answer["fallback_from"], Value::Null);
    // The next process knows of it.
    let answer = pair.with_keys(&[]).expect_status(0).json();
    assert_eq!(answer["attempts"], 1, "{answer}");
    let used = pair.keys_used();
    assert!(used[0] != used[1] && used[1] == used[2], "{used:?}");
    let target = pair.target(FIRST);
    let waiting = if used[0].ends_with('a') { "KEY_A" } else { "KEY_B" };
    let names: Vec<&String> = target["keys"].as_object().unwrap().keys().collect();
    assert_eq!(names, [waiting], "{target}");
}

#[test]
fn keys_that_need_not_wait_are_not_asked_without_end() {
    let refused = refusal(429, None).header("retry-after", "0");
    let pair = Pair::of(Upstream::start(move |_| refused.clone()), Upstream::unused()).config(KEYS);
    let answer = pair.with_keys(&["--retries", "3"]).expect_status(1);
    assert!(pair.requests()[0] <= 4, "{answer}");
}

#[test]
fn a_key_that_is_refused_or_used_up_gives_way_to_the_other() {
    for refused in [refusal(401, None), refusal(403, None), refusal(429, Some("insufficient_quota"))] {
        let pair = Pair::of(dislikes_the_first(refused), Upstream::unused()).config(KEYS);
        let answer = pair.with_keys(&["--fallback", OTHER]).expect_status(0).json();
        assert_eq!((&answer["text"], &answer["attempts"]), (&json!("one"), &json!(2)), "{answer}");
        let used = pair.keys_used();
        assert_ne!(used[0], used[1]);
    }
}

#[test]
fn once_both_are_refused_another_provider_is_asked() {
    let pair = Pair::always(refusal(401, None)).config(KEYS);
    let answer = pair.with_keys(&["--fallback", OTHER]).expect_status(0).json();
    assert_eq!((&answer["text"], &answer["attempts"]), (&json!("two"), &json!(3)), "{answer}");
    assert_eq!(answer["fallback_from"], FIRST);
    let used = pair.keys_used();
    assert_ne!(used[0], used[1]);
    let output = pair.with_keys(&["--fallback", "openai/gpt-5.4-mini"]).expect_status(1);
    let error = error_line(&output);
    assert!(error.contains("KEY_A") || error.contains("KEY_B"), "{output}");
    assert_eq!(pair.requests(), [4, 1]);
}

#[test]
fn once_both_have_to_wait_another_target_is_asked() {
    let pair = Pair::always(refusal(429, None).header("retry-after", "100")).config(KEYS);
    let answer = pair.with_keys(&["--fallback", OTHER]).expect_status(0).json();
    assert_eq!((&answer["text"], &answer["attempts"]), (&json!("two"), &json!(3)), "{answer}");
    assert_eq!(pair.requests(), [2, 1]);
    assert_eq!(pair.target(FIRST)["keys"].as_object().unwrap().len(), 2);
    let answer = pair.with_keys(&["--fallback", OTHER]).expect_status(0).json();
    assert_eq!(answer["attempts"], 1, "nobody asks the first again: {answer}");
}
