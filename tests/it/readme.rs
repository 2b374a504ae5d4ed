//! Every snippet of the README is run, in order, in one home, as a reader would who copies each of them:
//! what it prints must be what is printed there, but for ids, times and durations. Keys and servers are a
//! local stand-in's. `UPDATE_README=1` writes what was printed into the README.

use std::fs;
use std::path::Path;

use regex::Regex;

use crate::support::{Output, Reply, TestEnv, Upstream, redact, squeeze};

/// A fenced block: its language and its lines, and the number of its first line, from 0.
struct Block {
    language: String,
    lines: Vec<String>,
    first: usize,
}

/// One command of a `console` block, and what is printed there.
struct Step {
    command: String,
    printed: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(language), None) => {
                open = Some(Block { language: language.to_owned(), lines: Vec::new(), first: number + 1 });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => block.lines.push(line.to_owned()),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block of code has no end");
    blocks
}

/// A command may go on behind a backslash.
fn steps(block: &Block) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in &block.lines {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push(Step { command: command.to_owned(), printed: Vec::new() }),
            (None, Some(step)) if step.command.ends_with('\\') && step.printed.is_empty() => {
                step.command.push('\n');
                step.command.push_str(line);
            }
            (None, Some(step)) => step.printed.push(line.clone()),
            (None, None) => panic!("line {}: a console block begins with `$ `", block.first + 1),
        }
    }
    steps
}

/// The reader's home: the checkout's fixtures, a key, and somebody who answers.
struct Reader {
    env: TestEnv,
    upstream: Upstream,
}

impl Reader {
    fn new() -> Self {
        let env = TestEnv::new();
        std::os::unix::fs::symlink(root().join("fixtures"), env.path("fixtures")).unwrap();
        Self { env, upstream: Upstream::start(|_| Reply::answer("Gladly.")) }
    }

    /// Runs a script with the reader's home, as a shell of theirs would.
    fn shell(&self, script: &str) -> Output {
        let run = self
            .env
            .shell(&format!("exec 2>&1\n{script}"))
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_DATA_HOME");
        let run = run.env("OPENAI_API_KEY", "sk-of-the-reader").env("OPENAI_API_KEY_2", "sk-another");
        run.env("OPENAI_BASE_URL", self.upstream.base_url()).run()
    }

    #[track_caller]
    fn run(&self, script: &str) -> Output {
        // The call that is named in the README is another one here.
        let id = Regex::new(r"\b01[9a-f][0-9a-f]{5}(-[0-9a-f]{4,12})*\b").unwrap();
        let script = if id.is_match(script) {
            id.replace_all(script, self.telling_call().as_str()).into_owned()
        } else {
            script.to_owned()
        };
        self.shell(&script)
    }

    /// The newest of the calls that went through most.
    fn telling_call(&self) -> String {
        let calls = self.shell("llmops calls --last 40 --format json").json();
        let calls = calls.as_array().unwrap().iter().rev();
        let call = calls.max_by_key(|call| call["attempts"].as_u64()).unwrap();
        call["call_id"].as_str().unwrap().to_owned()
    }
}

/// What a terminal would show of a run.
fn printed(output: &Output) -> Vec<String> {
    let home = output.root.join("home");
    let all = format!("{}{}", output.stdout, output.stderr).replace(home.to_str().unwrap(), "~");
    all.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// What does not differ from reader to reader.
fn constant(lines: &[String]) -> String {
    let day = Regex::new(r"\d{4}-\d\d-\d\d").unwrap();
    let zone = Regex::new(r"UTC[+-]\d\d:\d\d").unwrap();
    // How much of yesterday is compared depends on the time of day.
    let before = Regex::new(r"(?m)^Before: no calls .*$").unwrap();
    let text = before.replace_all(&lines.join("\n"), "Before: no calls").into_owned();
    let text = day.replace_all(&squeeze(&redact(&text)), "<DAY>").into_owned();
    zone.replace_all(&text, "<ZONE>").into_owned()
}

/// Runs a console block and returns its lines as they should be.
fn play(reader: &Reader, block: &Block, wrong: &mut Vec<String>) -> Vec<String> {
    let mut lines = Vec::new();
    for step in steps(block) {
        let output = reader.run(&step.command);
        let command = format!("$ {}", step.command);
        lines.extend(command.lines().map(str::to_owned));
        let now = printed(&output);
        if constant(&now) == constant(&step.printed) {
            lines.extend(step.printed);
            continue;
        }
        wrong.push(format!("line {}: {command}\nprints\n{}\n", block.first + 1, now.join("\n")));
        lines.extend(now);
    }
    lines
}

/// Runs a script to its end. Building and testing this very program is what is going on already.
fn run_script(reader: &Reader, block: &Block, wrong: &mut Vec<String>) {
    let lines = block.lines.iter().map(|line| line.replace("cargo run --release -- ", "llmops "));
    let script: Vec<String> = lines.filter(|line| !line.starts_with("cargo ")).collect();
    let output = reader.run(&format!("set -euo pipefail\n{}", script.join("\n")));
    if output.status != 0 {
        wrong.push(format!("line {}: {output}", block.first + 1));
    }
}

#[test]
fn every_snippet_of_the_readme_does_what_it_says() {
    let path = root().join("README.md");
    let text = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let (reader, mut wrong, mut shift) = (Reader::new(), Vec::new(), 0_isize);
    for block in blocks(&text) {
        match block.language.as_str() {
            "sh" => run_script(&reader, &block, &mut wrong),
            "console" => {
                let now = play(&reader, &block, &mut wrong);
                let first = block.first.checked_add_signed(shift).unwrap();
                let (old, new) = (block.lines.len(), now.len());
                lines.splice(first..first + old, now);
                shift += isize::try_from(new).unwrap() - isize::try_from(old).unwrap();
            }
            "yaml" => {
                let config = reader.env.root().join("home/.config/llmops/config.yaml");
                fs::write(config, block.lines.join("\n") + "\n").unwrap();
                let check = reader.shell("llmops config check");
                if check.status != 0 {
                    wrong.push(format!("line {}: {check}", block.first + 1));
                }
            }
            "jinja" | "text" => {}
            other => panic!("line {}: nobody knows how to run `{other}`", block.first),
        }
    }
    if std::env::var_os("UPDATE_README").is_some() {
        fs::write(&path, lines.join("\n") + "\n").unwrap();
    } else {
        assert!(wrong.is_empty(), "{}\nUPDATE_README=1 writes it down", wrong.join("\n"));
    }
}
