//! Routes by task: which model a request goes to, by rules in the configuration, and what is said of it.

mod books;
mod config;
mod rules;

use crate::support::TestEnv;

/// A home with the built-in example, taken out of its comment.
fn with_example() -> TestEnv {
    let env = TestEnv::new();
    env.write_config(&example());
    env
}

/// The example of the built-in settings.
fn example() -> String {
    let defaults = include_str!("../../../src/config/default.yaml");
    let (_, from) = defaults.split_once("#   routes:\n").expect("there is an example");
    let lines = from.lines().take_while(|line| *line != "#").map(|line| line.strip_prefix("#   ").unwrap());
    format!("routes:\n{}\n", lines.collect::<Vec<_>>().join("\n"))
}
