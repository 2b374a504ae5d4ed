//! Two processes at one store, step by step, against a model that knows nothing of SQL: whatever they do in
//! whatever order, what is held is the sum of what is held for calls, and no limit is passed.

use std::cell::Cell;
use std::sync::Arc;

use proptest::prelude::*;
use rusqlite::{OptionalExtension, Transaction, TransactionBehavior};
use tempfile::TempDir;

use super::*;
use crate::domain::budget::{BudgetPeriod, Scope};
use crate::domain::call::Origin;
use crate::domain::name::{ModelName, ProviderName, Target};
use crate::domain::zone::Zone;
use crate::store::lease::BEAT;
use crate::store::open::connect;
use crate::store::standings::kinds;
use crate::store::wait::Patience;
use crate::store::{BudgetChange, BudgetEditor};

thread_local! {
    static NOW: Cell<i64> = const { Cell::new(0) };
}

fn now() -> i64 {
    NOW.get()
}

/// What may happen. A call is meant by a number, of as many as there are.
#[derive(Debug, Clone)]
enum Step {
    /// A process asks for so much.
    Ask {
        who: usize,
        nanos: i64,
    },
    /// A call asks for so much again: so much of each ten of its last hold is spent.
    AskAgain {
        call: usize,
        nanos: i64,
        tenths: i64,
    },
    /// A call ends, and so much of each ten of its last hold is billed; or nobody knows whether any is.
    Settle {
        call: usize,
        tenths: Option<i64>,
    },
    /// Longer than from heartbeat to heartbeat.
    Pass {
        beats: i64,
    },
    /// A process has something else to write.
    Write {
        who: usize,
    },
    /// A process ends without settling.
    Leave {
        who: usize,
    },
    Limit {
        nanos: i64,
    },
    Remove,
}

fn any_step() -> impl Strategy<Value = Step> {
    let (who, call, nanos) = (0..2_usize, 0..20_usize, 1..=40_i64);
    prop_oneof![
        8 => (who.clone(), nanos.clone()).prop_map(|(who, nanos)| Step::Ask { who, nanos }),
        3 => (call.clone(), nanos, 0..=10_i64)
            .prop_map(|(call, nanos, tenths)| Step::AskAgain { call, nanos, tenths }),
        6 => (call, proptest::option::weighted(0.8, 0..=10_i64))
            .prop_map(|(call, tenths)| Step::Settle { call, tenths }),
        3 => (1..=4_i64).prop_map(|beats| Step::Pass { beats }),
        2 => who.clone().prop_map(|who| Step::Write { who }),
        1 => who.prop_map(|who| Step::Leave { who }),
        1 => (50..=150_i64).prop_map(|nanos| Step::Limit { nanos }),
        1 => Just(Step::Remove),
    ]
}

/// A call as its process sees it, and what the store has of it.
struct Call {
    who: usize,
    id: CallId,
    held: Vec<i64>,
    /// What each hold is, and whether it was swept.
    rows: Vec<(i64, bool)>,
}

