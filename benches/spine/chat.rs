//! What a budget adds to a single call: `llmops chat` as a whole process, with no budget in its store, with
//! one and with three that cover the call. The commands take turns, so that a slow spell of the machine
//! falls on all of them, and what is added is reckoned within each turn.

use std::time::Duration;

use crate::measure::Cost;
use crate::options::Options;
use crate::report::{Spread, row, table};
use crate::room::Room;
use crate::startup::{figures, take_turns};
use crate::upstream::Upstream;
use crate::{LLMOPS, Outcome, budgets};

/// The numbers of budgets that are compared: without any first.
const BUDGETS: [usize; 3] = [0, 1, 3];

/// Runs the commands in turn and prints the tables.
pub fn run(options: &Options) -> Outcome<()> {
    let upstream = Upstream::start()?;
    let command: &[&str] = &[LLMOPS, "chat", "-m", budgets::MODEL, "--max-tokens", "100", "Hello!"];
    let rooms = BUDGETS.iter().map(|number| {
        let room = Room::facing(&upstream.base_url())?;
        budgets::set(&room, *number)?;
        Ok(room)
    });
    let rooms: Vec<Room> = rooms.collect::<Outcome<_>>()?;
    let names = ["llmops chat, no budget", "llmops chat, 1 budget", "llmops chat, 3 budgets"];
    let subjects: Vec<(&str, &Room, &[&str])> =
        names.into_iter().zip(&rooms).map(|(name, room)| (name, room, command)).collect();
    let costs = take_turns(&subjects, options.chats)?;
    for (room, number) in rooms.iter().zip(BUDGETS) {
        budgets::check(room, number)?;
    }
    let heading = format!("a call, {} runs of each, in turn", options.chats);
    figures(&heading, &subjects, &costs);
    print_added(&names, &costs);
    Ok(())
}

/// What each turn's calls took beyond the one without a budget.
fn print_added(names: &[&str], costs: &[Vec<Cost>]) {
    let Some((plain, others)) = costs.split_first() else { return };
    let mut rows = vec![row(["", "wall ms", "CPU ms"])];
    for (name, costs) in names.iter().skip(1).zip(others) {
        let of = |figure: &dyn Fn(&Cost) -> Duration| {
            let pairs = costs.iter().zip(plain);
            let more = |cost: &Cost| figure(cost).as_secs_f64() * 1e3;
            Spread::of(pairs.map(|(with, without)| more(with) - more(without))).cell(2)
        };
        rows.push(vec![(*name).to_owned(), of(&|cost| cost.wall), of(&|cost| cost.cpu)]);
    }
    table("added by budgets, pair by pair (min / median / max)", &rows);
}
