//! Where keys come from: a variable, or a command that is run once, without a shell, and only when it is needed.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{answer, assert_refused, script};
use crate::path::{KEY, Wired, end_by};
use crate::support::{Reply, Run, Signal, TestEnv, Upstream, assert_run};

#[test]
fn blanks_around_a_key_are_not_part_of_it() {
    let wired = Wired::always(Reply::answer("ok"));
    let _ = wired.llmops(["chat", "hi"]).env("OPENAI_API_KEY", format!(" {KEY}\n")).run().expect_status(0);
    assert_eq!(wired.upstream.received()[0].header("authorization"), Some(&*format!("Bearer {KEY}")));
}

#[test]
fn of_an_address_only_the_server_is_ever_shown() {
    let env = TestEnv::new();
    let run =
        env.llmops(["chat", "-m", "gpt-5.4-nano", "--retries", "0", "-v", "hi"]).env("OPENAI_API_KEY", KEY);
    let address = "http://someone:hunter2@127.0.0.1:1/v1?token=hunter2";
    let output = run.env("OPENAI_BASE_URL", address).run().expect_status(1);
    assert!(output.stderr.contains("http://127.0.0.1:1:") && !output.stderr.contains("hunter2"), "{output}");
}

#[test]
fn a_provider_of_ones_own_is_called_as_configured() {
    let upstream = Upstream::start(|_| Reply::answer("from the lab"));
    let env = TestEnv::new();
    let url = upstream.base_url();
    env.write_config(&format!(
        "model: lab/llama-3.3\nproviders:\n  lab:\n    base_url: {url}/\n    api_key_env: LAB_KEY\n    headers: {{X-Team: support}}\n",
    ));
    let output =
        env.llmops(["chat", "hi", "--format", "json"]).env("LAB_KEY", KEY).run().expect_status(0).json();
    assert_eq!((&output["provider"], &output["model"]), (&json!("lab"), &json!("llama-3.3")));
    assert_eq!((&output["cost_usd"], &output["cost_status"]), (&json!(null), &json!("unknown")));
    let request = upstream.received().remove(0);
    assert_eq!(request.path, "/v1/chat/completions");
    assert_eq!(request.header("authorization"), Some(&*format!("Bearer {KEY}")));
    assert_eq!(request.header("x-team"), Some("support"));
    assert_eq!(request.body["model"], "llama-3.3");
    assert_run!(assert_refused(env.llmops(["chat", "hi"])));
}

#[test]
fn the_default_is_the_first_provider_with_a_key() {
    let upstream = Upstream::start(|_| Reply::answer("ok"));
    let env = TestEnv::new();
    let provider = |keys: &[&str]| {
        let mut run = env.llmops(["chat", "hi", "--format", "json"]);
        for name in keys {
            run = run
                .env(&format!("{name}_API_KEY"), "k")
                .env(&format!("{name}_BASE_URL"), upstream.base_url());
        }
        run.run().expect_status(0).json()["provider"].as_str().unwrap().to_owned()
    };
    assert_eq!(provider(&["GROQ"]), "groq");
    assert_eq!(provider(&["OPENROUTER", "DEEPSEEK", "GROQ"]), "deepseek");
    assert_eq!(provider(&["MISTRAL", "OPENAI", "GEMINI"]), "openai");
    // One that cannot be called yet is passed over.
    assert_eq!(provider(&["ANTHROPIC", "AZURE", "XAI"]), "xai");
}

/// A home whose key is printed by this command, as it stands in YAML.
fn keyed(command: &str) -> Wired {
    Wired::always(Reply::answer("ok")).config(&config(command))
}

fn config(command: &str) -> String {
    format!("providers:\n  openai:\n    api_key_cmd: {command}")
}

/// Without the key in the environment.
fn ask(wired: &Wired, args: &[&str]) -> Run {
    wired.llmops(args).env_remove("OPENAI_API_KEY")
}

