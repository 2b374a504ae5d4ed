//! Tables, on terminals of several widths and in pipes, with wide characters, composed ones and those that
//! are not meant to be seen.

use crate::support::{Run, TestEnv, redact, shown, squeeze};

const CONFIG: &str = r#"
sim:
  models:
    日本語モデル: {answer: "これは、とても長い答えです。 👨‍👩‍👧‍👦 🇩🇪 👍🏽 e\u0301 नमस्ते", price: {input: 0.25, output: 1.25}}
    👩‍💻-helper: {answer: "two\nlines, \e[31mred\e[0m, \u202egnorw", price: {input: 100, output: 1000}}
"#;

const PROMPTS: &str = "{\"prompt\": \"one\", \"model\": \"sim/日本語モデル\", \"user\": \"ユーザー\", \"tags\": {\"チーム\": \"決済 💳\"}}\n\
    {\"prompt\": \"two words\", \"model\": \"sim/👩‍💻-helper\", \"user\": \"🇩🇪\", \"tags\": {\"a\": \"\\u001b[2J\\u202e\"}}\n\
    {\"prompt\": \"three\", \"model\": \"sim/echo\"}\n";

/// Every command that prints a table.
const TABLES: [(&str, &[&str]); 10] = [
    ("calls", &["calls"]),
    ("calls_tail", &["calls", "tail", "--last", "2"]),
    ("calls_stats", &["calls", "stats"]),
    ("cost", &["cost", "--by", "day", "--by", "model"]),
    ("models", &["models", "--provider", "sim"]),
    ("config_show", &["config", "show", "sim"]),
    ("config_show_origin", &["config", "show", "--origin", "sim"]),
    ("config_path", &["config", "path", "--all"]),
    ("batch_dry_run", &["batch", "prompts.jsonl", "--dry-run"]),
    ("chat_dry_run", &["chat", "-m", "sim/日本語モデル", "--dry-run", "-n", "hi"]),
];

fn env() -> TestEnv {
    let env = TestEnv::new();
    env.write("c.yaml", CONFIG);
    env.write("prompts.jsonl", PROMPTS);
    let _ = llmops(&env, &["batch", "prompts.jsonl", "-j", "1"]).run().expect_status(0);
    env
}

/// With a config file whose name is as long on every machine.
fn llmops(env: &TestEnv, args: &[&str]) -> Run {
    env.llmops(args).env("LLMOPS_CONFIG", "c.yaml")
}

/// What a run shows, without what differs from run to run.
fn text(output: &str) -> String {
    let day = regex::Regex::new(r"\b20\d\d-\d\d-\d\d\b").unwrap();
    // How much of today there was to draw, if it is more than an hour, and to compare.
    let drawn = regex::Regex::new(r"(?m)^by hour .*\n(most: .*\n)?").unwrap();
    let before = regex::Regex::new(r"(?m)^(Before: no calls) .*(\n  .*)?$").unwrap();
    let text = before.replace_all(&drawn.replace_all(output, ""), "$1").into_owned();
    let text = redact(&day.replace_all(&text, "20YY-MM-DD"));
    // Durations make columns as wide as the machine is slow.
    if output.starts_with("Call ") { squeeze(&text) } else { text }
}

#[test]
fn tables_fit_terminals_and_are_plain_in_pipes() {
    let env = env();
    for (name, args) in TABLES {
        for columns in [60, 120] {
            let output = llmops(&env, args).on_terminal(columns).wait().expect_status(0);
            let screen = shown(&output.stdout);
            let wide = screen.lines().find(|line| console::measure_text_width(line) > columns.into());
            assert!(wide.is_none(), "{name} at {columns}: {wide:?}\n{screen}");
            let unseen = |c: char| c != '\n' && (c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c));
            assert!(!screen.contains(unseen), "{name}: {screen:?}");
            assert_known(&format!("{name}_{columns}"), &screen);
        }
        let piped = llmops(&env, args).run().expect_status(0).stdout;
        assert!(!piped.contains('\x1b'), "{name}: {piped:?}");
        assert_known(&format!("{name}_piped"), &piped);
    }
}

/// Compares what is shown with its snapshot. The sizes in a store's statistics are those of its layout of the
/// day.
fn assert_known(name: &str, output: &str) {
    if !name.starts_with("calls_stats") {
        insta::with_settings!({snapshot_suffix => name, omit_expression => true}, {
            insta::assert_snapshot!("table", text(output));
        });
    }
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let env = env();
    let colours = |run: Run| run.on_terminal(80).wait().expect_status(0).stdout.contains('\x1b');
    for (name, args) in TABLES {
        assert!(colours(llmops(&env, args)), "{name}");
        assert!(!colours(llmops(&env, args).env("NO_COLOR", "1")), "{name}");
        let never = [args, &["--color", "never"]].concat();
        assert!(!colours(llmops(&env, &never)), "{name}");
    }
}

#[test]
fn every_table_has_a_form_for_programs() {
    let env = env();
    let with = |args: &[&str], format: &str| {
        let args = [args, &["--format", format]].concat();
        llmops(&env, &args).on_terminal(20).wait().expect_status(0)
    };
    // The formats of a question's dry run are those of its answer.
    for (name, args) in TABLES.into_iter().filter(|(name, _)| *name != "chat_dry_run") {
        let json = with(args, "json").json();
        let rows = json.as_array().or_else(|| json["rows"].as_array()).or(json["tables"].as_array()).unwrap();
        assert!(!rows.is_empty(), "{name}");
        assert_eq!(with(args, "jsonl").jsonl(), *rows, "{name}");
        let csv = with(args, "csv").stdout;
        let records = csv::ReaderBuilder::new().from_reader(csv.as_bytes()).into_records();
        assert_eq!(records.map(Result::unwrap).count(), rows.len(), "{name}: {csv}");
    }
    let output = llmops(&env, &["batch", "prompts.jsonl", "--format", "csv"]).run().expect_status(2);
    assert!(output.stderr.contains("--dry-run"), "{output}");
}
