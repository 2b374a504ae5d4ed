//! Four batches at once, each with more to ask for than there is money.

use super::{INPUT, OUTPUT, Watch, assert_settled, batch, dollars, held_for_one, number, sent, set_budget};
use crate::path::{SOON, Wired, price};
use crate::support::{Output, Reply, Signal};

const PROCESSES: usize = 4;

/// Prompts of a process.
const EACH: usize = 150;

/// What fits, of all the work together.
const FIT: i64 = 200;

/// The prompts of one process, which nobody else has; all have as many tokens.
fn prompts(process: usize) -> String {
    let first = 100 + process * EACH;
    (first..first + EACH).map(|number| number.to_string() + "\n").collect()
}

/// Every line is a whole answer. Returns how many there are.
#[track_caller]
fn answers(wired: &Wired, out: &str) -> usize {
    let text = wired.env.read(out);
    assert!(text.is_empty() || text.ends_with('\n'), "a torn line in {out}");
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["error"].is_null() && line["text"] == "hello", "{line}");
    }
    text.lines().count()
}

/// Runs all processes to their end under a budget of so many calls, each billed so many output tokens.
#[track_caller]
fn race(billed: i64) {
    let (input, output) = (INPUT.cast_unsigned(), billed.cast_unsigned());
    let wired = Wired::to(move |_| Reply::answer("hello").usage(input, output));
    let cost = price(INPUT, 0, billed);
    let limit = FIT * cost + cost / 2;
    set_budget(&wired, limit);
    let watch = Watch::over(&wired);
    let start = |process: usize| {
        let input = format!("{process}.txt");
        wired.env.write(&input, prompts(process));
        batch(&wired, &input, &format!("{process}.jsonl"), "128")
    };
    let running: Vec<_> = (0..PROCESSES).map(start).collect();
    let ended: Vec<Output> = running.into_iter().map(|running| running.wait()).collect();
    watch.end().assert_kept();

    let mut answered = 0;
    for (process, output) in ended.iter().enumerate() {
        let lines = answers(&wired, &format!("{process}.jsonl"));
        let expected = if lines == EACH { 0 } else { 4 };
        assert_eq!(output.status, expected, "{lines} lines of {output}");
        answered += lines;
    }
    assert!(ended.iter().any(|output| output.status == 4), "all of it fitted");
    assert_settled(&wired, 0);
    let spent = number(&wired.env.db(), "SELECT spent_nanos FROM budget_periods");
    assert!(spent <= limit && spent > limit - held_for_one(), "{spent} of {limit}");
    assert!(spent * 100 >= limit * 97, "{spent} of {limit}");
    let counts = [sent(&wired), i64::try_from(wired.requests()).unwrap(), spent / cost];
    assert_eq!(counts, [i64::try_from(answered).unwrap(); 3]);
}

#[test]
fn four_batches_at_once_use_up_a_budget_and_no_more() {
    race(20);
}

#[test]
fn what_is_billed_as_reckoned_fills_a_budget_to_its_limit() {
    race(OUTPUT);
}

#[test]
fn budgets_that_overlap_are_all_kept() {
    let wired = Wired::always(Reply::answer("hello").usage(INPUT.cast_unsigned(), OUTPUT.cast_unsigned()));
    let (half, each) = (held_for_one() / 2, held_for_one());
    let limits = [80 * each + half, 30 * each + half, 20 * each + half];
    let scopes: [&[&str]; 3] = [&[], &["--user", "ann"], &["--tag", "team=red"]];
    for (limit, scope) in limits.iter().zip(scopes) {
        let limit = dollars(*limit);
        let args = [&["cost", "budget", "set", &*limit, "--period", "total"], scope].concat();
        let _ = wired.llmops(args).run().expect_status(0);
    }
    let watch = Watch::over(&wired);
    let output = OUTPUT.to_string();
    // Two are under two budgets, one under all three, and one, which comes when they are at it, under one.
    let start = |name: &str, account: &[&str]| {
        let (input, out) = (format!("{name}.txt"), format!("{name}.jsonl"));
        wired.env.write(&input, "hi\n".repeat(EACH));
        let args = ["batch", &*input, "-o", &*out, "-j", "64", "--max-tokens", &*output];
        wired.llmops([&args, account].concat()).spawn()
    };
    let ann = start("ann", &["--user", "ann"]);
    let red = start("red", &["--tag", "team=red"]);
    let both = start("both", &["--user", "ann", "--tag", "team=red"]);
    assert!(wired.upstream.wait_for_requests(10, SOON));
    for running in [ann, red, both, start("bob", &["--user", "bob"])] {
        let _ = running.wait().expect_status(4);
    }
    watch.end().assert_kept();
    let store = wired.env.db();
    let spent = |budget: usize| {
        number(&store, &format!("SELECT spent_nanos FROM budget_periods WHERE budget = {budget}"))
    };
    assert_eq!([spent(1), sent(&wired) * each], [80 * each; 2]);
    for (budget, condition) in
        [(2, "user = 'ann'"), (3, "seq IN (SELECT call FROM tags WHERE key = 'team' AND value = 'red')")]
    {
        let cost = number(&store, &format!("SELECT ifnull(sum(cost_nanos), 0) FROM calls WHERE {condition}"));
        assert!(spent(budget) == cost && cost <= limits[budget - 1], "{budget}: {cost}");
    }
    assert!(spent(2) + spent(3) >= 10 * each);
    let left = "SELECT (SELECT count(*) FROM holds) + (SELECT count(*) FROM owners)";
    assert_eq!(number(&store, left), 0);
}

/// As if its lease were over: whoever dies has no heartbeat any more.
fn age(wired: &Wired) {
    let store = rusqlite::Connection::open(wired.env.db_path()).unwrap();
    store.busy_timeout(SOON).unwrap();
    store.execute("UPDATE owners SET heartbeat = heartbeat - 11000", []).unwrap();
}

#[test]
fn whatever_is_billed_is_spent_however_often_a_batch_is_killed() {
    let wired = Wired::always(Reply::answer("hello").usage(INPUT.cast_unsigned(), OUTPUT.cast_unsigned()));
    let limit = 100 * held_for_one();
    set_budget(&wired, limit);
    let watch = Watch::over(&wired);
    wired.env.write("in.txt", "hi\n".repeat(1_000));
    for round in 1..=5 {
        let before = wired.requests();
        let running = batch(&wired, "in.txt", &format!("{round}.jsonl"), "16");
        assert!(wired.upstream.wait_for_requests(before + round, SOON));
        running.signal(Signal::KILL);
        let _ = running.wait().expect_status(-9);
        age(&wired);
    }
    let _ = batch(&wired, "in.txt", "last.jsonl", "16").wait().expect_status(4);
    watch.end().assert_kept();
    let unknown = number(&wired.env.db(), "SELECT unknown_nanos FROM budget_periods");
    assert_settled(&wired, unknown);
    let spent = number(&wired.env.db(), "SELECT spent_nanos FROM budget_periods");
    let billed = i64::try_from(wired.requests()).unwrap() * held_for_one();
    assert!(billed <= spent && spent <= limit, "{billed} billed, {spent} spent of {limit}");
    assert!(unknown > 0 && spent * 100 >= limit * 97, "{unknown} of {spent}");
}
