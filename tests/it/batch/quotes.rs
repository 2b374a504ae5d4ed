//! What a batch would cost: counted without a call, held against what the budgets leave, and asked about on a
//! terminal before it is spent.

use serde_json::{Value, json};

use crate::path::{SOON, Wired};
use crate::support::{Gate, Key, Output, Reply, Signal, Terminal, TestEnv, shown};

/// The simulator bills at these rates.
const CONFIG: &str = "sim: {models: {dear: {price: {input: 2, output: 8}}}}\n";

fn home() -> TestEnv {
    let env = TestEnv::new();
    env.write_config(CONFIG);
    env.write("in.txt", "hello there\n".repeat(100));
    env
}

fn dry(env: &TestEnv, args: &[&str]) -> Output {
    env.llmops([&["batch", "--dry-run"], args].concat()).run().expect_status(0)
}

fn budget(env: &TestEnv, args: &[&str]) {
    let _ = env.llmops([&["cost", "budget", "set"], args].concat()).run().expect_status(0);
}

/// The only row.
fn row(env: &TestEnv, args: &[&str]) -> Value {
    dry(env, &[args, &["--format", "json"]].concat()).json()[0].clone()
}

#[test]
fn a_quote_says_what_is_left_and_what_would_be_sent() {
    let env = home();
    let dear = ["in.txt", "-m", "sim/dear"];
    let free = row(&env, &dear);
    for field in ["max_output_tokens", "high_cost_usd", "budget_id", "budget_left_usd"] {
        assert_eq!(free[field], Value::Null, "{free}");
    }
    assert!(!env.db_path().exists(), "a look makes no store");
    budget(&env, &["3"]);
    let under = row(&env, &dear);
    // A request without a limit is sent with one.
    assert_eq!(under["max_output_tokens"], json!(100 * 4096), "{under}");
    assert!(under["high_cost_usd"].as_f64().unwrap() > 100.0 * 4096.0 * 8e-6, "{under}");
    assert_eq!((&under["budget_id"], &under["budget_left_usd"]), (&json!(1), &json!(3.0)), "{under}");
    let said = |limit: &str, more: &[&str]| {
        budget(&env, &[limit]);
        dry(&env, &[&dear, more].concat()).stdout.lines().last().unwrap().to_owned()
    };
    let left = "budget 1 (day, all calls): $3.00 of $3.00 is left: ";
    assert_eq!(said("3", &[]), format!("{left}the highest cost does not fit"));
    assert_eq!(said("3", &["--max-tokens", "10"]), format!("{left}the highest cost fits"));
    assert!(said("0.0001", &[]).ends_with("not even the lowest cost fits"));
    let chat = env.llmops(["chat", "--dry-run", "-m", "sim/dear", "hi"]).run().expect_status(0);
    assert!(chat.stdout.contains("\nbudget 1 (day, all calls): $0.0001 of $0.0001 is left: "), "{chat}");
    let csv = dry(&env, &[&dear[..], &["--format", "csv"]].concat()).stdout;
    assert!(csv.lines().all(|line| line.split(',').count() == 10), "{csv}");
}

#[test]
fn the_users_and_labels_of_the_lines_count() {
    let env = home();
    let lines = [
        json!({"prompt": "a", "user": "ann"}),
        json!({"prompt": "b", "user": "bob", "tags": {"team": "red"}}),
        json!({"prompt": "c"}),
    ];
    env.write("in.jsonl", lines.map(|line| line.to_string()).join("\n"));
    budget(&env, &["5", "--user", "ann"]);
    budget(&env, &["0.001", "--tag", "team=red"]);
    budget(&env, &["7", "--provider", "openai"]);
    let args = ["in.jsonl", "-m", "sim/dear"];
    let quote = dry(&env, &args);
    let told: Vec<&str> = quote.stdout.lines().skip(2).collect();
    assert_eq!(
        told,
        [
            "budget 2 (day, team=red): $0.001 of $0.001 is left for 1 of the requests: the highest cost does not fit",
            "budget 1 (day, user ann): $5.00 of $5.00 is left for 1 of the requests: the highest cost fits",
        ]
    );
    assert_eq!(row(&env, &args)["budget_id"], 2, "the one with the least left");
    let all = row(&env, &[&args[..], &["--user", "ann", "--tag", "team=red"]].concat());
    assert_eq!(all["budget_left_usd"], 0.001);
}

