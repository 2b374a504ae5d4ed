//! Hold: before an attempt is sent, what it may cost is set aside under every budget that covers the call.
//!
//! What a request may cost is bounded by its bytes first, which is cheap and always enough; its tokens are counted
//! only where that does not fit. An attempt that comes after one that the provider may have run needs money of
//! its own. A call that waits for money begins when it gets it: nothing was sent before.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::run::{Held, Run, cancelled};
use super::{Notice, decide};
use crate::domain::account::Account;
use crate::domain::budget::BudgetId;
use crate::domain::call::{Attempt, CallId, Cost};
use crate::domain::failure::{Failure, FailureKind};
use crate::domain::money::Money;
use crate::domain::name::Target;
use crate::policy::budget::{Ask, Obstacle, Settlement, Verdict};
use crate::policy::price::{self, Billed};
use crate::policy::tokens;
use crate::store::{HoldRequest, Reserved, StoreError, Turn, Writer};

/// How often to look whether calls of other processes have given money back.
const LOOK: Duration = Duration::from_millis(50);

/// How often to look whether a period is over, or a limit was raised.
const LOOK_FOR_MORE: Duration = Duration::from_secs(1);

/// A wait this long has to be explained.
const QUIET: Duration = Duration::from_secs(3);

/// What an attempt may cost.
struct Estimate {
    ask: Ask,
    /// The same at the dearest of the others that may come to answer; what has no price there is refused once it comes
    /// to that.
    dearest: Money,
    /// Its input tokens, if they were counted.
    counted: Option<u64>,
}

impl Run {
    /// Sets aside what the next attempt may cost, unless it already is. Waits where that may help.
    pub(super) async fn hold(&mut self) -> Result<(), Failure> {
        let parts = Arc::clone(&self.parts);
        let journaled = self.context.item.is_some();
        let concerns = |store: &&Writer| !self.covered && (journaled || !store.has_no_budgets());
        let Some(store) = parts.store.as_ref().filter(concerns) else { return Ok(()) };
        let mut estimate = self.estimate(None);
        let is_free = estimate.ask == Ask::AtMost(Money::ZERO) && estimate.dearest == Money::ZERO;
        if is_free && !journaled {
            self.cover(estimate.ask);
            return Ok(());
        }
        let mut waits = Waits { since: Instant::now(), told: false, turn: None };
        loop {
            match store.reserve(self.hold_request(&estimate)).await {
                Ok(Reserved::Free) => {
                    // Its item is entered: it need not be for every attempt that was certainly not billed.
                    self.covered = journaled;
                    return Ok(());
                }
                Ok(Reserved::Held(amount)) => {
                    self.cover(estimate.ask);
                    self.limit_output(amount);
                    return Ok(());
                }
                Ok(Reserved::Not(obstacle)) if may_need_less(&obstacle, &estimate) => {
                    estimate = self.estimate(Some(self.count_input().await));
                }
                Ok(Reserved::Not(obstacle)) if self.may_wait(&obstacle) => {
                    self.wait_for(store, *obstacle, &mut waits).await?;
                    // Prices depend on the time.
                    estimate = self.estimate(estimate.counted);
                }
                Ok(Reserved::Not(obstacle)) => return Err(self.refused(obstacle)),
                Err(error) => return Err(self.give_up(error)),
            }
        }
    }

    /// The next attempt may cost so much.
    fn cover(&mut self, ask: Ask) {
        let amount = match ask {
            Ask::AtMost(most) => Some(most),
            Ask::Unpriced { .. } => None,
        };
        self.holds.push(Held { attempt: self.attempts.len(), amount });
        self.covered = true;
    }

    fn hold_request(&self, estimate: &Estimate) -> HoldRequest {
        HoldRequest {
            call: self.id,
            attempt: u32::try_from(self.attempts.len()).unwrap_or(u32::MAX).saturating_add(1),
            at: self.started,
            account: Account {
                target: self.plan.target.clone(),
                origin: Some(self.context.origin),
                status: None,
                user: self.context.user.clone().filter(|user| !user.is_empty()),
                route: self.plan.route.clone(),
                tags: self.context.tags.iter().cloned().collect(),
            },
            item: self.context.item,
            ask: estimate.ask,
            dearest: estimate.dearest,
            so_far: self.so_far(),
            closely: estimate.counted.is_some(),
        }
    }

