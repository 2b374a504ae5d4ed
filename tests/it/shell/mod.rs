//! What the program makes for shells and for `man`: the files kept in the repository are those that it would
//! make now, and they work.

mod completions;
mod man;

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::support::TestEnv;

/// Compares what is generated with the file that is kept, or renews it.
#[track_caller]
fn assert_kept(file: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, generated).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == generated, "{file} is stale: renew it with `UPDATE_GENERATED=1 cargo test kept`");
}

/// The names of the files in a folder of the repository, in order.
fn names_in(folder: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Whether a program is there. Whoever lacks it is told that the test has tested nothing.
fn installed(program: &str) -> bool {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| folder.join(program).is_file());
    if !found {
        // Not with a macro: what those print is kept from whoever sees only tests that pass.
        let _ = writeln!(std::io::stderr(), "SKIPPED: {program} is not installed");
    }
    found
}

/// A store with a call that has two tags.
fn with_a_call() -> TestEnv {
    let env = TestEnv::new();
    let args = ["chat", "-m", "sim/echo", "--tag", "team=payments", "--tag", "note=for 日本", "hello"];
    let _ = env.llmops(args).run().expect_status(0);
    env
}