/// The key that the server has seen.
fn seen(wired: &Wired) -> String {
    let key = wired.upstream.received()[0].header("authorization").unwrap().to_owned();
    key.strip_prefix("Bearer ").unwrap().to_owned()
}

#[test]
fn a_command_is_words_and_no_shell() {
    for (command, key) in [
        ("printf sk-plain", "sk-plain"),
        ("\"printf '%s-%s' 'a b' \\\"c'd\\\"\"", "a b-c'd"),
        ("printf %s;touch", "%s;touch"),
        ("'printf $(id)`id`|cat>x&~*?'", "$(id)`id`|cat>x&~*?"),
        ("[printf, 'a;b $HOME ~ *']", "a;b $HOME ~ *"),
        ("[printf, '%s', 12]", "12"),
        ("\"printf ' \\t sk-trimmed \\n\\n'\"", "sk-trimmed"),
    ] {
        let wired = keyed(command);
        let output = ask(&wired, &["chat", "hi"]).run();
        if key.starts_with("%s;") {
            // `printf %s;touch` is one format with nothing to fill in.
            assert_eq!(seen(&wired), ";touch", "{output}");
        } else {
            assert_eq!((output.status, seen(&wired)), (0, key.to_owned()), "{output}");
        }
        assert!(!wired.env.path("x").exists());
    }
}

#[test]
fn a_variable_comes_before_a_command() {
    let wired = Wired::always(Reply::answer("ok"));
    let command = script(&wired.env, "key.sh", "touch was-run; echo sk-command");
    let wired = wired.config(&config(&command));
    assert_eq!(answer(wired.llmops(["chat", "hi"])), "ok");
    assert_eq!(seen(&wired), KEY);
    assert!(!wired.env.path("was-run").exists());
}

#[test]
fn a_command_leaves_standard_input_alone() {
    let wired = Wired::always(Reply::answer("ok"));
    let command = script(&wired.env, "key.sh", "cat >&2; echo sk-command");
    let wired = wired.config(&config(&command));
    let output = ask(&wired, &["batch", "-", "-q"]).stdin("first\nsecond\n").run().expect_status(0);
    assert_eq!(output.stdout.lines().count(), 2);
    assert_eq!(output.stderr, "");
    assert_eq!(answer(ask(&wired, &["chat", "hi"]).stdin("context")), "ok");
    assert!(wired.upstream.received()[2].last_user_text().contains("context"));
}

#[test]
fn a_command_that_prints_no_key_is_told() {
    let env = TestEnv::new();
    let long = script(&env, "long.sh", "head -c 1000000 /dev/zero | tr '\\0' x");
    let mut said = Vec::new();
    for command in [
        "[no-such-program-here]",
        "[/etc/hosts]",
        "'false'",
        "'true'",
        "seq 2",
        "[printf, '\\377\\376']",
        "'yes'",
        &long,
    ] {
        let wired = Wired::unused().config(&config(command));
        let output = assert_refused(ask(&wired, &["chat", "hi"]));
        said.push(output.stderr.replace(&long, "long.sh"));
    }
    insta::assert_snapshot!(said.concat());
}

/// A program that says on stderr that it runs, writes down its number and never ends.
fn hanging(env: &TestEnv) -> String {
    script(env, "hang.sh", "echo $$ > pid; echo running >&2; exec sleep 600")
}

fn assert_gone(env: &TestEnv) {
    let id = env.read("pid");
    assert!(!Path::new("/proc").join(id.trim()).exists(), "{id} still runs");
}

#[test]
fn a_command_that_hangs_is_ended() {
    let wired = Wired::unused();
    let command = hanging(&wired.env);
    let wired = wired.config(&format!("{}\ntimeouts: {{api_key_cmd: 200ms}}", config(&command)));
    wired.env.write("prompts.txt", "hi\n");
    for args in [&["chat", "hi"][..], &["batch", "prompts.txt", "-o", "out.jsonl"]] {
        let began = Instant::now();
        let output = ask(&wired, args).run().expect_status(2);
        assert!(output.stderr.contains("took longer than 200ms"), "{output}");
        assert!(began.elapsed() < Duration::from_secs(10), "{output}");
        assert_gone(&wired.env);
    }
    assert!(!wired.env.path("out.jsonl").exists());
}