#[test]
fn what_has_no_price_is_refused_under_a_budget_and_the_quote_says_so() {
    let env = home();
    budget(&env, &["5"]);
    let last = |more: &[&str]| {
        let args = [&["in.txt", "-m", "openai/brand-new"], more].concat();
        dry(&env, &args).stdout.lines().last().unwrap().to_owned()
    };
    assert!(last(&[]).ends_with("is left: 100 without a price are refused"), "{}", last(&[]));
    assert!(last(&["--limit", "1"]).ends_with("is left: without a price it is refused"));
    assert!(
        last(&["--allow-unpriced"]).ends_with("is left: what has no price is sent while anything is left")
    );
}

#[test]
fn what_is_compared_is_held_against_the_budgets_one_by_one() {
    let env = home();
    budget(&env, &["0.1"]);
    let models = ["-m", "sim/dear", "-m", "gpt-5.4-nano", "--max-tokens", "30"];
    let output = env.llmops([&["cost", "estimate", "in.txt"], &models[..]].concat()).run().expect_status(0);
    let told: Vec<&str> = output.stdout.lines().skip(3).collect();
    assert_eq!(
        told,
        [
            "sim/dear: budget 1 (day, all calls): $0.10 of $0.10 is left: the highest cost fits",
            "openai/gpt-5.4-nano: budget 1 (day, all calls): $0.10 of $0.10 is left: the highest cost fits",
        ],
        "{output}"
    );
}

#[test]
fn the_first_error_is_told_whoever_finds_it() {
    let env = home();
    let mut lines = vec![json!({"prompt": "hello"}).to_string(); 3_000];
    for (line, bad) in [(2_017, "{oops}"), (2_018, "5"), (2_040, "{}")] {
        lines[line - 1] = bad.to_owned();
    }
    lines[2_900] = json!({"prompt": "a", "model": "gpt5"}).to_string();
    env.write("in.jsonl", lines.join("\n"));
    let estimate = || env.llmops(["cost", "estimate", "in.jsonl", "-m", "sim/dear"]).run().expect_status(2);
    for _ in 0..5 {
        let output = estimate();
        assert!(output.stderr.starts_with("error: in.jsonl:2017:2: "), "{output}");
    }
    env.write("named.jsonl", lines[2_890..].join("\n"));
    let output = env.llmops(["cost", "estimate", "named.jsonl"]).env("OPENAI_API_KEY", "x").run();
    assert!(output.expect_status(2).stderr.starts_with("error: named.jsonl:11: no model `gpt5`"));
}

