//! The failure drill: a batch through two servers, of which the first falls ill in every way there is, one after the
//! other, and recovers each time. Every item is answered once, every request is on record, the books are right to
//! the nano-dollar, and an open breaker lets through one probe at a time. `LLMOPS_CALLS` says how many items.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{AT_ONCE, FIRST, OPEN, Pair, TARGETS, assert_probes, first_probe, shown};
use crate::path::{SOON, nanos, price};
use crate::support::{Received, Reply, Running, Visit};

/// Requests at once.
const JOBS: usize = 8;

/// How long an answer may take.
const PATIENCE: &str = "1500ms";

/// The limit on output, for which money is set aside.
const OUTPUT: i64 = 50;

/// How the first server falls ill, in this order; after each it is well for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Illness {
    Storm,
    Errors,
    Cuts,
    Hangs,
}

const ILLNESSES: [Illness; 4] = [Illness::Storm, Illness::Errors, Illness::Cuts, Illness::Hangs];

/// How the first server is, and what both have done.
#[derive(Default)]
struct Scene {
    illness: Mutex<Option<Illness>>,
    /// How far the drill is: what is over of twice the illnesses and one.
    stage: AtomicUsize,
    /// Whole answers of both.
    answered: AtomicUsize,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    /// Who has answered an item.
    answers: BTreeMap<String, Vec<&'static str>>,
    /// What the answers cost.
    cost: i64,
    /// What was set aside for requests of which nobody knows whether they are billed.
    lost: i64,
    /// What came of each request of the first server, in the order of arrival; true is an answer.
    first: Vec<bool>,
}

/// A number that depends on a text and on nothing else (FNV-1a).
fn hash(text: &str) -> u64 {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, mix)
}

impl Scene {
    /// The first server is ill from now on, or well. Returns how many requests it had before.
    fn turn(&self, illness: Option<Illness>) -> usize {
        let mut now = self.illness.lock().unwrap();
        *now = illness;
        self.told.lock().unwrap().first.len()
    }

    /// A whole answer.
    fn answer(&self, who: &'static str, text: String, [input, output]: [i64; 2]) -> Reply {
        let (i, o) = (hash(&text) % 1_000, hash(&text) % 49);
        let mut told = self.told.lock().unwrap();
        told.cost += i.cast_signed() * input + o.cast_signed() * output;
        let reply = Reply::answer(format!("{who}: {text}")).usage(i, o);
        told.answers.entry(text).or_default().push(who);
        self.answered.fetch_add(1, Ordering::SeqCst);
        reply
    }

    fn first(&self, request: &Received) -> Reply {
        let now = self.illness.lock().unwrap();
        let mut told = self.told.lock().unwrap();
        let illness = *now;
        drop(now);
        told.first.push(illness.is_none());
        let turn = told.first.len();
        let reply = match illness {
            None => {
                drop(told);
                return self.answer("first", request.last_user_text(), [200, 1_250]);
            }
            Some(Illness::Storm) => {
                let reply = Reply::error(429, "rate_limit_exceeded");
                return match turn % 20 {
                    0 => reply.header("retry-after", "1"),
                    1..=5 => reply.header("retry-after-ms", "30"),
                    _ => reply,
                };
            }
            Some(Illness::Errors) => return Reply::error([500, 502, 503, 529][turn % 4], "server_error"),
            Some(Illness::Cuts) if turn.is_multiple_of(2) => Reply::drop_connection(),
            Some(Illness::Cuts) => Reply::answer("you will never read all of this").cut_after_events(1),
            Some(Illness::Hangs) => Reply::hang(),
        };
        let bytes = request.header("content-length").unwrap().parse().unwrap();
        told.lost += price(bytes, 0, OUTPUT);
        reply
    }

    /// Answers everything; slowly once it has answered so much that little would be left for what is to come.
    fn second(&self, request: &Received, items: usize) -> Reply {
        let share = items * (self.stage.load(Ordering::SeqCst) + 1) / (2 * ILLNESSES.len() + 2);
        if self.answered.load(Ordering::SeqCst) > share {
            sleep(Duration::from_millis(80));
        }
        self.answer("second", request.last_user_text(), [50, 80])
    }
}

/// From the first request of an illness to the first after it.
struct Span {
    illness: Illness,
    visits: Vec<Visit>,
}

/// Drives the first server through its illnesses. Returns what it saw of each.
fn afflict(pair: &Pair, scene: &Scene) -> Vec<Span> {
    let answers = |wanted: usize| {
        let until = Instant::now() + SOON;
        let answered = || scene.told.lock().unwrap().first.iter().rev().take_while(|well| **well).count();
        while answered() < wanted {
            assert!(
                Instant::now() < until,
                "the first server is not asked any more, after {} answers, at stage {}: {}",
                scene.answered.load(Ordering::SeqCst),
                scene.stage.load(Ordering::SeqCst),
                shown(pair.llmops(TARGETS), FIRST),
            );
            sleep(Duration::from_millis(1));
        }
        scene.stage.fetch_add(1, Ordering::SeqCst);
    };
    answers(100);
    let mut spans = Vec::new();
    for illness in ILLNESSES {
        let healthy = scene.turn(Some(illness));
        let enough = |visits: &[Visit]| match illness {
            Illness::Storm => visits.len() >= healthy + 60,
            _ => first_probe(visits.get(healthy..).unwrap_or_default()).is_some_and(|probe| {
                visits[healthy + probe..].iter().filter(|probe| probe.left.is_some()).count() >= 2
            }),
        };
        assert!(pair.first.wait_for_visits(SOON, enough), "{illness:?} does not come to an end");
        scene.stage.fetch_add(1, Ordering::SeqCst);
        let ill = scene.turn(None);
        answers(50);
        let visits = pair.first.visits()[healthy..ill].to_vec();
        spans.push(Span { illness, visits });
    }
    spans
}

