//! How a call's cost came about: for each attempt its tokens by class at the price that was applied, and in
//! words how sure that is. All of it is from the record, whatever the price table says by now.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use serde::Serialize;

use crate::domain::call::{Attempt, Call, CallId, Cost, CostStatus};
use crate::domain::money::{Exact, Money, Rate};
use crate::domain::name::{ModelName, ProviderName, Target};
use crate::domain::price::{Charge, Doubt, Known, Price, Rates};
use crate::domain::usage::Usage;
use crate::policy::price::{Billed, Part, UsageDoubt, billed, cost_of, parts, picos, usage_doubts};

/// A call's cost, and how it came about.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The call.
    pub call_id: CallId,
    /// When it began.
    pub time: DateTime<Utc>,
    /// The model of its last attempt.
    pub model: ModelName,
    /// Whose.
    pub provider: ProviderName,
    /// What it cost; null if that is not known.
    pub cost_usd: Option<Money>,
    /// How the cost is known.
    pub cost_status: CostStatus,
    /// The version of the price table that priced it.
    pub price_version: Option<String>,
    /// What the amounts of its attempts come to before they are rounded to nano-dollars; null without any.
    pub exact_usd: Option<Exact>,
    /// Every attempt that used tokens.
    pub attempts: Vec<ExplainedAttempt>,
    /// What there is to say of the call as a whole, a sentence each.
    pub notes: Vec<String>,
}

/// What one attempt used, and what that costs.
#[derive(Debug, Serialize)]
pub struct ExplainedAttempt {
    /// From 1.
    pub number: usize,
    /// Where it was sent.
    pub provider: ProviderName,
    /// The model.
    pub model: ModelName,
    /// As what the price table lists it: PROVIDER/MODEL; null without a price, as is all about prices.
    pub listed_as: Option<String>,
    /// How its tokens are known.
    pub known: Known,
    /// The service tier that the response named.
    pub service_tier: Option<String>,
    /// The version of the price table.
    pub price_version: Option<String>,
    /// The size of request, in input tokens, above which the rates hold.
    pub above_input_tokens: Option<u64>,
    /// The service tier whose rates they are.
    pub rates_of_service_tier: Option<String>,
    /// The hours, UTC, at which they hold: from, and to before which.
    pub hours_utc: Option<(NaiveTime, NaiveTime)>,
    /// The day, UTC, since which they hold.
    pub since: Option<NaiveDate>,
    /// Its classes of tokens, those that have any.
    pub parts: Vec<ExplainedPart>,
    /// Their sum, exactly; null if it is not known.
    pub amount_usd: Option<Exact>,
    /// Why the price is only nearly right.
    pub doubts: Vec<&'static str>,
    /// All that in words, a sentence each.
    pub notes: Vec<String>,
}

/// One class of tokens.
#[derive(Debug, Serialize)]
pub struct ExplainedPart {
    /// The class.
    pub class: &'static str,
    /// How many tokens.
    pub tokens: u64,
    /// What a million of them cost; null without a price.
    #[serde(rename = "usd_per_mtok", serialize_with = "per_million")]
    pub rate: Option<Rate>,
    /// What these cost, exactly; null without a price.
    pub amount_usd: Option<Exact>,
}

/// A rate as a JSON number, USD per million tokens.
#[expect(clippy::ref_option, reason = "serde asks for a reference")]
fn per_million<S: serde::Serializer>(rate: &Option<Rate>, serializer: S) -> Result<S::Ok, S::Error> {
    rate.map(|rate| rate.picos() as f64 / 1e6).serialize(serializer)
}

/// Explains the cost of a call, which began on `day` where the user is.
pub fn explain(call: &Call, day: NaiveDate) -> Explanation {
    let summary = &call.summary;
    // What the attempts come to is the cost, except where their prices were not kept.
    let kept = cost_of(&call.attempts).amount == summary.cost.amount;
    let numbered = || (1..).zip(&call.attempts);
    let amounts = call.attempts.iter().filter_map(|attempt| match billed(attempt) {
        Billed::Something(picos, _) => Some(picos),
        Billed::Nothing | Billed::Unknown | Billed::Unpriced => None,
    });
    Explanation {
        call_id: summary.id,
        time: summary.started,
        model: summary.target.model.clone(),
        provider: summary.target.provider.clone(),
        cost_usd: summary.cost.amount,
        cost_status: summary.cost.status,
        price_version: summary.cost.price_version.clone(),
        exact_usd: amounts.reduce(u128::saturating_add).map(Exact::from_picos),
        attempts: numbered().filter_map(|(number, attempt)| explained(number, attempt)).collect(),
        notes: if kept { notes(&call.attempts, &summary.cost, day) } else { vec![not_kept(day)] },
    }
}

