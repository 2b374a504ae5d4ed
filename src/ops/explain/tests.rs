//! Every doubt has its sentence, and the parts that are shown add up to the cost.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::domain::call::{CallSummary, Origin, Status};
use crate::domain::failure::{Failure, FailureKind};
use crate::domain::usage::Usage;

fn call(attempts: Vec<Attempt>) -> Call {
    let started: DateTime<Utc> = "2026-11-23T12:00:00Z".parse().unwrap();
    let summary = CallSummary {
        id: CallId(uuid::Uuid::nil()),
        started,
        origin: Origin::Chat,
        target: target(),
        user: None,
        tags: std::collections::BTreeMap::new(),
        item: None,
        route: None,
        fallback_from: None,
        degraded: false,
        status: Status::Ok,
        attempts: 1,
        usage: None,
        cost: cost_of(&attempts),
        latency_ms: 1,
        first_token_ms: None,
        finish_reason: None,
        error: None,
    };
    Call { summary, attempts, request: Vec::new(), response: None }
}

fn target() -> Target {
    Target { provider: "azure".into(), model: "gpt-4o-2026-01-01".into() }
}

fn price(rates: Rates) -> Price {
    Price {
        version: "2026-11-22".into(),
        provider: "openai".into(),
        model: "gpt-4o".into(),
        rates,
        above: None,
        service: None,
        hours: None,
        since: None,
        doubts: Vec::new(),
    }
}

fn attempt(usage: Usage, known: Known, price: Option<Price>) -> Attempt {
    let charge = Charge { usage, known, service_tier: Some("odd".into()), price: price.map(Arc::new) };
    Attempt { target: target(), offset_ms: 0, duration_ms: 0, failure: None, charge: Some(charge) }
}

fn lost() -> Attempt {
    let failure = Some(Failure::new(FailureKind::Timeout, "too late"));
    Attempt { target: target(), offset_ms: 0, duration_ms: 0, failure, charge: None }
}

fn explained(call: &Call) -> Explanation {
    explain(call, NaiveDate::from_ymd_opt(2026, 11, 23).unwrap())
}

#[test]
fn every_doubt_is_a_sentence() {
    let usage = Usage {
        input_tokens: 9,
        input_audio_tokens: 4,
        cached_input_tokens: 3,
        output_tokens: 2,
        output_audio_tokens: 1,
        ..Usage::default()
    };
    let rates = Rates { input: Rate::from_picos(1), output: Some(Rate::from_picos(2)), ..Rates::default() };
    let hours = NaiveTime::from_hms_opt(16, 30, 0).zip(NaiveTime::from_hms_opt(0, 30, 0));
    let price = Price {
        above: Some(200_000),
        service: Some("flex".into()),
        hours,
        since: NaiveDate::from_ymd_opt(2026, 5, 1),
        doubts: Doubt::ALL.to_vec(),
        ..price(rates)
    };
    let call = call(vec![attempt(usage, Known::Counted, Some(price))]);
    let explanation = explained(&call);
    let notes = &explanation.attempts[0].notes;
    assert_eq!(
        notes[1],
        "The rates are those of openai/gpt-4o of requests above 200000 input tokens in service tier flex from \
         16:30 to 00:30 UTC, in force since 2026-05-01 (prices of 2026-11-22)."
    );
    assert_eq!(notes.len(), 2 + Doubt::ALL.len() + 3);
    assert_eq!(explanation.attempts[0].doubts.len(), Doubt::ALL.len() + 3);
    for note in notes {
        let sentence = note.ends_with('.') && note.starts_with(char::is_uppercase);
        assert!(sentence && !note.contains("  "), "{note}");
    }
}

