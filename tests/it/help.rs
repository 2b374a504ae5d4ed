//! Help: every command has it, examples come first and work, and it fits narrow terminals.

use regex::Regex;

use crate::support::TestEnv;

/// The arguments that lead to every command, from none on.
fn every_command(env: &TestEnv) -> Vec<Vec<String>> {
    let mut found = vec![Vec::new()];
    let mut at = 0;
    while at < found.len() {
        let path: Vec<String> = found[at].clone();
        let help = help(env, &path, "-h", 100);
        let listed = help.split("\nCommands:\n").nth(1).unwrap_or_default();
        for line in listed.lines().take_while(|line| !line.is_empty()) {
            // A line that is further in goes on with the one before.
            let name = line.strip_prefix("  ").filter(|line| !line.starts_with(' '));
            let name = name.and_then(|line| line.split_whitespace().next());
            found.extend(name.map(|name| [&path[..], &[name.to_owned()]].concat()));
        }
        at += 1;
    }
    found
}

fn help(env: &TestEnv, path: &[String], flag: &str, columns: u16) -> String {
    let run = env.llmops(path.iter().map(String::as_str).chain([flag]));
    let output = run.env("COLUMNS", columns.to_string()).run().expect_status(0);
    assert_eq!(output.stderr, "");
    output.stdout
}

/// The examples of a help text, a command each.
fn examples(help: &str) -> Vec<String> {
    let block = help.split("\nExamples:\n").nth(1).unwrap_or_default();
    let lines = block.lines().take_while(|line| !line.is_empty());
    lines.map(|line| line.strip_prefix("  ").expect("examples are indented").to_owned()).collect()
}

#[test]
fn help_begins_with_examples_and_fits() {
    let env = TestEnv::new();
    let commands = every_command(&env);
    assert!(commands.len() > 15 && commands.contains(&vec!["config".to_owned(), "init".to_owned()]));
    for path in commands {
        let name = path.join(" ");
        for columns in [60, 80] {
            for flag in ["--help", "-h"] {
                let text = help(&env, &path, flag, columns);
                let fits = |line: &&str| line.chars().count() <= usize::from(columns);
                let wide: Vec<&str> = text.lines().filter(|line| !fits(line)).collect();
                assert!(wide.is_empty(), "llmops {name} {flag} at {columns} columns: {wide:#?}");
            }
        }
        let (long, short) = (help(&env, &path, "--help", 80), help(&env, &path, "-h", 80));
        let at = |text: &str| long.find(text).unwrap_or_else(|| panic!("{name}: no {text} in\n{long}"));
        assert!(at("\nExamples:\n  ") < at("\nUsage: llmops"), "{name}");
        assert!(at("\nUsage: llmops") < at("\nGlobal options:\n"), "{name}");
        assert!(!short.contains("\nExamples:\n"), "{name}");
        assert!(short.lines().count() <= 50, "{name}: a long summary\n{short}");
        // No other command has as many options.
        let most = if name == "batch" { 180 } else { 150 };
        assert!(long.lines().count() <= most, "{name}: a long help\n{long}");
        assert_eq!(examples(&help(&env, &path, "--help", 60)), examples(&long), "{name}");
    }
}

#[test]
fn every_example_works() {
    let lister = TestEnv::new();
    let model = Regex::new(r"-m \S+").unwrap();
    let sourced = Regex::new(r"source <\((.*)\)").unwrap();
    for path in every_command(&lister) {
        for example in examples(&help(&lister, &path, "--help", 80)) {
            let env = prepared();
            let recorded = env.llmops(["calls", "--format", "jsonl"]).run().jsonl();
            let command = model.replace_all(&example, "-m sim/echo");
            let command = sourced.replace(&command, "$1");
            let command = command.replace("01a206d0", recorded[0]["call_id"].as_str().unwrap());
            let command = command.replace("reset openai/gpt-5.6-luna", "reset sim/echo");
            let command = command.replace("reset openai", "reset sim");
            let command = command.replace("man -l -", "cat").replace("pass groq", "echo key");
            // One that follows goes on until it is stopped.
            let command = command.replace("tail -f", "tail");
            let run = env.shell(&format!("set -o pipefail; {command}"));
            let run = run.env("OLLAMA_BASE_URL", "http://127.0.0.1:9/v1");
            let output =
                run.env("LLMOPS_MODEL", "sim/echo").env("GROQ_BASE_URL", "http://127.0.0.1:9/v1").run();
            // Whom to ask, and a provider, are somewhere else.
            let alone = ["there is nobody to ask", "trying it failed: "]
                .iter()
                .any(|why| output.stderr.contains(why));
            let sets_up = command.starts_with("llmops config init");
            assert!(output.status == 0 || sets_up && alone, "{example}\n{output}");
        }
    }
}

/// The files that examples speak of, a call on record, and one before it that has failed.
fn prepared() -> TestEnv {
    let env = TestEnv::new();
    env.write("prompts.txt", "one\ntwo\n");
    env.write("prompts.jsonl", "\"one\"\n\"two\"\n");
    env.write("letter.txt", "Dear friend");
    env.write("main.rs", "fn main() {}");
    env.write("review.j2", "Review this {{ language }}: {{ prompt }}");
    env.write("llmops.yaml", "retry: {retries: 1}\nroutes: {default: {}, review: {}}\n");
    env.write("new.yaml", "retry: {retries: 2}\n");
    env.write("prices.yaml", "models: [{id: gpt-5.4, provider: openai, input: 1.8, output: 12}]\n");
    let _ = env.program("git", ["init", "-q", "."]).run();
    let ask = || env.llmops(["chat", "-m", "sim/echo", "--retries", "0", "hi"]);
    let _ = ask().env("LLMOPS_SIM", "error=1").run().expect_status(1);
    let _ = ask().run().expect_status(0);
    let _ = env.llmops(["cost", "budget", "set", "50"]).run().expect_status(0);
    env
}