fn explained(number: usize, attempt: &Attempt) -> Option<ExplainedAttempt> {
    let charge = attempt.charge.as_ref()?;
    let price = charge.price.as_deref();
    let amount = price.and_then(|price| picos(&price.rates, &charge.usage));
    let notes = price.map(|price| price_notes(price, charge, &attempt.target)).unwrap_or_default();
    Some(ExplainedAttempt {
        number,
        provider: attempt.target.provider.clone(),
        model: attempt.target.model.clone(),
        listed_as: price.map(listed_as),
        known: charge.known,
        service_tier: charge.service_tier.clone(),
        price_version: price.map(|price| price.version.clone()),
        above_input_tokens: price.and_then(|price| price.above),
        rates_of_service_tier: price.and_then(|price| price.service.clone()),
        hours_utc: price.and_then(|price| price.hours),
        since: price.and_then(|price| price.since),
        parts: explained_parts(price.filter(|_| amount.is_some()), &charge.usage),
        amount_usd: amount.map(Exact::from_picos),
        doubts: price.map(|price| doubts(price, charge)).unwrap_or_default(),
        notes: [vec![known(charge.known).to_owned()], notes].concat(),
    })
}

/// The classes of `usage` that have tokens, at `price` if there is one.
fn explained_parts(price: Option<&Price>, usage: &Usage) -> Vec<ExplainedPart> {
    let rates = price.map_or(Rates::FREE, |price| price.rates);
    let explained = |part: Part| ExplainedPart {
        class: part.class,
        tokens: part.tokens,
        rate: price.map(|_| part.rate),
        amount_usd: price.map(|_| Exact::from_picos(part.rate.times(part.tokens))),
    };
    let parts = parts(&rates, usage).into_iter().flatten();
    parts.filter(|part| part.tokens > 0).map(explained).collect()
}

fn listed_as(price: &Price) -> String {
    format!("{}/{}", price.provider, price.model)
}

fn doubts(price: &Price, charge: &Charge) -> Vec<&'static str> {
    let used = usage_doubts(&price.rates, &charge.usage).into_iter().map(|doubt| match doubt {
        UsageDoubt::Impossible => "impossible_usage",
        UsageDoubt::SoundInput => "sound_input",
        UsageDoubt::SoundCached => "sound_cached",
        UsageDoubt::SoundOutput => "sound_output",
    });
    price.doubts.iter().map(|doubt| doubt.as_str()).chain(used).collect()
}

fn price_notes(price: &Price, charge: &Charge, target: &Target) -> Vec<String> {
    let doubts = price.doubts.iter().map(|doubt| in_doubt(*doubt, charge, target));
    let used = usage_doubts(&price.rates, &charge.usage).into_iter().map(usage_in_doubt);
    [applied(price)].into_iter().chain(doubts).chain(used).collect()
}

/// How the tokens are known.
fn known(known: Known) -> &'static str {
    match known {
        Known::Reported => "The provider reported these tokens.",
        Known::Counted => {
            "The provider reported no tokens: request and answer were counted here, which is an estimate."
        }
        Known::Partial => {
            "The answer broke off: these tokens are what was seen of it, so it cost at least this much."
        }
    }
}

/// Which price it was.
fn applied(price: &Price) -> String {
    let (name, version) = (listed_as(price), &price.version);
    if price.rates == Rates::FREE {
        return format!("{name} costs nothing (prices of {version}).");
    }
    let above = price.above.map(|above| format!(" of requests above {above} input tokens"));
    let service = price.service.as_ref().map(|service| format!(" in service tier {service}"));
    let hours = |(from, to): (NaiveTime, NaiveTime)| {
        format!(" from {} to {} UTC", from.format("%H:%M"), to.format("%H:%M"))
    };
    let since = price.since.map(|since| format!(", in force since {since}"));
    let chosen: String = [above, service, price.hours.map(hours), since].into_iter().flatten().collect();
    format!("The rates are those of {name}{chosen} (prices of {version}).")
}

