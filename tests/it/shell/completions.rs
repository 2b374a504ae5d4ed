//! Completion: the scripts, what they are answered, and Tab itself in the shells that are installed.

use std::fs;
use std::time::{Duration, Instant};

use super::{assert_kept, installed, names_in, with_a_call};
use crate::support::{Key, Run, TestEnv};

const SCRIPTS: [(&str, &str); 5] = [
    ("bash", "llmops.bash"),
    ("zsh", "_llmops"),
    ("fish", "llmops.fish"),
    ("powershell", "_llmops.ps1"),
    ("elvish", "llmops.elv"),
];

#[test]
fn the_kept_completions_are_those_of_now() {
    let env = TestEnv::new();
    for (shell, file) in SCRIPTS {
        let script = env.llmops(["completions", shell]).run().expect_status(0).stdout;
        assert!(script.contains("LLMOPS_COMPLETE") && !script.contains(env!("CARGO_BIN_EXE_llmops")));
        assert_kept(&format!("completions/{file}"), &script);
    }
    let mut files = SCRIPTS.map(|(_, file)| file);
    files.sort_unstable();
    assert_eq!(names_in("completions"), files);
}

/// Tab after this line, as fish asks.
fn tab(env: &TestEnv, line: &str) -> Run {
    let words = ["--"].into_iter().chain(line.split(' '));
    env.llmops(words).env("LLMOPS_COMPLETE", "fish")
}

/// The values offered.
fn offered(run: Run) -> Vec<String> {
    let output = run.run().expect_status(0);
    assert_eq!(output.stderr, "", "{output}");
    output.stdout.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

#[test]
fn values_come_from_configuration_and_store() {
    let env = with_a_call();
    env.write_config(
        "providers: {mine: {base_url: 'http://127.0.0.1:9/v1'}}\nsim: {models: {日本: {answer: x}}}\n\
         routes: {default: {}, review: {}}\n",
    );
    let id =
        env.llmops(["calls", "--format", "jsonl"]).run().jsonl()[0]["call_id"].as_str().unwrap().to_owned();
    let cases: [(&str, &[&str]); 19] = [
        ("llmops mod", &["models"]),
        ("llmops chat --mod", &["--model"]),
        ("llmops chat -m sim/", &["sim/echo", "sim/日本"]),
        ("llmops chat -m gpt-5.6-l", &["gpt-5.6-luna"]),
        ("llmops chat --model=sim/e", &["--model=sim/echo"]),
        ("llmops batch x.txt -m sim/e", &["sim/echo"]),
        ("llmops models sim/e", &["sim/echo"]),
        ("llmops models --provider mi", &["mistral", "mine"]),
        ("llmops chat --route re", &["review"]),
        ("llmops config route --route d", &["default"]),
        ("llmops chat --fallback sim/e", &["sim/echo"]),
        ("llmops chat --tag te", &["team=payments"]),
        ("llmops chat --tag note", &["note=for 日本"]),
        ("llmops config show sim.models", &["sim.models.日本.answer"]),
        ("llmops cost --by d", &["day"]),
        ("llmops calls show 0", &[&id]),
        ("llmops calls show x", &[]),
        ("llmops cost explain 0", &[&id]),
        ("llmops nonsense --what x", &[]),
    ];
    for (line, values) in cases {
        assert_eq!(offered(tab(&env, line)), values, "{line}");
    }
    let output = tab(&env, "llmops calls show 0").run();
    assert!(output.stdout.contains(" sim/echo ok\n"), "{output}");
}

#[test]
fn the_line_says_which_config_and_store() {
    let env = with_a_call();
    env.write("other.yaml", "sim: {models: {other: {answer: x}}}\n");
    assert_eq!(offered(tab(&env, "llmops --config other.yaml chat -m sim/")), ["sim/echo", "sim/other"]);
    assert_eq!(offered(tab(&env, "llmops chat --config=other.yaml -m sim/o")), ["sim/other"]);
    assert_eq!(offered(tab(&env, "llmops chat -m sim/o").env("LLMOPS_CONFIG", "other.yaml")), ["sim/other"]);
    for line in ["llmops calls --db none.db show 0", "llmops calls show --db=none.db 0"] {
        assert!(offered(tab(&env, line)).is_empty(), "{line}");
    }
    fs::copy(env.db_path(), env.path("copy.db")).unwrap();
    fs::remove_file(env.db_path()).unwrap();
    assert!(offered(tab(&env, "llmops calls show 0")).is_empty());
    assert_eq!(offered(tab(&env, "llmops calls show --db copy.db 0")).len(), 1);
    assert_eq!(offered(tab(&env, "llmops calls show 0").env("LLMOPS_DB", "copy.db")).len(), 1);
}

#[test]
fn nothing_is_said_written_or_waited_for() {
    let env = TestEnv::new();
    let lines =
        ["llmops calls show 0", "llmops chat --tag t", "llmops config show st", "llmops chat -m sim/e"];
    for broken in ["", "no: such\n", "- [", "providers: 5\n"] {
        env.write_config(broken);
        for line in lines {
            let values = offered(tab(&env, line));
            assert_eq!(line.ends_with("sim/e"), values == ["sim/echo"], "{line}: {values:?}");
        }
    }
    assert!(!env.db_path().exists());
    assert_eq!(fs::read_dir(env.path("")).unwrap().count(), 0);
    env.write(
        "no.db",
        "not a database, but long enough to be taken for one, perhaps, by somebody in a hurry",
    );
    let _ = env.program("mkfifo", ["pipe"]).run().expect_status(0);
    for line in [
        "llmops calls --db no.db show 0",
        "llmops calls --db pipe show 0",
        "llmops --config pipe calls show 0",
        "llmops --config . calls --db . show 0",
    ] {
        assert!(offered(tab(&env, line)).is_empty(), "{line}");
    }
    for (shell, words) in [("no-such-shell", &["--", "llmops", ""][..]), ("fish", &[]), ("bash", &["--"])] {
        let output = env.llmops(words).env("LLMOPS_COMPLETE", shell).run();
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""), "{output}");
    }
    let long = tab(&env, &format!("llmops {}", "chat ".repeat(5000)));
    let _ = long.run().expect_status(0);
}