    /// What the next attempt may cost, with input tokens as they were counted, or else by its bytes.
    fn estimate(&self, counted: Option<u64>) -> Estimate {
        let (request, body) = (&self.outgoing().request, &self.outgoing().body);
        let input = counted.unwrap_or_else(|| tokens::bound(request, body.len()));
        // What was predicted and is not in the answer is on the bill, too.
        let predicted = request.body().get("prediction").map_or(0, |text| text.to_string().len() as u64);
        let output = |target: &Target| {
            self.output_limit(target).saturating_add(predicted).saturating_mul(request.answers())
        };
        let most_at = |target: &Target, tier: Option<&str>| {
            let price = self.parts.prices.quote(target, input, tier, self.started)?;
            price::most(&price.rates, request, input, output(target))
        };
        // The answer's tier is billed, which may not be the one that was asked for.
        let tier = request.body().get("service_tier").and_then(Value::as_str);
        let other_tiers: &[Option<&str>] = match tier {
            None => &[],
            Some("auto") => &[None, Some("priority")],
            Some(_) => &[None],
        };
        let most = |target: &Target| {
            let others = || other_tiers.iter().filter_map(|tier| most_at(target, *tier));
            most_at(target, tier).map(|asked| Money::from_picos_up(others().fold(asked, u128::max)))
        };
        let unpriced = Ask::Unpriced { allowed: self.context.allow_unpriced };
        let ask = most(&self.plan.target).map_or(unpriced, Ask::AtMost);
        let dearest = self.others().filter_map(most).max().unwrap_or_default();
        Estimate { ask, dearest, counted }
    }

    /// The request's own limit on output tokens, else the usual one, as far as the model goes.
    fn output_limit(&self, target: &Target) -> u64 {
        let usual = || {
            let listing = self.parts.prices.find(target);
            let most = listing.and_then(|listing| listing.price.max_output_tokens);
            most.unwrap_or(u64::MAX).min(self.parts.default_max_tokens)
        };
        self.outgoing().request.output_limit().unwrap_or_else(usual)
    }

    /// Has a request sent with the limit that its hold was reckoned with.
    fn limit_output(&mut self, held: Money) {
        let outgoing = self.outgoing();
        if held == Money::ZERO || outgoing.request.output_limit().is_some() {
            return;
        }
        let limit = self.output_limit(&self.plan.target);
        let mut request = outgoing.request.clone();
        let settings = self.parts.providers.settings(&self.plan.target.provider);
        let field = settings.map_or("max_tokens", |settings| settings.limit_field.as_str());
        request.set_output_limit(field, limit);
        *self.outgoing_mut() = decide::outgoing(request, &self.plan.target, self.context.streamed);
        (self.context.notify)(Notice::Limited { limit });
    }

    /// Counts the input, off the thread that the other calls run on. By its bytes if that fails.
    async fn count_input(&self) -> u64 {
        let (model, outgoing) = (self.plan.target.model.clone(), self.outgoing());
        let (request, bytes) = (outgoing.request.clone(), outgoing.body.len());
        let bound = tokens::bound(&request, bytes);
        let count = move || tokens::at_most(model.as_str(), &request).min(bound);
        tokio::task::spawn_blocking(count).await.unwrap_or(bound)
    }

    fn may_wait(&self, obstacle: &Obstacle) -> bool {
        match obstacle.verdict {
            Verdict::Wait => true,
            // What an attempt has used belongs to the period it was sent in, and so does the next attempt.
            Verdict::Refuse => self.context.wait && obstacle.passes() && self.attempts.is_empty(),
            Verdict::Admit | Verdict::Unpriced => false,
        }
    }

    /// Waits until it is worth asking again. Of those that wait for others of a budget to give money back, one in a
    /// process asks at a time; who waits for its next period keeps nobody from that.
    async fn wait_for(
        &mut self,
        store: &Writer,
        obstacle: Obstacle,
        waits: &mut Waits,
    ) -> Result<(), Failure> {
        // Others are not to wait for what waits itself; whether the target may still be asked then is to be seen.
        self.let_go_of_probe().await;
        (self.progress.flight, self.progress.waited) = (None, true);
        let began = Instant::now();
        let (id, lasting) = (obstacle.budget.id, obstacle.verdict == Verdict::Refuse);
        if !waits.told && (lasting || waits.since.elapsed() >= QUIET) {
            waits.told = true;
            (self.context.notify)(Notice::Waiting { obstacle: Box::new(obstacle) });
        }
        let turn = waits.turn.take().filter(|(of, _)| *of == id && !lasting);
        let change = async {
            match turn {
                _ if lasting => sleep(LOOK_FOR_MORE).await,
                Some(turn) => {
                    store.change(LOOK).await;
                    waits.turn = Some(turn);
                }
                None => waits.turn = Some((id, store.turn(id).await)),
            }
        };
        tokio::select! {
            biased;
            () = self.context.unsent.cancelled() => return Err(cancelled()),
            () = change => {}
        }
        self.put_off(began.elapsed());
        Ok(())
    }

