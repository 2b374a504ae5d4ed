//! Holds: money that is set aside before a request is sent, as much as it may cost, and given back when the
//! call is on the books. They lie in the store, so that they count in every process; and since a process may die
//! without giving them back, each has a lease on its holds that it renews while it lives.
//!
//! A lease is measured on the clock that counts from the system's start and never jumps, whatever happens to the
//! time of day. A heartbeat from the future was written before the last start: its process is dead, too.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, Params, params};
use rustix::time::{ClockId, clock_gettime};

use super::listing::first_id;
use super::standings::{Standings, covering};
use crate::domain::account::Account;
use crate::domain::budget::{Budget, BudgetId, Holder};
use crate::domain::call::{CallId, Origin};
use crate::domain::money::Money;
use crate::policy::budget::{Ask, Obstacle, Settlement, Standing, Verdict, Warning};

/// Milliseconds from one heartbeat to the next.
pub(super) const BEAT: u32 = 2_000;

/// Milliseconds without a heartbeat after which a process is dead.
const LEASE: i64 = 10_000;

/// How long swept holds are kept, in case that their owner settles after all.
const KEEP_SWEPT: TimeDelta = TimeDelta::days(1);

/// A wish to send a request.
#[derive(Debug, Clone)]
pub struct HoldRequest {
    /// The call it belongs to.
    pub call: CallId,
    /// Which of its attempts it is, from 1.
    pub attempt: u32,
    /// When the call began, which decides the period.
    pub at: DateTime<Utc>,
    /// Whom it is for.
    pub account: Account,
    /// What it may cost.
    pub ask: Ask,
    /// Whether that cannot be told more closely: only then is a refusal worth remembering.
    pub closely: bool,
}

/// What came of it.
#[derive(Debug)]
pub enum Reserved {
    /// It is under no budget.
    Free,
    /// It may be sent, and so much is held for it.
    Held(Money),
    /// Not now.
    Not(Box<Obstacle>),
}

/// This process's lease on what it holds.
#[derive(Debug)]
pub(super) struct Lease {
    id: i64,
    /// When it was last renewed; not at all if the process is not known to the store yet.
    renewed: Option<i64>,
    /// The calls that money is held for.
    calls: HashSet<CallId>,
    uptime: fn() -> i64,
}

impl Default for Lease {
    fn default() -> Self {
        Self { id: fastrand::i64(1..), renewed: None, calls: HashSet::new(), uptime }
    }
}

/// Milliseconds on the clock that never jumps.
pub(super) fn uptime() -> i64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec * 1_000 + time.tv_nsec / 1_000_000
}

impl Lease {
    /// Whether the store knows of this process.
    pub(super) fn is_known(&self) -> bool {
        self.renewed.is_some()
    }

