//! The kill drill: runs are killed at times spread evenly over all that they take, and gone on with until they are
//! done. Then every item is in OUT once, nothing was bought twice whose record was safe, and the books are right.
//! `LLMOPS_KILLS` says how many kills there are to be.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::{Value, json};

use crate::path::{SOON, Wired, nanos, price};
use crate::support::{Reply, Signal, TestEnv, Upstream};

/// Items of a run.
const ITEMS: usize = 240;

/// Requests at once.
const JOBS: usize = 8;

/// How long the server takes.
const DELAY: Duration = Duration::from_millis(20);

/// How a run writes, and what its store keeps.
struct Variant {
    form: &'static str,
    ordered: bool,
    bodies: &'static str,
}

const VARIANTS: [Variant; 10] = [
    Variant { form: "simple", ordered: false, bodies: "full" },
    Variant { form: "openai", ordered: false, bodies: "none" },
    Variant { form: "text", ordered: false, bodies: "masked" },
    Variant { form: "csv", ordered: false, bodies: "none" },
    Variant { form: "simple", ordered: true, bodies: "none" },
    Variant { form: "openai", ordered: true, bodies: "full" },
    Variant { form: "text", ordered: true, bodies: "none" },
    Variant { form: "csv", ordered: true, bodies: "masked" },
    Variant { form: "text", ordered: false, bodies: "full" },
    Variant { form: "simple", ordered: false, bodies: "none" },
];

/// What the kills have come to.
#[derive(Default)]
struct Toll {
    kills: usize,
    /// Those that came while the server was answering.
    in_flight: usize,
    duplicates: usize,
    unknown: usize,
}

/// The answer to an item: with what is hard to write in a table, unless each is to be one line.
fn answer(prompt: &str, form: &str) -> String {
    if form == "text" { format!("to {prompt}") } else { format!("to \"{prompt}\",\n\tund so weiter: ü") }
}

fn start(variant: &Variant) -> Wired {
    let form = variant.form;
    let wired = Wired::to(move |request| {
        sleep(DELAY);
        Reply::answer(answer(&request.last_user_text(), form))
    });
    let wired = wired.config(&format!("store: {{bodies: {}}}", variant.bodies));
    let prompts: Vec<String> = (0..ITEMS).map(|n| format!("item {n}")).collect();
    wired.env.write("in.txt", prompts.join("\n"));
    wired
}

fn args(variant: &Variant) -> Vec<String> {
    let jobs = JOBS.to_string();
    let args = ["batch", "in.txt", "-o", "out", "-j", &jobs, "--output-format", variant.form];
    args.into_iter().chain(variant.ordered.then_some("--ordered")).map(str::to_owned).collect()
}

/// How long a run takes that nobody disturbs, and how long of that it sends.
fn undisturbed(variant: &Variant) -> (Duration, Duration) {
    let wired = start(variant);
    let began = Instant::now();
    let running = wired.llmops(args(variant)).spawn();
    assert!(wired.upstream.wait_for_requests(1, SOON));
    let sending = Instant::now();
    let _ = running.wait().expect_status(0);
    (began.elapsed(), sending.elapsed())
}

/// One run, killed again and again until it is done. `between` does what it likes to OUT after each kill.
fn drill(
    variant: &Variant,
    (whole, sending): (Duration, Duration),
    random: &mut Rng,
    toll: &mut Toll,
    between: fn(&TestEnv, &mut Rng),
) {
    let wired = start(variant);
    let mut args = args(variant);
    loop {
        let sent = wired.requests();
        let mut running = wired.llmops(&args).spawn();
        // Some come while it starts; the others, which are more telling, while it sends.
        if random.u8(..8) == 0 {
            sleep(whole.mul_f64(random.f64()));
        } else {
            while wired.upstream.load().0 == sent && !running.has_ended() {
                sleep(Duration::from_millis(1));
            }
            sleep(sending.mul_f64(random.f64()));
        }
        if running.has_ended() {
            let _ = running.wait().expect_status(0);
            break;
        }
        let (_, in_flight) = wired.upstream.load();
        running.signal(Signal::KILL);
        let output = running.wait();
        if output.status == 0 {
            break;
        }
        assert_eq!(output.status, -9, "{output}");
        toll.kills += 1;
        toll.in_flight += usize::from(in_flight > 0);
        if args.last().is_none_or(|last| last != "--resume") {
            args.push("--resume".into());
        }
        between(&wired.env, random);
    }
    assert_whole(&wired, variant);
    let (duplicates, unknown) = assert_books(&wired);
    toll.duplicates += duplicates;
    toll.unknown += unknown;
}

/// Every item is in OUT, once, with its own answer.
#[track_caller]
fn assert_whole(wired: &Wired, variant: &Variant) {
    let text = wired.env.read("out");
    let mut found: Vec<(usize, String)> = match variant.form {
        "simple" => text.lines().map(simple).collect(),
        "openai" => text.lines().map(openai).collect(),
        "csv" => table(&text),
        _ => text.lines().map(|line| (line[8..].parse().unwrap(), line.to_owned())).collect(),
    };
    if variant.ordered {
        assert!(found.is_sorted(), "{} is not in order: {found:?}", variant.form);
    }
    found.sort_unstable();
    let expected: Vec<(usize, String)> =
        (0..ITEMS).map(|n| (n, answer(&format!("item {n}"), variant.form))).collect();
    assert_eq!(found, expected, "{}", variant.form);
}