fn start(items: usize, scene: &Arc<Scene>) -> (Pair, Running) {
    let (ours, theirs) = (Arc::clone(scene), Arc::clone(scene));
    let config = format!(
        "{AT_ONCE}breaker: {{open: {0}ms, longest: {0}ms}}\ntimeouts: {{first_delta: {PATIENCE}}}\n",
        OPEN.as_millis()
    );
    let pair =
        Pair::new(move |request| ours.first(request), move |request| theirs.second(request, items), &config);
    let _ = pair.llmops(["cost", "budget", "set", "1000", "--period", "total"]).run().expect_status(0);
    let prompts: Vec<String> = (0..items).map(|n| format!("item {n}")).collect();
    pair.env.write("in.txt", prompts.join("\n"));
    let (jobs, output) = (JOBS.to_string(), OUTPUT.to_string());
    let args = ["batch", "in.txt", "-o", "out.jsonl", "-j", &jobs, "--max-tokens", &output];
    let running = pair.llmops(args).of_great_length().spawn();
    (pair, running)
}

/// Every item has one answer, in OUT and of the servers. Returns the attempts and the cost that OUT tells of.
#[track_caller]
fn assert_answers(pair: &Pair, told: &Told, items: usize) -> (u64, i64) {
    let text = pair.env.read("out.jsonl");
    let (mut attempts, mut cost, mut seen) = (0, 0, vec![false; items]);
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let index: usize = serde_json::from_value(line["index"].clone()).unwrap();
        assert!(!std::mem::replace(&mut seen[index], true), "answered twice: {line}");
        let answers = &told.answers[&format!("item {index}")];
        let expected = format!("{}: item {index}", answers[0]);
        assert!(
            line["text"] == expected && line["error"].is_null() && answers.len() == 1,
            "{answers:?}: {line}"
        );
        attempts += line["attempts"].as_u64().unwrap();
        cost += nanos(&line["cost_usd"]);
    }
    assert!(seen.iter().all(|seen| *seen), "not all items are in OUT");
    (attempts, cost)
}

/// The store has every request of either server as an attempt, the books are equal to what the servers told, and
/// nothing is held any more.
#[track_caller]
fn assert_books(pair: &Pair, told: &Told) {
    let store = pair.env.db();
    let number = |query: &str| store.query_row(query, [], |row| row.get::<_, i64>(0)).unwrap();
    let sent = [&pair.first, &pair.second].map(|server| i64::try_from(server.load().0).unwrap());
    let on_record = ["openai", "groq"]
        .map(|provider| number(&format!("SELECT count(*) FROM attempts WHERE provider = '{provider}'")));
    assert_eq!(on_record, sent);
    assert_eq!(number("SELECT sum(cost_nanos) FROM calls"), told.cost);
    for left in ["holds", "owners", "batch_items"] {
        assert_eq!(number(&format!("SELECT count(*) FROM {left}")), 0, "{left}");
    }
    let budgets = pair.llmops(["cost", "budget", "--format", "json"]).run().expect_status(0).json();
    let sums = ["spent_usd", "held_usd", "unknown_usd"].map(|field| nanos(&budgets[0][field]));
    assert_eq!(sums, [told.cost + told.lost, 0, told.lost], "{budgets}");
}

#[test]
fn ten_thousand_calls_survive_a_server_that_falls_ill_in_every_way() {
    let items = std::env::var("LLMOPS_CALLS").map_or(10_000, |calls| calls.parse().unwrap());
    let scene = Arc::new(Scene::default());
    let (pair, mut running) = start(items, &scene);
    let spans = afflict(&pair, &scene);
    assert!(!running.has_ended(), "{items} items are too few for the drill");
    let output = running.wait().expect_status(0);
    let told = scene.told.lock().unwrap();

    let (attempts, cost) = assert_answers(&pair, &told, items);
    assert_eq!(
        (attempts, cost),
        ((pair.first.load().0 + pair.second.load().0) as u64, told.cost),
        "{output}"
    );
    assert_books(&pair, &told);
    let rows = shown(pair.llmops(TARGETS), FIRST);
    assert_eq!((&rows["state"], rows["openings"].as_u64()), (&Value::from("closed"), Some(3)), "{rows}");
    assert!(!rows["closed_at"].is_null() && !rows["last_failure"].is_null(), "{rows}");
    for span in spans.iter().filter(|span| span.illness != Illness::Storm) {
        assert_probes(&span.visits, 1, JOBS);
    }
}