    /// Whether there is anything to lose.
    pub(super) fn is_live(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Forgets what a transaction that was undone may have written.
    pub(super) fn forget(&mut self) {
        self.renewed = None;
    }

    /// A heartbeat, if the last one is long ago, or nobody knows when it was.
    pub(super) fn renew(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        const RENEW: &str = "UPDATE owners SET heartbeat = ?2 WHERE id = ?1";
        let now = (self.uptime)();
        if self.renewed.map_or(self.is_live(), |last| now - last >= i64::from(BEAT)) {
            let known = connection.prepare_cached(RENEW)?.execute([self.id, now])? > 0;
            // Who was taken for dead in the meantime is not known to the store any more.
            self.renewed = known.then_some(now);
        }
        Ok(())
    }

    /// Makes sure that the store knows of this process, which may have been taken for dead.
    fn register(&mut self, connection: &Connection, command: Option<Origin>) -> rusqlite::Result<()> {
        const REGISTER: &str =
            "INSERT INTO owners VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET heartbeat = ?4";
        let now = (self.uptime)();
        if self.renewed.is_none_or(|last| now - last >= i64::from(BEAT)) {
            let command = command.map_or("", Origin::as_str);
            connection.prepare_cached(REGISTER)?.execute(params![
                self.id,
                std::process::id(),
                command,
                now
            ])?;
            self.renewed = Some(now);
        }
        Ok(())
    }

    /// Takes leave. What is still held then is lost: nobody will settle it.
    pub(super) fn end(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if self.renewed.take().is_some() { sweep_owner(connection, self.id) } else { Ok(()) }
    }
}

/// Holds what a request may cost, if every budget that covers its call has room.
pub(super) fn reserve(
    connection: &Connection,
    lease: &mut Lease,
    request: &HoldRequest,
) -> rusqlite::Result<Reserved> {
    let budgets = covering(connection, &request.account)?;
    if budgets.is_empty() {
        return Ok(Reserved::Free);
    }
    lease.register(connection, request.account.origin)?;
    sweep(connection, (lease.uptime)(), request.at)?;
    // An attempt that asks has none before it, or one that the provider may have run: what is held for that does
    // not come back before the call is settled, and whoever waited for it, this call or another, would do so in vain.
    sweep_holds(
        connection,
        "call = ?1 AND attempt < ?2",
        params![request.call.0.as_bytes(), request.attempt],
    )?;
    let mut standings = Standings::new(connection);
    let mut worst: Option<(Verdict, &Budget, Standing)> = None;
    for budget in &budgets {
        let standing = *standings.of(budget.id, budget.period_at(request.at))?;
        let verdict = standing.verdict(budget.limit, request.ask);
        if worst.is_none_or(|(worst, ..)| verdict > worst) {
            worst = Some((verdict, budget, standing));
        }
    }
    match worst {
        Some((verdict, budget, standing)) if verdict != Verdict::Admit => {
            let period = budget.period_at(request.at);
            if let (Verdict::Refuse, Ask::AtMost(most), true) = (verdict, request.ask, request.closely) {
                standings.of(budget.id, period)?.refuse(most);
                standings.save()?;
            }
            let (holders, _) = holders(connection, budget.id, period, (lease.uptime)())?;
            let resets = budget.resets(request.at);
            let (budget, ask) = (budget.clone(), request.ask);
            Ok(Reserved::Not(Box::new(Obstacle { verdict, budget, standing, ask, resets, holders })))
        }
        _ => hold(connection, lease, request, &budgets, standings).map(Reserved::Held),
    }
}

fn hold(
    connection: &Connection,
    lease: &mut Lease,
    request: &HoldRequest,
    budgets: &[Budget],
    mut standings: Standings<'_>,
) -> rusqlite::Result<Money> {
    let amount = match request.ask {
        Ask::AtMost(most) => most,
        Ask::Unpriced { .. } => Money::ZERO,
    };
    if amount == Money::ZERO {
        return Ok(amount);
    }
    let mut insert = connection.prepare_cached("INSERT INTO holds VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for budget in budgets {
        let period = budget.period_at(request.at);
        standings.of(budget.id, period)?.hold(amount);
        let (call, nanos) = (request.call.0.as_bytes(), amount.nanos());
        insert.execute(params![call, request.attempt, budget.id.0, period, nanos, lease.id])?;
    }
    standings.save()?;
    lease.calls.insert(request.call);
    Ok(amount)
}

/// Gives back what is held for a call, and books what it has come to. Returns the warnings that are due.
pub(super) fn settle(
    connection: &Connection,
    lease: &mut Lease,
    (call, at, account): (CallId, DateTime<Utc>, &Account),
    settlement: &Settlement,
) -> rusqlite::Result<Vec<Warning>> {
    const TAKE: &str = "DELETE FROM holds WHERE call = ?1 RETURNING budget, period, nanos, owner IS NULL";
    let mut standings = Standings::new(connection);
    // What there is of this process's own, swept or not, is in the set.
    if lease.calls.remove(&call) {
        let mut take = connection.prepare_cached(TAKE)?;
        let mut taken = take.query([call.0.as_bytes()])?;
        while let Some(row) = taken.next()? {
            let standing = standings.of(BudgetId(row.get(0)?), row.get(1)?)?;
            let (amount, swept) = (Money::from_nanos(row.get(2)?), row.get(3)?);
            if swept { standing.unsweep(amount) } else { standing.release(amount) }
        }
    }
    let mut warnings = Vec::new();
    for budget in covering(connection, account)? {
        let standing = standings.of(budget.id, budget.period_at(at))?;
        standing.charge(settlement);
        if standing.warns(&budget) {
            warnings.push(Warning { standing: *standing, budget });
        }
    }
    standings.save()?;
    Ok(warnings)
}

/// Takes what dead processes held to have been spent.
fn sweep(connection: &Connection, uptime: i64, now: DateTime<Utc>) -> rusqlite::Result<()> {
    const DEAD: &str = "SELECT id FROM owners WHERE heartbeat NOT BETWEEN ?1 AND ?2";
    let mut dead = connection.prepare_cached(DEAD)?;
    let dead = dead.query_map([uptime - LEASE, uptime], |row| row.get(0))?;
    let dead: Vec<i64> = dead.collect::<rusqlite::Result<_>>()?;
    for owner in &dead {
        sweep_owner(connection, *owner)?;
    }
    if let Some(long_ago) = now.checked_sub_signed(KEEP_SWEPT).filter(|_| !dead.is_empty()) {
        connection.execute("DELETE FROM holds WHERE owner IS NULL AND call < ?1", [first_id(long_ago)])?;
    }
    Ok(())
}

fn sweep_owner(connection: &Connection, owner: i64) -> rusqlite::Result<()> {
    sweep_holds(connection, "owner = ?1", [owner])?;
    connection.execute("DELETE FROM owners WHERE id = ?1", [owner]).map(drop)
}

/// Takes what is held to have been spent, unless it already is.
fn sweep_holds(connection: &Connection, which: &str, of: impl Params) -> rusqlite::Result<()> {
    let sweep = format!(
        "UPDATE holds SET owner = NULL WHERE {which} AND owner IS NOT NULL RETURNING budget, period, nanos"
    );
    let mut standings = Standings::new(connection);
    let mut sweep = connection.prepare_cached(&sweep)?;
    let mut swept = sweep.query(of)?;
    while let Some(row) = swept.next()? {
        let standing = standings.of(BudgetId(row.get(0)?), row.get(1)?)?;
        standing.sweep(Money::from_nanos(row.get(2)?));
    }
    standings.save()
}

/// Who holds money of a budget in a period; and what of it is held by processes that are dead.
pub(super) fn holders(
    connection: &Connection,
    budget: BudgetId,
    period: i64,
    uptime: i64,
) -> rusqlite::Result<(Vec<Holder>, Money)> {
    const QUERY: &str = "SELECT command, pid, count(DISTINCT call), sum(nanos), heartbeat BETWEEN ?3 AND ?4
        FROM holds JOIN owners ON owners.id = owner WHERE budget = ?1 AND period = ?2
        GROUP BY owners.id ORDER BY 4 DESC";
    let mut query = connection.prepare_cached(QUERY)?;
    let mut rows = query.query([budget.0, period, uptime - LEASE, uptime])?;
    let (mut holders, mut dead) = (Vec::new(), Money::ZERO);
    while let Some(row) = rows.next()? {
        let held = Money::from_nanos(row.get(3)?);
        if row.get(4)? {
            holders.push(Holder { command: row.get(0)?, pid: row.get(1)?, calls: row.get(2)?, held });
        } else {
            dead += held;
        }
    }
    Ok((holders, dead))
}

/// Puts a budget's holds into the periods they are in now that its days begin elsewhere.
pub(super) fn rebook(
    connection: &Connection,
    budget: &Budget,
    standings: &mut Standings<'_>,
) -> rusqlite::Result<()> {
    const HOLDS: &str = "SELECT call, attempt, nanos, owner IS NULL FROM holds WHERE budget = ?1";
    const MOVE: &str = "UPDATE holds SET period = ?4 WHERE call = ?1 AND attempt = ?2 AND budget = ?3";
    let mut holds = connection.prepare(HOLDS)?;
    let holds = holds.query_map([budget.id.0], |row| {
        Ok((row.get::<_, CallId>(0)?, row.get::<_, u32>(1)?, row.get(2).map(Money::from_nanos)?, row.get(3)?))
    })?;
    for (call, attempt, amount, swept) in holds.collect::<rusqlite::Result<Vec<_>>>()? {
        let period = budget.period_at(call.time());
        connection.execute(MOVE, params![call.0.as_bytes(), attempt, budget.id.0, period])?;
        let standing = standings.of(budget.id, period)?;
        standing.hold(amount);
        if swept {
            standing.sweep(amount);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
