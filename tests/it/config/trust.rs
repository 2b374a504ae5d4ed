//! What a file that came with a checkout may not do until its user has said so.

use std::fs;
use std::os::unix::fs::symlink;

use super::{answer, assert_refused, script};
use crate::path::{KEY, Wired};
use crate::support::{Output, Reply, TestEnv, Upstream, assert_run};

#[test]
fn a_checkout_decides_nothing_about_where_requests_go() {
    let wired = Wired::unused();
    let upstream = Upstream::unused();
    let url = upstream.base_url();
    for attack in [
        format!("providers: {{openai: {{base_url: '{url}'}}}}\n"),
        format!(
            "providers: {{evil: {{base_url: '{url}', api_key_env: OPENAI_API_KEY}}}}\nmodel: evil/gpt-5.4-nano\n"
        ),
        "providers: {openai: {headers: {X-Evil: '1'}}}\n".to_owned(),
        "providers: {openai: {api_key_env: AWS_SECRET_ACCESS_KEY}}\n".to_owned(),
    ] {
        wired.env.write("llmops.yaml", attack);
        for command in ["chat", "stream"] {
            let output = assert_refused(wired.llmops([command, "hi"]));
            assert!(
                output.stderr.starts_with("error: llmops.yaml") && !output.stderr.contains(KEY),
                "{output}"
            );
        }
        wired.env.write("prompts.txt", "hi\n");
        assert_refused(wired.llmops(["batch", "prompts.txt", "-o", "out.jsonl"]));
        assert!(!wired.env.path("out.jsonl").exists());
    }
    assert_run!(assert_refused(wired.llmops(["chat", "hi"])));
}

#[test]
fn a_checkout_that_is_named_is_trusted() {
    let upstream = Upstream::start(|_| Reply::answer("trusted"));
    let env = TestEnv::new();
    env.write(
        "llmops.yaml",
        format!("model: lab/m\nproviders: {{lab: {{base_url: '{}'}}}}\n", upstream.base_url()),
    );
    assert_eq!(answer(env.llmops(["chat", "hi", "--config", "llmops.yaml"])), "trusted");
}

/// Everything below the test's root, with its content.
fn everything(env: &TestEnv) -> Vec<(String, Vec<u8>)> {
    let mut files = env.files_below("");
    files.sort();
    files
}

#[test]
fn a_checkout_runs_sends_and_writes_nothing() {
    let wired = Wired::unused();
    let other = Upstream::unused();
    let url = other.base_url();
    let touch = script(&wired.env, "touch.sh", "touch $0.was-run; echo sk-0");
    wired.env.write("ca.pem", "");
    for attack in [
        format!("providers: {{openai: {{api_key_cmd: '{touch}'}}}}"),
        format!("providers: {{openai: {{api_key_cmd: ['{touch}'], api_key_env: NO_SUCH_KEY}}}}"),
        format!("providers: {{openai: {{base_url: '{url}'}}}}"),
        "providers: {openai: {headers: {Authorization: x}}}".into(),
        "providers: {openai: {ca_file: ca.pem}}".into(),
        "providers: {openai: {send_user: true}}".into(),
        "providers: {openai: {kind: sim}}".into(),
        "providers: {openai: {api_key_env: AWS_SECRET_ACCESS_KEY}}".into(),
        format!("model: evil/m\nproviders: {{evil: {{base_url: '{url}'}}}}"),
        "store: {file: stolen.db}".into(),
        "store: {bodies: none}".into(),
        "store: {keep: 1s}".into(),
        "log: {file: stolen.log}".into(),
        // Tricks with YAML.
        format!("providers: {{openai: &a {{http2: true, base_url: '{url}'}}, groq: *a}}"),
        format!("providers: {{openai: {{<<: {{base_url: '{url}'}}}}}}"),
        format!("<<: {{providers: {{openai: {{base_url: '{url}'}}}}}}"),
        format!("<<: [{{model: sim/echo}}, {{providers: {{openai: {{base_url: '{url}'}}}}}}]"),
        format!("'providers': {{\"\\x6fpenai\": {{\"base\\u005furl\": '{url}'}}}}"),
        format!("? providers\n: ? openai\n  : ? base_url\n    : '{url}'"),
        format!("!!map providers: !!map {{openai: !!map {{base_url: !!str '{url}'}}}}"),
        format!("--- \nmodel: sim/echo\n---\nproviders: {{openai: {{base_url: '{url}'}}}}"),
        format!("model: sim/echo\n...\nproviders: {{openai: {{base_url: '{url}'}}}}"),
        format!("providers: {{}}\nproviders: {{openai: {{base_url: '{url}'}}}}"),
        format!("pr\u{43e}viders: {{openai: {{base_url: '{url}'}}}}"),
        format!("%YAML 1.1\n---\nproviders: {{openai: {{base_url: '{url}'}}}}"),
    ] {
        wired.env.write("llmops.yaml", format!("{attack}\n"));
        let before = everything(&wired.env);
        let output = assert_refused(wired.llmops(["chat", "hi"]).env("AWS_SECRET_ACCESS_KEY", KEY));
        assert!(output.stderr.starts_with("error: llmops.yaml:"), "{attack}\n{output}");
        assert!(!output.stderr.contains(KEY) && !output.stderr.contains(&url), "{attack}\n{output}");
        assert_eq!(everything(&wired.env), before, "{attack}");
    }
}

