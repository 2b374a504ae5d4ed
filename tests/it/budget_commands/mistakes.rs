//! What is no budget, and what is said about it.

use serde_json::json;

use super::{budget, budgets, home, listed, set};
use crate::support::TestEnv;

/// Refused with exit status 2, an error with this in it, and a hint; nothing is set.
#[track_caller]
fn refused(env: &TestEnv, args: &[&str], told: &str) {
    let output = budget(env, args).run().expect_status(2);
    let lines: Vec<&str> = output.stderr.lines().collect();
    assert!(
        matches!(lines[..], [error, hint] if error.starts_with("error: ") && hint.starts_with("hint: ")),
        "{output}"
    );
    assert!(output.stderr.contains(told) && output.stdout.is_empty(), "{output}");
}

#[test]
fn what_is_no_amount_is_refused() {
    let env = home();
    for amount in
        ["-1", "abc", "1e3", "0.0000000001", "99999999999999999999", "9223372037", "", "5$", "1,5", "inf"]
    {
        refused(&env, &["set", amount], "expected dollars as a plain decimal");
    }
    assert_eq!(budgets(&env), [json!(null); 0]);
    for (amount, limit) in [("$5", 5.0), ("0.000000001", 1e-9), ("0", 0.0), ("9223372036", 9_223_372_036.0)] {
        assert_eq!(set(&env, &[amount])["limit_usd"], limit);
    }
}

#[test]
fn what_is_no_share_is_refused() {
    let env = home();
    for share in ["80", "0.8", "101%", "-5%", "80.55555%", "80 %", ""] {
        refused(&env, &["set", "1", "--warn", share], "a share is written with `%`");
    }
    assert_eq!(listed(&env, &["id"]), json!([]));
}

#[test]
fn a_budget_for_nobody_is_not_one_for_all() {
    let env = home();
    set(&env, &["5"]);
    refused(&env, &["set", "1", "--user", ""], "expected a name");
    refused(&env, &["set", "1", "--user", " "], "expected a name");
    refused(&env, &["set", "1", "--route", ""], "expected a name");
    for tag in ["", "k", "=x", "="] {
        refused(&env, &["set", "1", "--tag", tag], "expected KEY=VALUE");
    }
    refused(&env, &["set", "1", "--tag", "a=b", "--tag", "c=d"], "multiple times");
    refused(&env, &["set", "1", "--model", ""], "no model");
    refused(&env, &["set", "1", "--provider", ""], "no provider");
    assert_eq!(listed(&env, &["id", "limit_usd"]), json!([[1, 5.0]]));
    // A label may be without a value, and then that is what is meant.
    set(&env, &["1", "--tag", "k=", "--period", "total"]);
    super::spend(&env, &["--tag", "k="]);
    super::spend(&env, &["--tag", "k=v"]);
    assert_eq!(listed(&env, &["spent_usd"]), json!([[2.0], [1.0]]));
}

#[test]
fn names_that_nobody_has_are_refused() {
    let env = home();
    refused(&env, &["set", "1", "--model", "gpt-5.4-nan"], "did you mean `gpt-5.4-nano`");
    refused(&env, &["set", "1", "--model", "sim/dolar"], "did you mean `dollar`");
    refused(&env, &["set", "1", "--provider", "opena"], "did you mean `openai`");
    refused(&env, &["set", "1", "--provider", "zzz"], "add it to `providers`");
    refused(&env, &["set", "1", "--time-zone", "Berlin"], "did you mean `Europe/Berlin`?");
    refused(&env, &["set", "1", "--time-zone", "local"], "--time-zone");
    refused(&env, &["set", "1", "--period", "year"], "day, week, month, total");
    assert_eq!(listed(&env, &["id"]), json!([]));
    // A provider's own name for a model that is not listed may be right.
    assert_eq!(set(&env, &["1", "--model", "openai/gpt-99"])["scope"]["model"], "gpt-99");
}

#[test]
fn a_name_that_several_have_is_to_be_said_with_its_provider() {
    let env = home();
    env.write_config("sim: {models: {gpt-5.4-nano: {answer: a}}}\n");
    let choices = "hint: say which: `openai/gpt-5.4-nano` or `sim/gpt-5.4-nano`";
    refused(&env, &["set", "1", "--model", "gpt-5.4-nano"], choices);
    let scope = set(&env, &["1", "--model", "gpt-5.4-nano", "--provider", "sim"])["scope"].clone();
    assert_eq!((&scope["provider"], &scope["model"]), (&json!("sim"), &json!("gpt-5.4-nano")));
}

#[test]
fn numbers_are_those_of_budgets() {
    let env = home();
    refused(&env, &["rm", "1"], "no budget 1");
    set(&env, &["5"]);
    refused(&env, &["rm", "1", "2"], "no budget 2");
    for wrong in ["x", "", "1.5"] {
        refused(&env, &["rm", wrong], "expected a budget's number");
        refused(&env, &["check", wrong], "expected a budget's number");
    }
    refused(&env, &["rm", "-1"], "no budget -1");
    refused(&env, &["rm"], "<ID>");
    assert_eq!(listed(&env, &["id"]), json!([[1]]));
}
