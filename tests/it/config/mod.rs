//! Configuration: which layer wins, what each kind of mistake is told, what a file that came with a checkout
//! may not do, and where keys come from and never go.

mod asked;
mod grep;
mod init;
mod keys;
mod layers;
mod mistakes;
mod models;
mod schema;
mod several_keys;
mod show;
mod trust;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::support::{Output, Run, TestEnv};

/// Simulated models that answer with their names, and a default.
const NAMED: &str = "model: sim/user\nsim: {models: {user: {answer: user}, project: {answer: project}, \
    environment: {answer: environment}, option: {answer: option}}}\n";

/// The answer to a question in this home.
#[track_caller]
fn answer(run: Run) -> String {
    run.run().expect_status(0).stdout.trim_end().to_owned()
}

/// One error with whatever hint, nothing on stdout, exit status 2.
#[track_caller]
fn assert_refused(run: Run) -> Output {
    let output = run.run().expect_status(2);
    assert_eq!(output.stdout, "", "of\n{output}");
    assert!(output.stderr.starts_with("error: "), "of\n{output}");
    assert_eq!(output.stderr.matches("error: ").count(), 1, "of\n{output}");
    assert!(output.stderr.lines().count() <= 2, "of\n{output}");
    output
}

fn fixture(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/config")
}

/// A program in the working directory; its path.
fn script(env: &TestEnv, name: &str, body: &str) -> String {
    let path = env.write(name, format!("#!/bin/sh\n{body}\n"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}