#[test]
fn no_command_follows_a_checkout() {
    let wired = Wired::unused();
    let touch = script(&wired.env, "touch.sh", "touch $0.was-run; echo sk-0");
    wired.env.write("prompts.txt", "hi\n");
    wired.env.write(
        "elsewhere.yaml",
        format!("providers: {{openai: {{api_key_cmd: '{touch}'}}}}\nlog: {{file: x.log}}\n"),
    );
    symlink("elsewhere.yaml", wired.env.path("llmops.yaml")).unwrap();
    let before = everything(&wired.env);
    for args in [
        &["chat", "hi"][..],
        &["chat", "-m", "sim/echo", "hi", "--dry-run"],
        &["stream", "hi"],
        &["batch", "prompts.txt", "-o", "out.jsonl"],
        &["calls"],
        &["calls", "show", "0"],
        &["cost"],
        &["models"],
        &["config", "show"],
    ] {
        let output = assert_refused(wired.llmops(args).env_remove("OPENAI_API_KEY"));
        assert!(output.stderr.contains("\nhint: "), "{output}");
    }
    let _ = wired.llmops(["config", "check"]).run().expect_status(2);
    let _ = wired.llmops(["config", "path", "--all"]).run().expect_status(0);
    assert_eq!(everything(&wired.env), before);
}

/// A checkout that wants a log of its own.
const WANTS_A_LOG: &str = "model: sim/echo\nlog: {file: calls.log}\n";

fn trust(env: &TestEnv, folder: &str) -> Output {
    env.llmops(["config", "trust"]).current_dir(folder).run().expect_status(0)
}

#[test]
fn trust_is_in_what_a_file_says_and_where_it_stands() {
    let env = TestEnv::new();
    let file = |folder: &str| format!("{folder}/llmops.yaml");
    for folder in ["one", "two", "it's \"odd\"  ", "ünï"] {
        env.write(file(folder), WANTS_A_LOG);
    }
    let ask = |folder: &str| env.llmops(["chat", "hi"]).current_dir(folder);
    assert_refused(ask("one"));
    assert_run!(trust(&env, "one"));
    assert_eq!(answer(ask("one")), "hi");
    assert_run!(trust(&env, "one"));
    assert_refused(ask("two"));
    for folder in ["it's \"odd\"  ", "ünï"] {
        trust(&env, folder);
        assert_eq!(answer(ask(folder)), "hi");
    }
    // One byte.
    env.write(file("one"), format!("{WANTS_A_LOG}#"));
    assert_run!(assert_refused(ask("one")));
    assert_eq!(answer(ask("ünï")), "hi");
    trust(&env, "one");
    assert_eq!(answer(ask("one")), "hi");
    // What was trusted once is not trusted again.
    env.write(file("one"), WANTS_A_LOG);
    assert_refused(ask("one"));
    let list = env.root().join("data/llmops/trusted");
    let mode = |path: &std::path::Path| {
        std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions())
    };
    assert_eq!((mode(&list) & 0o777, mode(list.parent().unwrap()) & 0o777), (0o600, 0o700));
}

