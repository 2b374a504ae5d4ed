//! What the record says of routes: in lists, sums and budgets. The calls are put on record by the program's own writer.

use std::collections::BTreeMap;

use chrono::{TimeDelta, Utc};
use llmops::domain::account::Account;
use llmops::domain::batch::{BatchRun, ItemRef, RunId, RunProgress, RunState};
use llmops::domain::call::{
    Call, CallFailure, CallId, CallSummary, Cost, CostStatus, ErrorKind, Origin, Status,
};
use llmops::domain::money::Money;
use llmops::domain::name::Target;
use llmops::policy::budget::{Ask, Settlement};
use llmops::store::{HoldRequest, RunStart, Writer};
use serde_json::{Value, json};

use crate::support::{Output, TestEnv, squeeze};

fn target(model: &str) -> Target {
    Target { provider: "openai".into(), model: model.into() }
}

/// A call for so many dollars, some seconds ago.
fn call(route: Option<&str>, dollars: i64, ago: i64) -> Call {
    let started = Utc::now() - TimeDelta::seconds(ago);
    let amount = Some(Money::from_nanos(dollars * 1_000_000_000));
    let summary = CallSummary {
        id: CallId::at(started),
        started,
        origin: Origin::Chat,
        target: target("gpt-5.4-nano"),
        route: route.map(Into::into),
        fallback_from: None,
        user: Some("ann".to_owned()),
        tags: BTreeMap::new(),
        item: None,
        status: Status::Ok,
        degraded: false,
        attempts: 1,
        usage: None,
        cost: Cost { amount, status: CostStatus::Exact, price_version: None },
        latency_ms: 5,
        first_token_ms: None,
        finish_reason: None,
        error: None,
    };
    Call { summary, attempts: Vec::new(), request: b"{}".to_vec(), response: None }
}

