//! What is written for people: its commands and options must exist, its links
//! must lead somewhere, and it speaks of the program only.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use regex::Regex;

use crate::support::TestEnv;

const DOCUMENTS: [&str; 2] = ["README.md", "benches/README.md"];

fn read(document: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of all fenced blocks.
fn code(document: &str) -> String {
    let text = read(document);
    let blocks: Vec<&str> = text.split("\n```").collect();
    assert!(blocks.len() % 2 == 1, "{document}: a block of code has no end");
    blocks.into_iter().skip(1).step_by(2).collect::<Vec<_>>().join("\n")
}

/// The arguments of every `llmops …` in the code, a command each, up to the
/// next pipe, redirection or comment.
fn commands(document: &str) -> Vec<Vec<String>> {
    let code = code(document).replace("\\\n", " ");
    let start = Regex::new(r"(?m)(?:^|[\s/;|&(])llmops ([^\n]*)").unwrap();
    let found = start.captures_iter(&code).map(|found| words(&found[1]));
    found.filter(|words| !words.is_empty()).collect()
}

/// A shell's words, as far as documents need them.
fn words(line: &str) -> Vec<String> {
    let word = Regex::new(r#"'[^']*'|"[^"]*"|[^\s'"]+"#).unwrap();
    let ends = |word: &&str| matches!(*word, "|" | "&&" | ">" | ">>" | "<" | ";" | "#" | "2>");
    let found = word.find_iter(line).map(|found| found.as_str());
    found.take_while(|word| !ends(word)).map(str::to_owned).collect()
}

/// All of `llmops COMMAND… --help`.
fn help(command: &[&str]) -> String {
    let output = TestEnv::new().llmops([command, &["--help"]].concat()).run();
    assert_eq!(output.status, 0, "there is no `llmops {}`:\n{output}", command.join(" "));
    output.stdout
}

/// The options that a help text offers.
fn options(help: &str) -> BTreeSet<String> {
    let option = Regex::new(r"(?m)^\s+(?:(-\w), )?(--[a-z][a-z-]*)").unwrap();
    let mut options = BTreeSet::new();
    for found in option.captures_iter(help) {
        options.extend(found.get(1).map(|short| short.as_str().to_owned()));
        options.insert(found[2].to_owned());
    }
    options
}

/// The subcommands that a help text offers.
fn subcommands(help: &str) -> Vec<String> {
    let listed = help.split("\nCommands:\n").nth(1).unwrap_or_default();
    let lines = listed.lines().take_while(|line| !line.is_empty());
    lines.filter_map(|line| Some(line.strip_prefix("  ")?.split_whitespace().next()?.to_owned())).collect()
}

#[test]
fn every_command_and_option_in_a_document_exists() {
    let whole = help(&[]);
    let names = subcommands(&whole);
    assert!(names.iter().any(|name| name == "chat"), "{whole}");
    let mut seen = BTreeSet::new();
    for document in DOCUMENTS {
        for command in commands(document) {
            let line = command.join(" ");
            let mut path: Vec<&str> = command.iter().take(1).map(String::as_str).collect();
            if path[0].starts_with('-') {
                path.clear();
            } else {
                assert!(
                    names.iter().any(|name| name == path[0]),
                    "{document}: no such command: llmops {line}"
                );
                for next in &command[1..] {
                    if !subcommands(&help(&path)).contains(next) {
                        break;
                    }
                    path.push(next);
                }
            }
            let options = options(&help(&path));
            for option in command.iter().filter(|word| word.starts_with('-') && word.len() > 1) {
                let name = option.split('=').next().unwrap();
                let exists =
                    options.contains(name) || (name == "-vv" && options.contains("-v")) || name == "--";
                let short = name.len() > 2 && !name.starts_with("--") && options.contains(&name[..2]);
                assert!(exists || short, "{document}: no {name} in: llmops {line}");
            }
            seen.extend(path.first().map(|name| (*name).to_owned()));
        }
    }
    let missing: Vec<&String> = names.iter().filter(|name| !seen.contains(*name)).collect();
    assert!(missing.is_empty(), "commands that no document shows: {missing:?}");
}

#[test]
fn every_link_leads_somewhere() {
    let link = Regex::new(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)").unwrap();
    for document in DOCUMENTS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(document).parent().unwrap().to_owned();
        for line in read(document).lines() {
            for found in link.captures_iter(line) {
                let target = found.get(1).or(found.get(2)).unwrap().as_str();
                let path = target.split('#').next().unwrap();
                let elsewhere = target.contains("://") || target.starts_with("mailto:");
                let leads = path.is_empty() || folder.join(path).exists();
                assert!(elsewhere || leads, "{document}: nothing at {target}");
            }
        }
    }
}

#[test]
fn files_in_commands_are_there() {
    let file = Regex::new(r"\b(?:fixtures|benches|src|tests)/[\w./-]*\w").unwrap();
    for document in DOCUMENTS {
        for found in file.find_iter(&read(document)) {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(found.as_str());
            assert!(path.exists(), "{document}: no {}", found.as_str());
        }
    }
}

/// Words of advertising, of placeholders and of how the text came about.
#[test]
fn documents_speak_of_the_program_and_nothing_else() {
    let words = Regex::new(concat!(
        r"(?i)\b(todo|fixme|tbd|lorem ipsum|coming soon|blazing\w*|seamless\w*|leverag\w+|cutting.edge|robust|",
        r"revolutionary|game.chang\w+|effortless\w*|comprehensive|state.of.the.art|world.class|delve|",
        r"as an ai|language model assistant|chatgpt|claude code|copilot|ai.generated)\b|/(home|root|Users|work)/",
    ));
    let words = words.unwrap();
    let mut texts: Vec<(String, String)> =
        DOCUMENTS.iter().map(|document| ((*document).to_owned(), read(document))).collect();
    for name in subcommands(&help(&[])) {
        texts.push((format!("llmops {name} --help"), help(&[&name])));
    }
    texts.push(("llmops --help".to_owned(), help(&[])));
    for (name, text) in texts {
        let found: Vec<&str> = words.find_iter(&text).map(|found| found.as_str()).collect();
        assert!(found.is_empty(), "{name}: {found:?}");
        let escapes = text.chars().any(|c| c.is_control() && c != '\n');
        assert!(!escapes, "{name}: control characters");
    }
}
