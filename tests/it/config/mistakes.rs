//! What each kind of mistake is told: where, what, and what to do.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::{answer, assert_refused, folder};
use crate::path::KEY;
use crate::support::{TestEnv, assert_run};

#[test]
/// Every broken file, each with all that is said about it.
fn mistakes_in_a_file_are_told_with_their_place() {
    let mut files: Vec<_> =
        fs::read_dir(folder().join("bad")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut said = Vec::new();
    for file in files {
        let env = TestEnv::new();
        let name = file.file_name().unwrap().to_str().unwrap();
        env.write(name, fs::read(&file).unwrap());
        let output = assert_refused(env.llmops(["--config", name, "chat", "-m", "sim/echo", "hi"]));
        said.push(format!("{name}\n{}", output.stderr));
    }
    let said = said.join("\n");
    assert!(!said.contains("pasted"), "a key in the wrong place is a key all the same:\n{said}");
    insta::assert_snapshot!(said);
}

#[test]
fn a_config_file_that_cannot_be_read_is_named() {
    let env = TestEnv::new();
    assert_run!(assert_refused(env.llmops(["--config", "missing.yaml", "chat", "-m", "sim/echo", "hi"])));
    fs::create_dir(env.path("folder")).unwrap();
    assert_run!(assert_refused(env.llmops(["--config", "folder", "chat", "-m", "sim/echo", "hi"])));
}

#[test]
fn the_users_own_file_is_named_with_its_place() {
    let env = TestEnv::new();
    env.write_config("model: sim/echo\nretry:\n  retires: 3\n");
    let output = assert_refused(env.llmops(["chat", "hi"]));
    assert!(output.stderr.contains("config/llmops/config.yaml:3:3: "), "{output}");
    env.write_config("model: sim/echo\n");
    env.write("llmops.yaml", "model:\n  - sim/echo\n");
    let output = assert_refused(env.llmops(["chat", "hi"]));
    assert!(output.stderr.starts_with("error: llmops.yaml:2:3: "), "{output}");
}

#[test]
fn a_wrong_value_in_the_environment_names_its_variable() {
    let env = TestEnv::new();
    for (variable, value) in [
        ("LLMOPS_RETRY__RETRIES", "some"),
        ("LLMOPS_RETRY__RETIRES", "3"),
        ("LLMOPS_NO_SUCH_SETTING", "1"),
        ("LLMOPS_TIMEOUTS__TOTAL", "5"),
        ("LLMOPS_RETRY", "5"),
        ("LLMOPS_SIM", "speed=1"),
        ("LLMOPS_SIM", "error=lots"),
        ("LLMOPS_SIM", "error=2"),
        ("LLMOPS_SIM", "error=0.7,drop=0.7"),
        ("LLMOPS_SIM__ERROR", "-1"),
        ("LLMOPS_BATCH__CONFIRM_ABOVE_USD", "-1"),
        ("LLMOPS_BATCH__CONFIRM_ABOVE_USD", "much"),
        ("LLMOPS_PROVIDERS__OPENAI__API_KEY", KEY),
    ] {
        let output = assert_refused(env.llmops(["chat", "-m", "sim/echo", "hi"]).env(variable, value));
        assert!(output.stderr.contains(variable), "{variable}={value}\n{output}");
        // The place in a text that nobody wrote helps nobody.
        assert!(
            !output.stderr.contains("line 1") && !output.stderr.contains(KEY),
            "{variable}={value}\n{output}"
        );
    }
}

#[test]
fn every_mistake_of_every_file_is_told_at_once() {
    let env = TestEnv::new();
    env.write_config("retry: {retires: 3}\ntimeouts: {idle: soon}\nlog: {format: jsn}\n");
    env.write("llmops.yaml", "modle: sim/echo\nstore: {file: here.db}\nproviders: {openai: {http2: maybe, base_url: 'http://h'}}\n");
    let output = env.llmops(["config", "check"]).run().expect_status(2);
    assert_run!(output);
}

#[test]
fn what_will_fail_later_is_told_by_a_check() {
    let env = TestEnv::new();
    env.write_config(
        "providers:\n  lab: {base_url: 'localhost:8080/v1', ca_file: none.pem}\n  openai: {base_url: 'https://'}\n\
         templates:\n  review: |\n    fine\n    {% if %}\nsim: {models: {x: {answer: '{{ prompt'}}}\n",
    );
    let check = || env.llmops(["config", "check"]).env("GROQ_BASE_URL", format!("groq:{KEY}"));
    let output = check().run().expect_status(2);
    assert!(!output.stderr.contains(KEY), "{output}");
    assert_run!(output);
    // What is not used does no harm.
    assert_eq!(answer(env.llmops(["chat", "-m", "sim/echo", "hi"])), "hi");
}

#[test]
fn a_check_that_finds_nothing_says_so() {
    let env = TestEnv::new();
    assert_run!(env.llmops(["config", "check"]).run().expect_status(0));
    env.write_config("model: sim/echo\n");
    env.write("llmops.yaml", "retry: {retries: 1}\n");
    assert_run!(env.llmops(["config", "check"]).run().expect_status(0));
    env.write("named.yaml", "\u{feff}model: sim/echo\r\nretry:\r\n  retries: 1\r\n");
    assert_run!(env.llmops(["config", "check", "--config", "named.yaml"]).run().expect_status(0));
    let output = env.llmops(["config", "check"]).env("LLMOPS_RETRY__RETRIES", "x").run().expect_status(2);
    assert!(output.stderr.starts_with("error: the environment variable LLMOPS_RETRY__RETRIES"), "{output}");
}

#[test]
fn a_config_file_that_is_no_proper_file_is_refused() {
    let env = TestEnv::new();
    let own = env.write_config("model: sim/echo\n");
    let refused = |reason: &str| {
        let output = assert_refused(env.llmops(["chat", "-m", "sim/echo", "hi"]));
        assert!(output.stderr.contains(reason), "{reason}\n{output}");
        let _ = env.llmops(["config", "check"]).run().expect_status(2);
    };
    env.write_config(&format!("# {}\n", "x".repeat(5 << 20)));
    refused("config.yaml: it is larger than 4 MiB");
    fs::remove_file(&own).unwrap();
    symlink("/nowhere/at/all", &own).unwrap();
    refused("config.yaml: No such file");
    fs::remove_file(&own).unwrap();
    fs::create_dir(&own).unwrap();
    refused("config.yaml: Is a directory");
    fs::remove_dir(&own).unwrap();
    for (target, reason) in
        [("/dev/zero", "it is not a file"), (".", "it is not a file"), ("gone", "No such file")]
    {
        symlink(target, env.path("llmops.yaml")).unwrap();
        refused(reason);
        fs::remove_file(env.path("llmops.yaml")).unwrap();
    }
    // One that may not be read is no reason to go on without it.
    env.write_config("model: sim/echo\n");
    fs::set_permissions(&own, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&own).is_err() {
        refused("Permission denied");
    }
}

#[test]
fn nesting_without_end_is_refused() {
    let env = TestEnv::new();
    let flow = "[".repeat(100_000);
    let block = (0..2_000).map(|depth| " ".repeat(depth) + "a:\n").collect::<Vec<_>>().concat();
    for text in [flow, block, format!("a: {}1{}", "{a: ".repeat(3_000), "}".repeat(3_000))] {
        env.write("llmops.yaml", text);
        assert_refused(env.llmops(["chat", "-m", "sim/echo", "hi"]));
    }
}

#[test]
fn what_a_message_quotes_cannot_move_the_cursor() {
    let env = TestEnv::new();
    for yaml in [
        "\"a\\e[2J\\nerror: b\": 1\n",
        "model: \"sim/\\e]0;title\\a\\r\\n\\u202e\"\n",
        "retry: {\"x\\ny\": 1}\n",
        "timeouts: {idle: \"1\\e[1A\"}\n",
    ] {
        env.write("llmops.yaml", yaml);
        for args in [&["chat", "hi"][..], &["config", "show"], &["models"], &["config", "check"]] {
            let output = env.llmops(args).run();
            let text = format!("{}{}", output.stdout, output.stderr);
            let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            assert!(!text.contains(bad), "{output:?}");
            assert!(output.stderr.matches("error: ").count() <= 2, "{output}");
        }
        assert!(env.llmops(["chat", "hi"]).run().stderr.lines().count() <= 2);
    }
}