/// One whose route had another model answer, and one that nobody answered.
fn rerouted() -> [Call; 2] {
    let (mut second, mut nobody) = (call(Some("support"), 2, 2), call(Some("support"), 0, 1));
    second.summary.fallback_from = Some(target("gpt-5.6-luna"));
    nobody.summary.degraded = true;
    nobody.summary.error = Some(CallFailure {
        kind: ErrorKind::Timeout,
        status: None,
        message: "no answer within 5 s".to_owned(),
        retryable: true,
    });
    [second, nobody]
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

fn record(env: &TestEnv, calls: impl IntoIterator<Item = Call>) {
    let writer = Writer::open(&env.db_path()).unwrap();
    let runtime = runtime();
    for call in calls {
        let cost = call.summary.cost.amount.unwrap();
        let settlement = Settlement { cost, ..Settlement::default() };
        let _ = runtime.block_on(writer.record(call, settlement)).unwrap();
    }
    writer.close();
}

/// A store with a call without a route, one of another, and two of `support`.
fn home() -> TestEnv {
    let env = TestEnv::new();
    record(&env, [call(None, 1, 4), call(Some("sales"), 4, 3)].into_iter().chain(rerouted()));
    env
}

#[track_caller]
fn llmops(env: &TestEnv, args: &[&str]) -> Output {
    env.llmops(args).run().expect_status(0)
}

/// These fields of every row.
fn fields(rows: &Value, names: &[&str]) -> Value {
    let row = |row: &Value| -> Value { names.iter().map(|name| row[name].clone()).collect() };
    rows.as_array().unwrap().iter().map(row).collect()
}

#[test]
fn calls_tell_their_route_and_how_it_answered() {
    let env = home();
    let names = ["route", "fallback_from", "degraded"];
    let rows = llmops(&env, &["calls", "--format", "json"]).json();
    let second = json!(["support", "openai/gpt-5.6-luna", false]);
    let expected = json!([["support", null, true], second, ["sales", null, false], [null, null, false]]);
    assert_eq!(fields(&rows, &names), expected);
    let of_support = json!([["support", null, true], second]);
    let rows = llmops(&env, &["calls", "--route", "support", "--format", "json"]).json();
    assert_eq!(fields(&rows, &names), of_support);
    let tail = llmops(&env, &["calls", "tail", "--route", "sales", "--format", "jsonl"]).jsonl();
    assert_eq!(fields(&tail.into(), &["route"]), json!([["sales"]]));
    let exported = llmops(&env, &["calls", "export", "--route", "support"]).jsonl();
    assert_eq!(fields(&exported.into(), &names), json!([second, ["support", null, true]]));
    let sheet = llmops(&env, &["calls", "export", "--route", "support", "--format", "csv"]).stdout;
    let (header, line) = sheet.split_once('\n').unwrap();
    let at = |name: &str| header.split(',').position(|column| column == name).unwrap();
    let cells: Vec<&str> = line.split(',').collect();
    assert_eq!(names.map(|name| cells[at(name)]), ["support", "openai/gpt-5.6-luna", "false"]);
    assert_eq!(llmops(&env, &["calls", "--route", "no"]).stdout, "No such calls.\n");
}

#[test]
fn a_call_tells_its_route_in_words() {
    let env = home();
    let shown = |call: &Call| squeeze(&llmops(&env, &["calls", "show", &call.summary.id.to_string()]).stdout);
    let calls = rerouted();
    record(&env, calls.clone());
    let [second, nobody] = calls.each_ref().map(shown);
    let lines = ["route  support\n", "fallback  in the place of openai/gpt-5.6-luna\n"];
    assert!(lines.iter().all(|line| second.contains(line)) && !second.contains("degraded"), "{second}");
    assert!(nobody.contains("degraded  nobody answered: the answer is the one set for that\n"), "{nobody}");
    assert!(nobody.contains("error  timeout: no answer within 5 s"), "{nobody}");
}

#[test]
fn costs_are_summed_by_route_and_stay_when_calls_go() {
    let env = home();
    let by_route = ["cost", "--since", "yesterday", "--by", "route", "--format", "json"];
    let sums = || fields(&llmops(&env, &by_route).json()["rows"], &["route", "calls", "cost_usd"]);
    let expected = json!([["sales", 1, 4.0], ["support", 2, 2.0], [null, 1, 1.0]]);
    assert_eq!(sums(), expected);
    let one = [&by_route[..], &["--route", "support"]].concat();
    assert_eq!(llmops(&env, &one).json()["total"]["cost_usd"], 2.0);
    let _ = llmops(&env, &["calls", "prune", "--before", "0h", "--yes"]);
    assert_eq!(sums(), expected);
    let table = llmops(&env, &["cost", "--since", "yesterday", "--by", "route"]).stdout;
    assert!(squeeze(&table).contains("\nRoute  Calls  Input"), "{table}");
}

#[test]
fn a_budget_may_be_for_a_route() {
    let env = home();
    env.write_config("routes: {support: {targets: [sim/echo]}}\n");
    let set = ["cost", "budget", "set", "10", "--route", "support", "--period", "total", "--format", "json"];
    let budget = llmops(&env, &set).json();
    assert_eq!((&budget["scope"]["route"], &budget["spent_usd"]), (&json!("support"), &json!(2.0)));
    record(&env, [call(Some("support"), 3, 0), call(Some("sales"), 3, 0), call(None, 3, 0)]);
    let listed = llmops(&env, &["cost", "budget", "--format", "json"]).json();
    assert_eq!(fields(&listed, &["id", "spent_usd"]), json!([[1, 5.0]]));
    let table = llmops(&env, &["cost", "budget"]).stdout;
    assert!(squeeze(&table).contains("1  route support  total  $10.00  $5.00"), "{table}");
    let again = llmops(&env, &[&set[..], &["--user", "ann"]].concat()).json();
    assert_eq!((&again["id"], &again["spent_usd"]), (&json!(2), &json!(5.0)));
    let removed = llmops(&env, &["cost", "budget", "rm", "1"]).stdout;
    assert_eq!(removed, "budget 1 (total, route support) is no more\n");
    let mut unknown = set;
    unknown[5] = "suport";
    let output = env.llmops(unknown).run().expect_status(2);
    assert_eq!(output.stderr, "error: no route `suport`\nhint: did you mean `support`?\n");
}

/// Its program was killed: all that is known of it is what was written down before it was sent.
#[test]
fn a_call_that_is_lost_keeps_its_route() {
    let env = TestEnv::new();
    let (writer, runtime) = (Writer::open(&env.db_path()).unwrap(), runtime());
    let lost = call(Some("support"), 2, 1).summary;
    let run = BatchRun {
        id: RunId(0),
        started: lost.started,
        out: Some("/out.jsonl".into()),
        plan: json!({}),
        state: RunState::Running,
        total: None,
        progress: RunProgress::default(),
        cap: None,
        in_flight: 0,
    };
    let start = |id| writer.start_run(RunStart { run: BatchRun { id, ..run.clone() }, cap: None });
    let id = runtime.block_on(start(RunId(0))).unwrap();
    let request = HoldRequest {
        call: lost.id,
        attempt: 1,
        at: lost.started,
        account: Account::of(&lost),
        item: Some(ItemRef { run: id, index: 0 }),
        ask: Ask::AtMost(lost.cost.amount.unwrap()),
        dearest: Money::ZERO,
        so_far: Money::ZERO,
        closely: true,
    };
    let _ = runtime.block_on(writer.reserve(request)).unwrap();
    let _ = runtime.block_on(start(id)).unwrap();
    writer.close();
    let rows = llmops(&env, &["calls", "--status", "unknown", "--format", "json"]).json();
    assert_eq!(fields(&rows, &["route", "cost_usd"]), json!([["support", 2.0]]));
    let sums = llmops(&env, &["cost", "--since", "yesterday", "--by", "route", "--format", "json"]).json();
    assert_eq!(fields(&sums["rows"], &["route", "cost_usd"]), json!([["support", 2.0]]));
}

#[test]
fn routes_on_record_are_offered() {
    let env = home();
    let run = env.llmops(["--", "llmops", "calls", "--route", "s"]).env("LLMOPS_COMPLETE", "fish");
    assert_eq!(run.run().expect_status(0).stdout, "sales\nsupport\n");
}