#[test]
fn what_is_missing_is_said() {
    let used = Usage { input_tokens: 9, ..Usage::default() };
    let rates = Rates { input: Rate::from_picos(1_000), ..Rates::default() };
    let priced = || attempt(used, Known::Reported, Some(price(rates)));
    let notes = |attempts| explained(&call(attempts)).notes.join("\n");
    assert_eq!(notes(vec![priced()]), "");
    assert_eq!(
        notes(vec![lost(), priced()]),
        "Nobody said what attempt 1 used, and it may be on the bill all the same, so the call cost at least \
         this much."
    );
    assert_eq!(
        notes(vec![lost(), lost()]),
        "Nobody said what attempts 1, 2 used, and it may be on the bill all the same, so what the call cost \
         is not known."
    );
    let unpriced = notes(vec![attempt(used, Known::Reported, None)]);
    assert!(unpriced.contains("`llmops cost prices import`"), "{unpriced}");
    assert!(unpriced.contains("`llmops cost reprice --since 2026-11-23`"), "{unpriced}");
    let mut old = call(vec![attempt(used, Known::Reported, None)]);
    old.summary.cost = Cost::NOTHING;
    assert!(explained(&old).notes.concat().contains("before rates were kept"));
    assert!(notes(vec![]).starts_with("Nothing is on the bill"));
}

fn any_attempt() -> impl Strategy<Value = Attempt> {
    let n = || 0..5_000_000_u64;
    let usage = (n(), n(), n(), n(), n(), n(), n()).prop_map(
        |(input, cached, written, hour, output, heard, spoken)| Usage {
            input_tokens: input,
            cached_input_tokens: cached,
            cache_write_tokens: written,
            cache_write_1h_tokens: hour,
            output_tokens: output,
            reasoning_tokens: 0,
            input_audio_tokens: heard,
            output_audio_tokens: spoken,
        },
    );
    let rate = || (0..90_000_000_u64).prop_map(Rate::from_picos);
    let maybe = || proptest::option::of(rate());
    let rates = (rate(), maybe(), maybe(), maybe(), maybe(), maybe(), maybe(), maybe()).prop_map(
        |(input, cached, write, hour, output, heard, cached_heard, spoken)| Rates {
            input,
            cached_input: cached,
            cache_write: write,
            cache_write_1h: hour,
            output,
            input_audio: heard,
            cached_input_audio: cached_heard,
            output_audio: spoken,
        },
    );
    let known = proptest::sample::select(Known::ALL.to_vec());
    let priced = proptest::option::weighted(0.9, rates);
    let some = (usage, known, priced).prop_map(|(usage, known, rates)| {
        // A price that says nothing of what was used is not kept.
        let rates = rates.filter(|rates| parts(rates, &usage).is_some());
        attempt(usage, known, rates.map(price))
    });
    prop_oneof![5 => some, 1 => Just(lost())]
}

proptest! {
    #[test]
    fn the_parts_shown_add_up_to_the_cost(attempts in proptest::collection::vec(any_attempt(), 0..5)) {
        let call = call(attempts);
        let explanation = explained(&call);
        let mut sum = 0;
        for attempt in &explanation.attempts {
            let parts: u128 = attempt.parts.iter().filter_map(|part| part.amount_usd).map(Exact::picos).sum();
            prop_assert_eq!(attempt.amount_usd.map_or(0, Exact::picos), parts);
            prop_assert!(attempt.parts.iter().all(|part| part.tokens > 0));
            let each = attempt.parts.iter().all(|part| {
                let amount = part.rate.map(|rate| u128::from(rate.picos()) * u128::from(part.tokens));
                part.amount_usd.map(Exact::picos) == amount && amount.is_some() == attempt.amount_usd.is_some()
            });
            prop_assert!(each);
            sum += parts;
        }
        prop_assert_eq!(explanation.exact_usd.map_or(0, Exact::picos), sum);
        match call.summary.cost.amount {
            Some(amount) => prop_assert_eq!(amount, Money::from_picos(sum)),
            None => prop_assert!(sum == 0 && !explanation.notes.is_empty()),
        }
    }
}