    /// Time that was spent waiting is not the call's: if nothing was sent yet, it begins now.
    pub(super) fn put_off(&mut self, waited: Duration) {
        self.progress.until = self.progress.until.map(|until| until + waited);
        if self.attempts.is_empty() {
            self.started = self.parts.clock.now();
            self.id = CallId::at(self.started);
            self.began = Instant::now();
        } else {
            self.put_off += waited;
        }
    }

    fn refused(&mut self, obstacle: Box<Obstacle>) -> Failure {
        let failure = match obstacle.verdict {
            Verdict::Unpriced => {
                let (target, budget) = (&self.plan.target, &obstacle.budget);
                Failure::new(FailureKind::Unpriced, format!("{target} has no price, and {budget} covers it"))
            }
            Verdict::Admit | Verdict::Wait | Verdict::Refuse => {
                Failure::new(FailureKind::Budget, obstacle.to_string())
            }
        };
        self.obstacle = Some(obstacle);
        failure
    }

    fn give_up(&mut self, error: StoreError) -> Failure {
        self.unstored = Some(error);
        Failure::new(FailureKind::Budget, "nothing was sent, since what it may cost could not be set aside")
    }

    /// What the call has come to for the budgets it is under.
    pub(super) fn settlement(&self, cost: &Cost) -> Settlement {
        let mut elsewhere: Vec<(Target, Settlement)> = Vec::new();
        for Attempt { target, .. } in &self.attempts {
            if *target != self.plan.target && elsewhere.iter().all(|(known, _)| known != target) {
                let there = self.attempts.iter().filter(|attempt| attempt.target == *target);
                let cost = price::cost_of(&there.cloned().collect::<Vec<_>>()).amount;
                elsewhere.push((target.clone(), self.settlement_at(target, cost.unwrap_or_default())));
            }
        }
        let others: Money = elsewhere.iter().map(|(_, settlement)| settlement.cost).sum();
        // A call's cost is rounded once: its parts add up to it.
        let own = cost.amount.unwrap_or_default() - others;
        Settlement { elsewhere, ..self.settlement_at(&self.plan.target, own) }
    }

    /// What it has come to at one target, which is known to have cost so much.
    fn settlement_at(&self, target: &Target, cost: Money) -> Settlement {
        let there = self.attempts.iter().enumerate().filter(|(_, attempt)| attempt.target == *target);
        let billed: Vec<(usize, Billed)> =
            there.map(|(place, attempt)| (place, price::billed(attempt))).collect();
        let lost = billed.iter().filter(|(_, billed)| *billed == Billed::Unknown);
        let held: Vec<Option<Money>> = lost.map(|(place, _)| self.held_for(*place)).collect();
        Settlement {
            cost,
            unknown: held.iter().flatten().copied().sum(),
            unpriced: held.contains(&None) || billed.iter().any(|(_, billed)| *billed == Billed::Unpriced),
            elsewhere: Vec::new(),
        }
    }

    /// What the attempts since the last hold have come to: all of it, if nobody knows.
    fn so_far(&self) -> Money {
        let Some(held) = self.holds.last() else { return Money::ZERO };
        let attempts = &self.attempts[held.attempt..];
        let lost = attempts.iter().any(|attempt| price::billed(attempt) == Billed::Unknown);
        let cost = if lost { held.amount } else { price::cost_of(attempts).amount };
        cost.unwrap_or_default()
    }

    fn held_for(&self, attempt: usize) -> Option<Money> {
        self.holds.iter().rev().find(|held| held.attempt <= attempt)?.amount
    }
}

/// Whether it may fit once its tokens are counted.
fn may_need_less(obstacle: &Obstacle, estimate: &Estimate) -> bool {
    estimate.counted.is_none() && obstacle.verdict != Verdict::Unpriced
}

/// How long money is waited for, whether that was said, and whose turn it is.
struct Waits {
    since: Instant,
    told: bool,
    turn: Option<(BudgetId, Turn)>,
}