fn simple(line: &str) -> (usize, String) {
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["error"], Value::Null, "{line}");
    (serde_json::from_value(line["index"].clone()).unwrap(), line["text"].as_str().unwrap().to_owned())
}

fn openai(line: &str) -> (usize, String) {
    let line: Value = serde_json::from_str(line).unwrap();
    let text = &line["response"]["body"]["choices"][0]["message"]["content"];
    let index = line["custom_id"].as_str().unwrap().strip_prefix("item-").unwrap().parse();
    (index.unwrap(), text.as_str().unwrap().to_owned())
}

fn table(text: &str) -> Vec<(usize, String)> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let row = |row: csv::Result<csv::StringRecord>| {
        let row = row.unwrap();
        (row[0].parse().unwrap(), row[3].to_owned())
    };
    reader.records().map(row).collect()
}

/// What the store says of each item, in the order of its calls.
fn calls_by_item(env: &TestEnv) -> BTreeMap<usize, Vec<String>> {
    let store = env.db();
    let mut calls = store.prepare("SELECT item, status FROM calls ORDER BY seq").unwrap();
    let rows = calls.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let mut by_item: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (item, status) in rows.map(Result::unwrap) {
        by_item.entry(item).or_default().push(status);
    }
    by_item
}

fn requests_by_item(upstream: &Upstream) -> BTreeMap<usize, usize> {
    let mut requests = BTreeMap::new();
    for request in upstream.received() {
        let item: usize = request.last_user_text()["item ".len()..].parse().unwrap();
        *requests.entry(item).or_default() += 1;
    }
    requests
}

/// Nothing was bought after its record was safe, what was in flight is on the books, and nothing waits any more.
/// Returns how many requests the server has had twice, and how many calls are of unknown end.
#[track_caller]
fn assert_books(wired: &Wired) -> (usize, usize) {
    let (calls, requests) = (calls_by_item(&wired.env), requests_by_item(&wired.upstream));
    let mut unknown = 0;
    for (item, calls) in &calls {
        let (last, before) = calls.split_last().unwrap();
        assert_eq!(last, "ok", "item {item}: {calls:?}");
        assert!(before.iter().all(|status| status == "unknown"), "item {item}: {calls:?}");
        assert!(requests[item] <= calls.len(), "item {item}: {calls:?}, {} requests", requests[item]);
        unknown += before.len();
    }
    let sent = wired.requests();
    let total = wired.cost()["total"]["cost_usd"].clone();
    assert!(nanos(&total) >= i64::try_from(sent).unwrap() * price(10, 0, 5), "{total} for {sent} requests");
    let count = |query: &str| wired.env.db().query_row(query, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM batch_items"), 0);
    let listed = wired.llmops(["batch", "--list", "--format", "json"]).run().expect_status(0).json();
    let run = &listed[0];
    assert_eq!((&run["status"], &run["done"]), (&json!("done"), &json!(ITEMS)), "{run}");
    assert_eq!((&run["failed"], &run["total"]), (&json!(0), &json!(ITEMS)), "{run}");
    assert_eq!(nanos(&run["cost_usd"]), nanos(&total), "{run}");
    (sent - ITEMS, unknown)
}

#[test]
fn killed_at_any_time_nothing_is_lost_or_bought_twice() {
    let wanted = std::env::var("LLMOPS_KILLS").map_or(50, |kills| kills.parse().unwrap());
    let mut random = Rng::with_seed(6);
    let mut toll = Toll::default();
    let took = undisturbed(&VARIANTS[0]);
    for variant in VARIANTS.iter().cycle() {
        drill(variant, took, &mut random, &mut toll, |_, _| {});
        if toll.kills >= wanted {
            break;
        }
    }
    let Toll { kills, in_flight, duplicates, unknown } = toll;
    assert!(
        in_flight * 5 >= kills * 4,
        "only {in_flight} of {kills} kills came while requests were in flight"
    );
    assert!(duplicates <= unknown && unknown <= kills * JOBS, "{duplicates} duplicates, {unknown} unknown");
}

/// Tears OUT off somewhere, or takes a line out of it, or does nothing.
fn meddle(env: &TestEnv, random: &mut Rng) {
    let Ok(mut out) = std::fs::read(env.path("out")) else { return };
    match random.u8(..3) {
        0 => out.truncate(random.usize(..=out.len())),
        1 => {
            let lines: Vec<&[u8]> = out.split_inclusive(|byte| *byte == b'\n').collect();
            let gone = random.usize(..=lines.len());
            let left = lines.iter().enumerate().filter(|(number, _)| *number != gone);
            out = left.flat_map(|(_, line)| line.iter().copied()).collect();
        }
        _ => {}
    }
    env.write("out", out);
}

#[test]
fn whatever_becomes_of_out_the_store_makes_it_good() {
    let mut random = Rng::with_seed(60);
    let mut toll = Toll::default();
    let variants = ["simple", "openai"].map(|form| Variant { form, ordered: false, bodies: "full" });
    let took = undisturbed(&variants[0]);
    for variant in variants.iter().cycle() {
        drill(variant, took, &mut random, &mut toll, meddle);
        if toll.kills >= 10 {
            break;
        }
    }
    assert!(toll.duplicates <= toll.unknown);
}
