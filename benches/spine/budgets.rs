//! Budgets that cover every call of the benchmark and never run out: each call is held and settled under all
//! of them, and none has to wait.

use std::process::Command;

use serde_json::Value;

use crate::measure::measure;
use crate::room::Room;
use crate::{LLMOPS, Outcome};

/// The model asked for; it only has to be one that has a price.
pub const MODEL: &str = "gpt-5.4-nano";

/// The model to fall back to.
pub const OTHER_MODEL: &str = "gpt-5.4-mini";

/// What each of them is for, beside its limit.
const SCOPES: [&[&str]; 3] =
    [&[], &["--provider", "openai", "--period", "week"], &["--model", MODEL, "--period", "month"]];

/// Sets the first few of them in a room's store.
pub fn set(room: &Room, number: usize) -> Outcome<()> {
    for scope in SCOPES.iter().take(number) {
        let set = [&[LLMOPS, "cost", "budget", "set", "1000"], *scope].concat();
        measure(room, &set)?;
    }
    Ok(())
}

/// Whether there are so many, something was spent of each, the same of all, and nothing is held any more.
pub fn check(room: &Room, number: usize) -> Outcome<()> {
    let mut list = Command::new(LLMOPS);
    list.args(["cost", "budget", "--format", "json"]);
    room.furnish(&mut list);
    let listed: Vec<Value> = serde_json::from_slice(&list.output()?.stdout)?;
    let spent: Vec<f64> = listed.iter().filter_map(|budget| budget["spent_usd"].as_f64()).collect();
    let kept = spent.len() == number
        && spent.iter().all(|amount| *amount > 0.0 && spent.first() == Some(amount))
        && listed.iter().all(|budget| budget["held_usd"].as_f64() == Some(0.0));
    if kept { Ok(()) } else { Err(format!("{number} budgets were not kept: {listed:?}").into()) }
}