impl Call {
    /// So much of what is held is spent; all of it, if nobody knows.
    fn sweep(&mut self, sums: &mut Sums, spent: Option<i64>) {
        for (nanos, swept) in self.rows.iter_mut().filter(|(_, swept)| !swept) {
            *swept = true;
            sums.held -= *nanos;
            *nanos = spent.unwrap_or(*nanos);
            sums.spent += *nanos;
            sums.unknown += *nanos;
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sums {
    spent: i64,
    unknown: i64,
    held: i64,
}

/// What should be.
struct Model {
    limit: Option<i64>,
    sums: Sums,
    /// What may have been spent at most: as much as was ever allowed, and what nothing was held for.
    most: i64,
    calls: Vec<Call>,
    heartbeats: [Option<i64>; 2],
}

/// Two processes and somebody who sets budgets.
struct Bench {
    processes: [(Connection, Lease); 2],
    editor: BudgetEditor,
    at: DateTime<Utc>,
    account: Account,
    model: Model,
    _folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        NOW.set(1_000_000);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let process = || {
            let connection = connect(&path, &Patience::default()).unwrap();
            connection.pragma_update(None, "synchronous", "OFF").unwrap();
            (connection, Lease::by(now))
        };
        let processes = [process(), process()];
        let editor = BudgetEditor::open(&path, Arc::default()).unwrap();
        let target =
            Target { provider: ProviderName::from("openai"), model: ModelName::from("gpt-5.6-luna") };
        let at = DateTime::from_timestamp(1_767_225_600, 0).unwrap();
        let (sums, heartbeats) = (Sums::default(), [None; 2]);
        let model = Model { limit: None, sums, most: 0, calls: Vec::new(), heartbeats };
        let account = Account { origin: Some(Origin::Chat), ..Account::of_target(target) };
        let mut bench = Self { processes, editor, at, account, model, _folder: folder };
        bench.limit(100);
        bench
    }

    /// What a process writes at once, with what is due beside it.
    fn write<T>(
        &mut self,
        who: usize,
        work: impl FnOnce(&Connection, &mut Lease) -> rusqlite::Result<T>,
    ) -> T {
        let (connection, lease) = &mut self.processes[who];
        let transaction = Transaction::new(connection, TransactionBehavior::Immediate).unwrap();
        let done = work(&transaction, lease).unwrap();
        lease.renew(&transaction).unwrap();
        transaction.commit().unwrap();
        done
    }

    /// Sets a budget.
    fn set(&self, scope: Scope, nanos: i64) -> BudgetId {
        let change = BudgetChange {
            scope,
            period: BudgetPeriod::Total,
            limit: Money::from_nanos(nanos),
            warn: None,
            zone: None,
            usual_zone: Zone::System,
        };
        self.editor.set(&change, self.at).unwrap().budget.id
    }

    fn limit(&mut self, nanos: i64) {
        self.set(Scope::default(), nanos);
        self.model.limit = Some(nanos);
        self.model.most = self.model.most.max(nanos);
    }

    fn remove(&mut self) {
        let id = self.processes[0].0.query_row("SELECT id FROM budgets", [], |row| row.get(0));
        if let Some(id) = id.optional().unwrap() {
            assert!(self.editor.remove(BudgetId(id)).unwrap().is_some());
        }
        self.model.limit = None;
        (self.model.sums, self.model.most) = (Sums::default(), 0);
        self.model.calls.iter_mut().for_each(|call| call.rows.clear());
    }

    /// A call asks, or one that has spent so much of each ten of its last hold asks again.
    fn ask(&mut self, who: usize, again: Option<(usize, i64)>, nanos: i64) {
        let (id, attempt, so_far) = match again.map(|(call, tenths)| (&self.model.calls[call], tenths)) {
            Some((call, tenths)) => {
                (call.id, call.held.len() + 1, call.held[call.held.len() - 1] * tenths / 10)
            }
            None => (CallId::at(self.at), 1, 0),
        };
        let call = again.map(|(call, _)| call);
        let request = HoldRequest {
            call: id,
            attempt: u32::try_from(attempt).unwrap(),
            at: self.at,
            account: self.account.clone(),
            item: None,
            ask: Ask::AtMost(Money::from_nanos(nanos)),
            dearest: Money::ZERO,
            so_far: Money::from_nanos(so_far),
            closely: true,
        };
        let reserved = self.write(who, |connection, lease| reserve(connection, lease, &request));
        let expected = self.model.ask(who, call.map(|call| (call, so_far)), nanos);
        let verdict = match &reserved {
            Reserved::Free => None,
            Reserved::Held(amount) => {
                assert_eq!(amount.nanos(), nanos);
                Some(Verdict::Admit)
            }
            Reserved::Not(obstacle) => Some(obstacle.verdict),
        };
        assert_eq!(verdict, expected, "{reserved:?}");
        if matches!(verdict, None | Some(Verdict::Admit)) {
            self.model.hold(who, call, id, (nanos, verdict.is_some()));
        }
    }

    fn settle(&mut self, call: usize, tenths: Option<i64>) {
        let Call { who, id, held, rows } = self.model.calls.swap_remove(call);
        let last = held[held.len() - 1];
        let lost: i64 = held.iter().sum::<i64>() - tenths.map_or(0, |_| last);
        let cost = tenths.map_or(0, |tenths| last * tenths / 10);
        let settlement = Settlement {
            cost: Money::from_nanos(cost),
            unknown: Money::from_nanos(lost),
            ..Settlement::default()
        };
        let (at, account) = (self.at, self.account.clone());
        self.write(who, |connection, lease| settle(connection, lease, (id, at, &account, None), &settlement));
        self.model.settle(&rows, cost, lost);
        self.model.beat(who);
    }

    fn take(&mut self, step: &Step) {
        let calls = self.model.calls.len();
        match *step {
            Step::Ask { who, nanos } => self.ask(who, None, nanos),
            Step::AskAgain { call, nanos, tenths } if calls > 0 => {
                self.ask(self.model.calls[call % calls].who, Some((call % calls, tenths)), nanos);
            }
            Step::Settle { call, tenths } if calls > 0 => self.settle(call % calls, tenths),
            Step::AskAgain { .. } | Step::Settle { .. } => {}
            Step::Pass { beats } => NOW.set(now() + beats * (i64::from(BEAT) + 1_000)),
            Step::Write { who } => {
                self.write(who, |_, _| Ok(()));
                self.model.beat(who);
            }
            Step::Leave { who } => {
                self.write(who, leave);
                self.model.leave(who);
                self.model.calls.retain(|call| call.who != who);
            }
            Step::Limit { nanos } => self.limit(nanos),
            Step::Remove => self.remove(),
        }
    }

    /// The store has what the model has.
    fn check(&self) {
        let store = &self.processes[0].0;
        assert_eq!(kinds(store).unwrap().general, self.model.limit.is_some());
        let sums =
            store.query_row("SELECT spent_nanos, unknown_nanos, held_nanos FROM budget_periods", [], |row| {
                Ok(Sums { spent: row.get(0)?, unknown: row.get(1)?, held: row.get(2)? })
            });
        assert_eq!(sums.optional().unwrap().unwrap_or_default(), self.model.sums);
        let live = "SELECT ifnull(sum(nanos), 0) FROM holds WHERE owner IS NOT NULL";
        let live: i64 = store.query_row(live, [], |row| row.get(0)).unwrap();
        assert_eq!(live, self.model.sums.held);
        let Sums { spent, held, .. } = self.model.sums;
        assert!(spent + held <= self.model.most, "{:?} of {}", self.model.sums, self.model.most);
    }
}

impl Model {
    fn beat(&mut self, who: usize) {
        self.heartbeats[who] = self.heartbeats[who].map(|_| now());
    }

    fn leave(&mut self, who: usize) {
        self.heartbeats[who] = None;
        for call in self.calls.iter_mut().filter(|call| call.who == who) {
            call.sweep(&mut self.sums, None);
        }
    }

    /// What becomes of a wish, of a call that has spent something so far; nothing where there is no budget.
    fn ask(&mut self, who: usize, again: Option<(usize, i64)>, nanos: i64) -> Option<Verdict> {
        let Some(limit) = self.limit else {
            self.beat(who);
            return None;
        };
        self.heartbeats[who] = Some(now());
        for other in 0..self.heartbeats.len() {
            if self.heartbeats[other].is_some_and(|heartbeat| now() - heartbeat > LEASE) {
                self.leave(other);
            }
        }
        if let Some((call, so_far)) = again {
            self.calls[call].sweep(&mut self.sums, Some(so_far));
        }
        let Sums { spent, held, .. } = self.sums;
        Some(match limit {
            limit if spent + held + nanos <= limit => Verdict::Admit,
            limit if spent + nanos <= limit => Verdict::Wait,
            _ => Verdict::Refuse,
        })
    }

    fn hold(&mut self, who: usize, call: Option<usize>, id: CallId, (nanos, is_row): (i64, bool)) {
        let at = call.unwrap_or_else(|| {
            self.calls.push(Call { who, id, held: Vec::new(), rows: Vec::new() });
            self.calls.len() - 1
        });
        self.calls[at].held.push(nanos);
        if is_row {
            self.calls[at].rows.push((nanos, false));
            self.sums.held += nanos;
        }
    }

    fn settle(&mut self, rows: &[(i64, bool)], cost: i64, unknown: i64) {
        for (nanos, swept) in rows {
            if *swept {
                self.sums.spent -= nanos;
                self.sums.unknown -= nanos;
            } else {
                self.sums.held -= nanos;
            }
        }
        if self.limit.is_some() {
            self.sums.spent += cost + unknown;
            self.sums.unknown += unknown;
            self.most += (cost + unknown - rows.iter().map(|(nanos, _)| nanos).sum::<i64>()).max(0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn whatever_two_processes_do_no_limit_is_passed(steps in proptest::collection::vec(any_step(), 1..60)) {
        let mut bench = Bench::new();
        for step in &steps {
            bench.take(step);
            bench.check();
        }
    }
}

/// A process that was taken for dead and goes on holds money as before.
#[test]
fn who_was_swept_is_entered_anew() {
    let mut bench = Bench::new();
    bench.ask(0, None, 10);
    NOW.set(now() + LEASE + 1);
    bench.ask(1, None, 10);
    assert_eq!(bench.model.sums, Sums { spent: 10, unknown: 10, held: 10 });
    bench.settle(0, Some(5));
    bench.ask(0, None, 20);
    bench.check();
    assert_eq!(bench.model.sums, Sums { spent: 5, unknown: 0, held: 30 });
}

/// Otherwise two calls of which each needs what the other holds would wait for each other.
#[test]
fn what_a_lost_attempt_holds_is_not_waited_for() {
    let mut bench = Bench::new();
    bench.ask(0, None, 40);
    bench.ask(1, None, 40);
    bench.ask(0, Some((0, 10)), 40);
    assert_eq!(bench.model.sums, Sums { spent: 40, unknown: 40, held: 40 });
    bench.ask(1, Some((1, 10)), 40);
    assert_eq!(bench.model.ask(0, Some((0, 40)), 40), Some(Verdict::Refuse));
    bench.settle(0, None);
    bench.settle(0, None);
    bench.check();
    assert_eq!(bench.model.sums, Sums { spent: 80, unknown: 80, held: 0 });
}

#[test]
fn a_call_is_under_the_budgets_of_its_route_and_no_other() {
    let bench = Bench::new();
    let all = BudgetId(1);
    let route = |name: &str| Scope { route: Some(name.into()), ..Scope::default() };
    let (support, other) = (bench.set(route("support"), 50), bench.set(route("other"), 50));
    let of_ann = bench.set(Scope { user: Some("ann".to_owned()), ..route("support") }, 50);
    let under = |route: Option<&str>, user: Option<&str>| -> Vec<BudgetId> {
        let (route, user) = (route.map(Into::into), user.map(str::to_owned));
        let account = Account { user, route, ..bench.account.clone() };
        covering(&bench.processes[0].0, &account, None).unwrap().iter().map(|budget| budget.id).collect()
    };
    assert_eq!(under(None, None), [all]);
    assert_eq!(under(Some("support"), None), [all, support]);
    assert_eq!(under(Some("support"), Some("ann")), [all, support, of_ann]);
    assert_eq!(under(Some("other"), Some("ann")), [all, other]);
    assert_eq!(bench.set(route("support"), 60), support);
}
