//! Manual pages: one for every command, kept, complete, and without a complaint from groff.

use std::fs;

use super::{assert_kept, installed, names_in};
use crate::support::TestEnv;

#[test]
fn the_kept_man_pages_are_those_of_now() {
    let env = TestEnv::new();
    let output = env.llmops(["man", "made/man1"]).run().expect_status(0);
    let mut names: Vec<String> = fs::read_dir(env.path("made/man1"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(output.stdout, format!("Wrote {} pages to made/man1\n", names.len()));
    for name in ["llmops.1", "llmops-chat.1", "llmops-calls-show.1", "llmops-man.1"] {
        assert!(names.iter().any(|made| made == name), "{names:?}");
    }
    for name in &names {
        assert_kept(&format!("man/{name}"), &env.read(format!("made/man1/{name}")));
    }
    assert_eq!(names_in("man"), names, "man/ has pages of commands that are gone: remove them");
    assert_eq!(env.llmops(["man"]).run().expect_status(0).stdout, env.read("made/man1/llmops.1"));
}

#[test]
fn pages_that_cannot_be_written_are_an_error() {
    let env = TestEnv::new();
    env.write("file", "");
    let output = env.llmops(["man", "file"]).run().expect_status(2);
    assert!(output.stderr.starts_with("error: cannot write file: "), "{output}");
}

#[test]
fn groff_has_nothing_to_complain_about() {
    if !installed("groff") {
        return;
    }
    let env = TestEnv::new();
    let _ = env.llmops(["man", "."]).run().expect_status(0);
    for entry in fs::read_dir(env.path("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        for width in ["60", "80"] {
            let args = ["-man", "-Tutf8", "-ww", "-P-cbou", &format!("-rLL={width}n"), &name];
            let output = env.program("groff", args).run().expect_status(0);
            assert_eq!(output.stderr, "", "{name} at {width} columns");
            let words = output.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
            for section in ["NAME llmops", "SYNOPSIS llmops", "GLOBAL OPTIONS", "EXAMPLES "] {
                assert!(words.contains(section), "{name}: no {section}\n{}", output.stdout);
            }
        }
    }
    let whole = env.read("llmops.1");
    for section in ["EXIT STATUS", "ENVIRONMENT", "FILES"] {
        assert!(whole.contains(&format!(".SH \"{section}\"")) || whole.contains(&format!(".SH {section}")));
    }
}