#[test]
fn a_link_to_a_trusted_file_is_not_trusted() {
    let env = TestEnv::new();
    env.write("good/llmops.yaml", "providers: {openai: {api_key_cmd: ./key.sh}}\n");
    trust(&env, "good");
    fs::create_dir(env.path("evil")).unwrap();
    symlink("../good/llmops.yaml", env.path("evil/llmops.yaml")).unwrap();
    script(&env, "evil/key.sh", "touch was-run; echo sk-0");
    assert_refused(env.llmops(["chat", "hi"]).current_dir("evil"));
    assert!(!env.path("evil/was-run").exists());
}

#[test]
fn trust_is_not_lost_when_it_is_given_twice_at_once() {
    let env = TestEnv::new();
    let folders: Vec<String> = (0..8).map(|number| format!("project-{number}")).collect();
    for folder in &folders {
        env.write(format!("{folder}/llmops.yaml"), WANTS_A_LOG);
    }
    let give = |folder: &String| env.llmops(["config", "trust"]).current_dir(folder).spawn();
    let running: Vec<_> = folders.iter().map(give).collect();
    for run in running {
        let _ = run.wait().expect_status(0);
    }
    for folder in &folders {
        assert_eq!(answer(env.llmops(["chat", "hi"]).current_dir(folder)), "hi");
    }
}

#[test]
fn what_does_no_harm_needs_no_trust() {
    let env = TestEnv::new();
    env.write(
        "llmops.yaml",
        "model: sim/x\nretry: {retries: 1}\ntimeouts: {total: 1m}\ntemplates: {t: '{{ prompt }}'}\n\
         sim: {models: {x: {answer: harmless}}}\nproviders: {openai: {http2: true, default_model: m, structured: none}}\n\
         log: {format: json}\n",
    );
    assert_eq!(answer(env.llmops(["chat", "hi"])), "harmless");
    assert_run!(env.llmops(["config", "trust"]).run().expect_status(0));
    fs::remove_file(env.path("llmops.yaml")).unwrap();
    assert_run!(assert_refused(env.llmops(["config", "trust"])));
}

#[test]
fn a_template_of_a_checkout_reads_neither_files_nor_the_environment() {
    let env = TestEnv::new();
    env.write("secret.txt", "a secret of a file");
    for answer in [
        "{% include 'secret.txt' %}",
        "{% include '/etc/passwd' %}",
        "{% import 'secret.txt' as x %}{{ x }}",
        "{% extends 'secret.txt' %}",
        "{{ env }}",
        "{{ environ['TEST_SECRET'] }}",
        "{{ getenv('TEST_SECRET') }}",
        "{{ self.__init__.__globals__ }}",
    ] {
        env.write("llmops.yaml", format!("model: sim/x\nsim: {{models: {{x: {{answer: \"{answer}\"}}}}}}\n"));
        let output = env.llmops(["chat", "hi"]).env("TEST_SECRET", "a secret of the environment").run();
        assert_eq!(output.status, 1, "{output}");
        assert!(!output.to_string().contains("secret of") && !output.stdout.contains("root:"), "{output}");
    }
    // Everything a template knows, which is what it was given.
    env.write("llmops.yaml", "model: sim/x\nsim: {models: {x: {answer: '{{ debug() }}'}}}\n");
    let output = env.llmops(["chat", "hi"]).env("TEST_SECRET", "a secret of the environment").run();
    assert!(!output.to_string().contains("secret of"), "{output}");
}

#[test]
fn trust_in_a_file_that_is_wrong_is_not_given() {
    let env = TestEnv::new();
    env.write("llmops.yaml", "log: {file: x.log, fromat: json}\n");
    assert_refused(env.llmops(["config", "trust"]));
    assert!(!env.root().join("data/llmops/trusted").exists());
    // The names in a list of what is trusted cannot hide a line of it.
    env.write("llmops.yaml", "providers: {\"x\\e[1A\\e[2K\\r\": {base_url: 'http://h'}}\n");
    let output = env.llmops(["config", "trust"]).run().expect_status(0);
    assert!(!output.stdout.contains(['\u{1b}', '\r']), "{output:?}");
}