#[test]
fn a_quote_does_not_depend_on_who_counts_what() {
    let env = home();
    let lines: Vec<String> =
        (0..2_000).map(|n| json!({"prompt": "word ".repeat(n % 97)}).to_string()).collect();
    env.write("in.jsonl", lines.join("\n").replace(r#""""#, r#""x""#));
    let args = ["in.jsonl", "-m", "sim/dear", "--max-tokens", "10"];
    let first = row(&env, &args);
    assert_eq!(first["requests"], 2_000);
    for _ in 0..3 {
        assert_eq!(row(&env, &args), first);
    }
}

/// A batch of 100 prompts on a terminal that costs 0.80 USD and a little at most, unless it ends sooner.
fn on_terminal(env: &TestEnv, above: &str, more: &[&str]) -> Terminal {
    let args =
        [&["batch", "in.txt", "-m", "sim/dear", "-o", "out.jsonl", "--max-tokens", "1000"], more].concat();
    env.llmops(args).env("LLMOPS_BATCH__CONFIRM_ABOVE_USD", above).on_terminal(80)
}

const QUESTION: &str = "100 requests to sim/dear may cost $0.0016 to $0.80. Go on? [y/N]";

#[test]
fn what_may_cost_much_is_asked_about() {
    let env = home();
    let mut terminal = on_terminal(&env, "0.5", &[]);
    terminal.wait_for(QUESTION);
    terminal.press(Key::Enter);
    terminal.wait_for("nothing was sent");
    let _ = terminal.wait().expect_status(1);
    assert!(!env.path("out.jsonl").exists());
    let mut terminal = on_terminal(&env, "0.5", &[]);
    terminal.wait_for(QUESTION);
    terminal.press(Key::CtrlC);
    let _ = terminal.wait().expect_status(130);
    assert!(!env.path("out.jsonl").exists());
    let mut terminal = on_terminal(&env, "0.5", &[]);
    terminal.wait_for(QUESTION);
    terminal.type_text("y");
    terminal.wait_for("100 done");
    let _ = terminal.wait().expect_status(0);
}

#[test]
fn what_costs_little_is_not_asked_about_nor_what_was_answered() {
    for (above, more) in [("1", &[][..]), ("0.5", &["--yes"]), ("0.5", &["--limit", "50"])] {
        let env = home();
        let output = on_terminal(&env, above, more).wait().expect_status(0);
        assert!(!output.stdout.contains("Go on?"), "{output}");
    }
    let env = home();
    let args = ["batch", "in.txt", "-m", "sim/dear"];
    let piped = env.llmops(args).env("LLMOPS_BATCH__CONFIRM_ABOVE_USD", "0").run().expect_status(0);
    assert!(!piped.stderr.contains("Go on?"), "{piped}");
}

#[test]
fn what_has_no_price_is_asked_about_as_that_and_without_a_limit_the_usual_one_counts() {
    let env = home();
    let lines =
        [json!({"prompt": "a", "model": "sim/dear"}), json!({"prompt": "b", "model": "openai/brand-new"})];
    env.write("in.jsonl", lines.map(|line| line.to_string()).join("\n"));
    let on_terminal = |args: &[&str], above: &str| {
        let run = env.llmops([&["batch", "-o", "out.jsonl", "--overwrite"], args].concat());
        let run = run.env("OPENAI_API_KEY", "x").env("OPENAI_BASE_URL", "http://127.0.0.1:9/v1");
        run.env("LLMOPS_BATCH__CONFIRM_ABOVE_USD", above).env("LLMOPS_RETRY__RETRIES", "0").on_terminal(80)
    };
    let mut terminal = on_terminal(&["in.jsonl"], "0.01");
    terminal.wait_for("note: what 1 of the requests cost is not known");
    terminal.wait_for("2 requests to 2 models may cost $0.000014 to $0.0");
    terminal.type_text("n");
    let _ = terminal.wait().expect_status(1);
    let unpriced = ["in.txt", "-m", "openai/brand-new", "--limit", "1"];
    let output = on_terminal(&unpriced, "1").wait().expect_status(3);
    assert!(!output.stdout.contains("Go on?"), "{output}");
    let mut terminal = on_terminal(&unpriced, "0");
    terminal.wait_for("1 request to openai/brand-new may cost any amount (no price). Go on? [y/N]");
    terminal.type_text("n");
    let _ = terminal.wait().expect_status(1);
}

#[test]
fn a_signal_after_the_question_lets_calls_finish_as_ever() {
    let gate = Gate::new();
    let held = gate.clone();
    let wired = Wired::to(move |_| Reply::answer("late").gate(&held));
    wired.env.write("in.txt", "hi\n".repeat(10));
    let run = wired.llmops(["batch", "in.txt", "-o", "out.jsonl", "-j", "2"]);
    let mut terminal = run.env("LLMOPS_BATCH__CONFIRM_ABOVE_USD", "0").on_terminal(80);
    terminal.wait_for("10 requests to openai/gpt-5.4-nano may cost ");
    terminal.type_text("y");
    assert!(gate.wait_until_reached_by(2, SOON));
    terminal.signal(Signal::INT);
    terminal.wait_for("in flight will finish");
    gate.release();
    let output = terminal.wait().expect_status(130);
    assert!(shown(&output.stdout).contains("2 done, 0 failed, 8 not sent"), "{output}");
}