fn in_doubt(doubt: Doubt, charge: &Charge, target: &Target) -> String {
    match doubt {
        Doubt::Hours => {
            "An estimate: the price depends on the hour, and on weekends and holidays, which no table lists."
                .to_owned()
        }
        Doubt::Size => {
            "An estimate: rates of requests this large are listed for the present only, not for the \
            day of this one."
                .to_owned()
        }
        Doubt::Service => {
            "An estimate: rates of this service tier are listed for smaller requests only, and \
            were scaled up."
                .to_owned()
        }
        Doubt::UnknownService => format!(
            "An estimate: the table does not know the service tier that the response names, `{}`, so the usual \
             rates were applied.",
            charge.service_tier.as_deref().unwrap_or_default()
        ),
        Doubt::Version => {
            format!("An estimate: the table lists the model, not this version of it, {}.", target.model)
        }
        Doubt::Reseller => {
            format!("An estimate: the table lists what the maker asks, not what {} does.", target.provider)
        }
    }
}

fn usage_in_doubt(doubt: UsageDoubt) -> String {
    let why = match doubt {
        UsageDoubt::Impossible => {
            "the provider reported more tokens than a call can have, or parts larger than the whole"
        }
        UsageDoubt::SoundInput => "the table has no rate for sound in the input, so it is billed as text",
        UsageDoubt::SoundCached => "part of the input was cached, and nobody says how much of that was sound",
        UsageDoubt::SoundOutput => "the table has no rate for sound in the output, so it is billed as text",
    };
    format!("An estimate: {why}.")
}

/// What there is to say of a call whose prices were kept: what is missing from its cost.
fn notes(attempts: &[Attempt], cost: &Cost, day: NaiveDate) -> Vec<String> {
    let mut notes = Vec::new();
    let which = |wanted: Billed| -> Vec<usize> {
        let found = (1..).zip(attempts).filter(|(_, attempt)| billed(attempt) == wanted);
        found.map(|(number, _)| number).collect()
    };
    let unseen = which(Billed::Unknown);
    if !unseen.is_empty() {
        let end = match (cost.amount, cost.status) {
            (Some(_), CostStatus::Partial) => "so the call cost at least this much",
            (Some(_), _) => "which costs nothing here",
            (None, _) => "so what the call cost is not known",
        };
        notes.push(format!(
            "Nobody said what {} used, and it may be on the bill all the same, {end}.",
            numbered(&unseen, attempts.len())
        ));
    }
    let unpriced = which(Billed::Unpriced);
    if let Some(Attempt { target, charge, .. }) = unpriced.first().and_then(|number| attempts.get(number - 1))
    {
        let service = charge.as_ref().and_then(|charge| charge.service_tier.as_ref());
        let service = service.map(|service| format!(" in service tier {service}")).unwrap_or_default();
        notes.push(format!(
            "The price table had no price of {target}{service} for what {} used.",
            numbered(&unpriced, attempts.len())
        ));
        notes.push(format!(
            "`llmops cost prices import` adds prices; then `llmops cost reprice --since {day}` puts that of \
             {target} on this call."
        ));
    }
    if attempts.is_empty() && cost.status == CostStatus::Unknown {
        notes.push(
            "It was in flight when llmops was killed: so much was set aside for it, and may have been billed.".to_owned(),
        );
    } else if !attempts.iter().any(|attempt| billed(attempt) != Billed::Nothing) {
        let answered = "no attempt came to an answer that is paid for";
        let why = if attempts.is_empty() { "nothing was sent" } else { answered };
        notes.push(format!("Nothing is on the bill: {why}."));
    }
    notes
}

/// `it`, of the only one, else `attempt 2` or `attempts 1, 2`.
fn numbered(numbers: &[usize], of: usize) -> String {
    let list = numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match (of, numbers.len()) {
        (1, _) => "the only attempt".to_owned(),
        (_, 1) => format!("attempt {list}"),
        _ => format!("attempts {list}"),
    }
}

fn not_kept(day: NaiveDate) -> String {
    format!(
        "This call was recorded before rates were kept, so how its cost came about is not on record; `llmops cost \
         reprice --since {day}` puts today's price table on it."
    )
}

#[cfg(test)]
mod tests;