#[test]
fn a_command_that_hangs_ends_with_the_program() {
    let wired = Wired::unused();
    let command = hanging(&wired.env);
    let wired = wired.config(&config(&command));
    wired.env.write("prompts.txt", "hi\n");
    for (args, signal, status) in [
        (&["chat", "hi"][..], Signal::INT, 130),
        (&["stream", "hi"], Signal::TERM, 143),
        (&["batch", "prompts.txt", "-o", "out.jsonl"], Signal::INT, 130),
    ] {
        let running = ask(&wired, args).spawn();
        running.wait_for_stderr("running");
        let output = end_by(running, signal).expect_status(status);
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", "running\n"), "{output}");
        assert_gone(&wired.env);
    }
}

#[test]
fn a_command_is_run_once_and_only_for_a_call() {
    let wired = Wired::always(Reply::answer("ok"));
    let command = script(&wired.env, "key.sh", "echo run >> runs; echo sk-command");
    let wired = wired.config(&config(&command));
    for args in [
        &["chat", "--dry-run", "hi"][..],
        &["chat", "-m", "sim/echo", "hi"],
        &["models"],
        &["config", "show", "--origin"],
        &["config", "check"],
        &["calls"],
        &["cost"],
    ] {
        let _ = ask(&wired, args).run().expect_status(0);
        assert!(!wired.env.path("runs").exists(), "{args:?}");
    }
    let prompts = (0..40).map(|number| format!("prompt {number}")).collect::<Vec<_>>().join("\n");
    let _ = ask(&wired, &["batch", "-", "-j", "16"]).stdin(prompts).run().expect_status(0);
    assert_eq!(wired.requests(), 40);
    assert_eq!(wired.env.read("runs"), "run\n");
}

#[test]
fn a_refused_key_is_known_by_where_it_came_from() {
    let refusing = || Wired::always(Reply::error(401, "invalid_api_key"));
    let wired = refusing();
    let output = wired.llmops(["chat", "hi"]).run().expect_status(1);
    assert!(
        output.stderr.contains("(the key is from OPENAI_API_KEY)") && !output.stderr.contains(KEY),
        "{output}"
    );
    let wired = refusing().config(&config("'printf sk-command-0123456789 %d'"));
    let output = ask(&wired, &["chat", "hi"]).run().expect_status(1);
    assert!(output.stderr.contains("(the key is from api_key_cmd `printf`)"), "{output}");
    assert!(!output.stderr.contains("sk-command"), "{output}");
}

#[test]
fn a_command_may_leave_something_running() {
    let wired = Wired::always(Reply::answer("ok"));
    let agent = script(&wired.env, "agent", "sleep 20 2>/dev/null & echo sk-from-agent-1234");
    wired
        .env
        .write_config(&format!("model: gpt-5.4-nano\nproviders: {{openai: {{api_key_cmd: [{agent}]}}}}\n"));
    let _ = wired.llmops(["chat", "hi"]).env_remove("OPENAI_API_KEY").run().expect_status(0);
    assert_eq!(wired.upstream.received()[0].header("authorization"), Some("Bearer sk-from-agent-1234"));
}

#[test]
fn a_key_is_read_however_busy_the_machine_is() {
    let wired = Wired::always(Reply::answer("ok"));
    wired
        .env
        .write_config("model: gpt-5.4-nano\nproviders: {openai: {api_key_cmd: printf sk-printed-1234}}\n");
    let asks = || wired.llmops(["chat", "--no-log", "hi"]).env_remove("OPENAI_API_KEY").spawn();
    let running: Vec<_> = (0..24).map(|_| asks()).collect();
    for run in running {
        let _ = run.wait().expect_status(0);
    }
}
