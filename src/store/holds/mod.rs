//! Holds: money that is set aside before a request is sent, as much as it may cost, and given back when the
//! call is on the books. They lie in the store, so that they count in every process. What a process held that has
//! died (see [`lease`](super::lease)) is swept: taken to have been spent, until its call is settled after all.

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, ToSql, params};

use super::lease::{LEASE, Lease};
use super::listing::first_id;
use super::standings::{Standings, covering, standing};
use crate::domain::account::Account;
use crate::domain::batch::{ItemRef, RunId};
use crate::domain::budget::{Budget, BudgetId, Holder};
use crate::domain::call::CallId;
use crate::domain::money::Money;
use crate::policy::budget::{Ask, Obstacle, Settlement, Standing, Verdict, Warning};

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
    /// The item of a batch that it is for.
    pub item: Option<ItemRef>,
    /// What it may cost.
    pub ask: Ask,
    /// What it may cost at the dearest of the targets that it may yet come to: budgets that are for all of them have to
    /// have room for that.
    pub dearest: Money,
    /// What the attempts have come to, as far as is known, for which money is held now.
    pub so_far: Money,
    /// Whether that cannot be told more closely: only then is a refusal worth remembering.
    pub closely: bool,
}

impl HoldRequest {
    /// What a budget has to have room for.
    fn ask_of(&self, budget: &Budget) -> Ask {
        let of_target = budget.scope.model.is_some() || budget.scope.provider.is_some();
        match self.ask {
            Ask::AtMost(most) if !of_target => Ask::AtMost(most.max(self.dearest)),
            ask => ask,
        }
    }
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

/// Holds what a request may cost, if every budget that covers its call has room.
pub(super) fn reserve(
    connection: &Connection,
    lease: &mut Lease,
    request: &HoldRequest,
) -> rusqlite::Result<Reserved> {
    let budgets = covering(connection, &request.account, request.item.map(|item| item.run))?;
    if budgets.is_empty() {
        return Ok(Reserved::Free);
    }
    lease.enter(connection, request.account.origin)?;
    sweep(connection, lease.now(), request.at)?;
    if lease.holds_for(request.call) {
        // What earlier attempts have come to will not come back, and is not to be waited for.
        sweep_call(connection, request.call, request.so_far)?;
    }
    let mut standings = Standings::new(connection);
    match obstacle(connection, lease, request, &budgets, &mut standings)? {
        None => hold(connection, lease, request, &budgets, standings).map(Reserved::Held),
        Some(obstacle) => {
            if let (Verdict::Refuse, Ask::AtMost(most), true) =
                (obstacle.verdict, obstacle.ask, request.closely)
            {
                standings.of(obstacle.budget.id, obstacle.budget.period_at(request.at))?.refuse(most);
                standings.save()?;
            }
            Ok(Reserved::Not(Box::new(obstacle)))
        }
    }
}

/// What keeps a request from being sent: of several budgets the one with the least hope, or that keeps it longest.
fn obstacle(
    connection: &Connection,
    lease: &Lease,
    request: &HoldRequest,
    budgets: &[Budget],
    standings: &mut Standings<'_>,
) -> rusqlite::Result<Option<Obstacle>> {
    type Rank = (Verdict, DateTime<Utc>);
    let mut hardest: Option<(Rank, &Budget, Standing)> = None;
    for budget in budgets {
        let standing = *standings.of(budget.id, budget.period_at(request.at))?;
        let ask = request.ask_of(budget);
        let verdict = standing.verdict(budget.limit, ask);
        let rank = (verdict, budget.passes_at(ask, request.at));
        if verdict != Verdict::Admit && hardest.is_none_or(|(of_other, ..)| rank > of_other) {
            hardest = Some((rank, budget, standing));
        }
    }
    let Some(((verdict, _), budget, standing)) = hardest else { return Ok(None) };
    let (holders, _) = holders(connection, budget.id, budget.period_at(request.at), lease.now())?;
    let resets = budget.resets(request.at);
    let ask = request.ask_of(budget);
    Ok(Some(Obstacle { verdict, budget: budget.clone(), standing, ask, resets, holders }))
}

fn hold(
    connection: &Connection,
    lease: &mut Lease,
    request: &HoldRequest,
    budgets: &[Budget],
    mut standings: Standings<'_>,
) -> rusqlite::Result<Money> {
    let amount_of = |budget: &Budget| match request.ask_of(budget) {
        Ask::AtMost(most) => most,
        Ask::Unpriced { .. } => Money::ZERO,
    };
    let most = budgets.iter().map(amount_of).max().unwrap_or_default();
    if most == Money::ZERO {
        return Ok(most);
    }
    let mut insert = connection.prepare_cached("INSERT INTO holds VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for budget in budgets {
        let (period, amount) = (budget.period_at(request.at), amount_of(budget));
        standings.of(budget.id, period)?.hold(amount);
        let (call, nanos) = (request.call.0.as_bytes(), amount.nanos());
        insert.execute(params![call, request.attempt, budget.id.0, period, nanos, lease.owner()])?;
    }
    standings.save()?;
    lease.hold(request.call);
    Ok(most)
}

/// Gives back what is held for a call, and books what it has come to. Returns the warnings that are due.
pub(super) fn settle(
    connection: &Connection,
    lease: &mut Lease,
    (call, at, account, run): (CallId, DateTime<Utc>, &Account, Option<RunId>),
    settlement: &Settlement,
) -> rusqlite::Result<Vec<Warning>> {
    const HELD: &str =
        "SELECT call, attempt, budget, period, nanos, owner IS NULL FROM holds WHERE call = ?1";
    const TAKE: &str = "DELETE FROM holds WHERE call = ?1 AND attempt = ?2 AND budget = ?3";
    let mut standings = Standings::new(connection);
    // What there is of this process's own, swept or not, is in the set.
    if lease.let_go(call) {
        for row in rows(connection, HELD, call.0.as_bytes())? {
            let give_back = if row.swept { Standing::unsweep } else { Standing::release };
            give_back(standings.of(row.budget, row.period)?, row.amount);
            row.change(connection, TAKE)?;
        }
    }
    let mut warnings = Vec::new();
    let mut charge = |account: &Account, settlement: &Settlement| -> rusqlite::Result<()> {
        for budget in covering(connection, account, run)? {
            let standing = standings.of(budget.id, budget.period_at(at))?;
            standing.charge(settlement);
            if standing.warns(&budget) {
                warnings.push(Warning { standing: *standing, budget });
            }
        }
        Ok(())
    };
    charge(account, settlement)?;
    for (target, settlement) in &settlement.elsewhere {
        charge(&Account { target: target.clone(), ..account.clone() }, settlement)?;
    }
    standings.save()?;
    if !lease.is_live() {
        leave(connection, lease)?;
    }
    Ok(warnings)
}

/// Has a process take leave, until it has something to hold again. What it still holds is lost: nobody will settle it.
pub(super) fn leave(connection: &Connection, lease: &mut Lease) -> rusqlite::Result<()> {
    if lease.is_known() {
        sweep_owner(connection, lease.owner())?;
        lease.end();
    }
    Ok(())
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
    const HELD: &str = "SELECT call, attempt, budget, period, nanos, FALSE FROM holds WHERE owner = ?1";
    sweep_rows(connection, &rows(connection, HELD, &owner)?, |row| row.amount)?;
    connection.execute("DELETE FROM owners WHERE id = ?1", [owner]).map(drop)
}

/// Takes so much of what is held for a call to have been spent, until it is settled, and gives back the rest.
fn sweep_call(connection: &Connection, call: CallId, spent: Money) -> rusqlite::Result<()> {
    const HELD: &str = "SELECT call, attempt, budget, period, nanos, FALSE FROM holds
        WHERE call = ?1 AND owner IS NOT NULL";
    sweep_rows(connection, &rows(connection, HELD, call.0.as_bytes())?, |_| spent)
}

/// Takes so much of what each hold is to have been spent, and gives back the rest.
fn sweep_rows(
    connection: &Connection,
    held: &[HeldRow],
    spent: impl Fn(&HeldRow) -> Money,
) -> rusqlite::Result<()> {
    const SWEEP: &str =
        "UPDATE holds SET owner = NULL, nanos = ?4 WHERE call = ?1 AND attempt = ?2 AND budget = ?3";
    let mut standings = Standings::new(connection);
    let mut sweep = connection.prepare_cached(SWEEP)?;
    for row in held {
        let (standing, spent) = (standings.of(row.budget, row.period)?, spent(row));
        standing.release(row.amount);
        standing.hold(spent);
        standing.sweep(spent);
        sweep.execute(params![row.call.0.as_bytes(), row.attempt, row.budget.0, spent.nanos()])?;
    }
    standings.save()
}

/// A row of holds.
struct HeldRow {
    call: CallId,
    attempt: u32,
    budget: BudgetId,
    period: i64,
    amount: Money,
    swept: bool,
}

impl HeldRow {
    /// Changes this row alone. A statement that changes several, or returns them, has SQLite make a table for
    /// them, with hundreds of kilobytes of memory of its own.
    fn change(&self, connection: &Connection, statement: &str) -> rusqlite::Result<()> {
        let key = params![self.call.0.as_bytes(), self.attempt, self.budget.0];
        connection.prepare_cached(statement)?.execute(key).map(drop)
    }
}

fn rows(connection: &Connection, query: &str, whose: &impl ToSql) -> rusqlite::Result<Vec<HeldRow>> {
    let mut query = connection.prepare_cached(query)?;
    let rows = query.query_map([whose], |row| {
        Ok(HeldRow {
            call: row.get(0)?,
            attempt: row.get(1)?,
            budget: BudgetId(row.get(2)?),
            period: row.get(3)?,
            amount: Money::from_nanos(row.get(4)?),
            swept: row.get(5)?,
        })
    })?;
    rows.collect()
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

/// What has become of a budget's money, without what was swept.
pub(super) fn settled(
    connection: &Connection,
    budget: &Budget,
    now: DateTime<Utc>,
) -> rusqlite::Result<Standing> {
    const SWEPT: &str =
        "SELECT ifnull(sum(nanos), 0) FROM holds WHERE budget = ?1 AND period = ?2 AND owner IS NULL";
    let period = budget.period_at(now);
    let swept = connection.query_row(SWEPT, [budget.id.0, period], |row| row.get(0))?;
    let mut standing = standing(connection, budget.id, period)?;
    standing.unsweep(Money::from_nanos(swept));
    Ok(standing)
}

/// Puts a budget's holds into the periods they are in now that its days begin elsewhere.
pub(super) fn rebook(
    connection: &Connection,
    budget: &Budget,
    standings: &mut Standings<'_>,
) -> rusqlite::Result<()> {
    const HELD: &str =
        "SELECT call, attempt, budget, period, nanos, owner IS NULL FROM holds WHERE budget = ?1";
    const MOVE: &str = "UPDATE holds SET period = ?4 WHERE call = ?1 AND attempt = ?2 AND budget = ?3";
    for row in rows(connection, HELD, &budget.id.0)? {
        let period = budget.period_at(row.call.time());
        connection.execute(MOVE, params![row.call.0.as_bytes(), row.attempt, row.budget.0, period])?;
        let standing = standings.of(budget.id, period)?;
        standing.hold(row.amount);
        if row.swept {
            standing.sweep(row.amount);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
