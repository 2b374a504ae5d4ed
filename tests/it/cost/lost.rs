//! Budgets and calls whose attempts are lost: what was held for those is gone until the call ends, and the call
//! does not wait for itself.

use serde_json::json;

use crate::support::TestEnv;

#[test]
fn a_call_does_not_wait_for_what_its_own_lost_attempts_hold() {
    let env = TestEnv::new();
    env.write_config("sim: {models: {clerk: {price: {input: 0.25, output: 1.25}}}}\nretry: {base: 1ms}\n");
    let _ = env.llmops(["cost", "budget", "set", "0.0002"]).run().expect_status(0);
    let ask = ["chat", "hello", "-m", "sim/clerk", "--max-tokens", "100", "--retries", "1"];
    let output = env.llmops(ask).env("LLMOPS_SIM", "drop=1").run().expect_status(4);
    assert!(output.stderr.contains("is left, and a call may cost"), "{output}");
    let budget = &env.llmops(["cost", "budget", "--format", "json"]).run().json()[0];
    assert_eq!(budget["spent_usd"], budget["unknown_usd"]);
    assert_eq!((&budget["held_usd"], &budget["exhausted"]), (&json!(0.0), &json!(true)), "{budget}");
}