#[test]
fn an_answer_is_there_at_once() {
    let env = with_a_call();
    let once = || {
        let began = Instant::now();
        assert_eq!(offered(tab(&env, "llmops calls show 0")).len(), 1);
        began.elapsed()
    };
    // The quickest of several: the machine may have other things to do.
    let quickest = (0..5).map(|_| once()).min().unwrap();
    assert!(quickest < Duration::from_millis(200), "{quickest:?}");
}

/// Types lines with Tabs in an interactive shell, and looks at what the completed commands have done.
fn tabs_work_in(shell: &str, args: &[&str], preparations: &[&str]) {
    if !installed(shell) {
        return;
    }
    let env = with_a_call();
    let (_, file) = SCRIPTS.into_iter().find(|(name, _)| *name == shell).unwrap();
    let script = env.llmops(["completions", shell]).run().expect_status(0).stdout;
    env.write(file, script);
    let run = env.program(shell, args).env("PS1", "ready> ").env("fish_greeting", "");
    let mut terminal = run.on_terminal(120);
    for preparation in preparations {
        terminal.type_line(preparation);
    }
    terminal.type_line("echo pre''pared");
    terminal.wait_for("prepared");
    terminal.type_line("llmops calls show 0\t> shown.txt; echo fir''st");
    terminal.wait_for("first");
    terminal.type_line("llmops ch\t--mod\tsim/ec\t--tag te\t--no-std\tdone; echo sec''ond");
    terminal.wait_for("second");
    terminal.type_line("llmops chat -m sim/echo --tag no\t--us\tamy -n quoted; echo thi''rd");
    terminal.wait_for("third");
    terminal.type_line("exit");
    terminal.press(Key::CtrlD);
    let output = terminal.wait();
    assert!(env.read("shown.txt").contains("tag       team=payments"), "{output}");
    let calls = env.llmops(["calls", "--format", "jsonl"]).run().jsonl();
    assert_eq!(calls.len(), 3, "{output}");
    assert_eq!(calls[0]["tags"]["note"], "for 日本", "{output}");
    assert_eq!(calls[0]["user"], "amy", "{output}");
    assert_eq!(calls[1]["tags"]["team"], "payments", "{output}");
}

#[test]
fn tab_works_in_bash() {
    tabs_work_in("bash", &["--norc", "--noprofile", "-i"], &["source llmops.bash"]);
}

#[test]
fn tab_works_in_zsh() {
    let prepared = ["autoload -Uz compinit", "compinit -D -u", "source _llmops"];
    tabs_work_in("zsh", &["-f", "-i"], &prepared);
    let found_by_tab = ["autoload -Uz compinit", "fpath=($PWD $fpath)", "compinit -D -u"];
    tabs_work_in("zsh", &["-f", "-i"], &found_by_tab);
}

#[test]
fn tab_works_in_fish() {
    tabs_work_in("fish", &["--no-config", "-i"], &["source llmops.fish"]);
}
