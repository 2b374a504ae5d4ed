//! Help, the version, and a suggestion for a command that does not exist.

use super::assert_refused;
use crate::support::{TestEnv, assert_run};

#[test]
fn every_command_has_help() {
    let env = TestEnv::new();
    for args in [
        &["--help"][..],
        &["chat", "--help"],
        &["stream", "--help"],
        &["batch", "--help"],
        &["cost", "--help"],
        &["calls", "--help"],
        &["calls", "show", "--help"],
        &["calls", "tail", "--help"],
        &["calls", "export", "--help"],
        &["calls", "prune", "--help"],
        &["calls", "stats", "--help"],
    ] {
        let output = env.llmops(args).env("COLUMNS", "80").run().expect_status(0);
        assert_eq!(output.stderr, "");
        assert!(output.stdout.lines().all(|line| line.chars().count() <= 80), "{output}");
        insta::with_settings!({snapshot_suffix => args.join("_").replace("--", "")}, { assert_run!(output) });
    }
}

#[test]
fn the_version_is_printed() {
    let output = TestEnv::new().llmops(["--version"]).run().expect_status(0);
    assert_eq!(output.stdout, format!("llmops {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_command_that_does_not_exist_gets_a_suggestion() {
    let env = TestEnv::new();
    let output = assert_refused(env.llmops(["chta", "hi"]));
    assert!(output.stderr.contains("'chat'"), "{output}");
    let output = env.llmops([""; 0]).run().expect_status(2);
    assert!(output.stderr.contains("Usage: llmops"), "{output}");
}
