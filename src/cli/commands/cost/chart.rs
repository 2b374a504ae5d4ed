//! Pictures of sums for terminals: bars in proportion, and a line of how the period went.

use chrono::{DateTime, Days, NaiveDate, TimeDelta, TimeZone, Utc};
use console::measure_text_width;

use crate::cli::human::dollars;
use crate::domain::money::Money;
use crate::domain::zone::Zone;
use crate::policy::period::Span;

/// Parts of a block, in eighths.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// How much there was, from nothing to the most.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// More days than these are put together.
const MOST_DAYS: usize = 62;

/// What stands before the line, at its longest: `by 99 days`, and blanks.
const LABEL: usize = 12;

/// A bar of at most `width` columns, in proportion to `most`. Whatever costs anything is seen.
pub(super) fn bar(cost: Money, most: Money, width: usize) -> String {
    let (Ok(cost @ 1..), Ok(most @ 1..)) = (u128::try_from(cost.nanos()), u128::try_from(most.nanos()))
    else {
        return String::new();
    };
    let eighths = (cost.min(most) * width as u128 * 8 + most / 2) / most;
    let eighths = usize::try_from(eighths).unwrap_or(0).max(1);
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

/// A character an amount. The lowest is for nothing at all.
fn spark(amounts: &[Money]) -> String {
    let most = amounts.iter().map(|amount| amount.nanos()).max().unwrap_or(0).max(1);
    let level = |amount: &Money| {
        let level = (i128::from(amount.nanos().max(0)) * 7 + i128::from(most) - 1) / i128::from(most);
        LEVELS[usize::try_from(level).unwrap_or(0).min(7)]
    };
    amounts.iter().map(level).collect()
}

/// How the period went, by hours, days or runs of days, what that was called, and the most of it. None where
/// nothing was spent, there is but one of them, or no room.
pub(super) fn history(
    quarters: &[(DateTime<Utc>, Money)],
    zone: Zone,
    span: Span,
    width: usize,
) -> Option<String> {
    let local = |time: DateTime<Utc>| time.with_timezone(&zone).date_naive();
    let (first, last) = (local(span.from), local(span.to - TimeDelta::seconds(1)));
    let (label, parts) = if first == last {
        ("by hour".to_owned(), hours(quarters, zone, span))
    } else {
        let room = width.checked_sub(LABEL)?.min(MOST_DAYS);
        let days = usize::try_from((last - first).num_days() + 1).ok()?;
        let run = days.div_ceil(room.max(1));
        let label = if run == 1 { "by day".to_owned() } else { format!("by {run} days") };
        (label, runs(quarters, zone, (first, last), run)?)
    };
    let amounts: Vec<Money> = parts.iter().map(|(_, amount)| *amount).collect();
    // The first of equals.
    let (name, most) = parts.iter().rev().max_by_key(|(_, amount)| *amount)?;
    let line = format!("{label}  {}", spark(&amounts));
    let used = measure_text_width(&line);
    if *most <= Money::ZERO || parts.len() < 2 || used > width {
        return None;
    }
    let most = format!("most: {} {name}", dollars(Some(*most)));
    let gap = if used + 2 + measure_text_width(&most) > width { "\n" } else { "  " };
    Some(format!("{line}{gap}{most}\n"))
}

/// What each hour that clocks showed cost, with its name.
fn hours(quarters: &[(DateTime<Utc>, Money)], zone: Zone, span: Span) -> Vec<(String, Money)> {
    let mut parts: Vec<(String, Money)> = Vec::new();
    let (mut time, mut hour, mut rest) = (span.from, String::new(), quarters);
    while time < span.to {
        let local = time.with_timezone(&zone);
        let now = local.format("%H:00%:z").to_string();
        if now != hour {
            parts.push((local.format("at %H:00").to_string(), Money::ZERO));
            hour = now;
        }
        if let ([(from, cost), after @ ..], Some((_, sum))) = (rest, parts.last_mut())
            && *from == time
        {
            *sum += *cost;
            rest = after;
        }
        time += TimeDelta::minutes(15);
    }
    parts
}

/// What runs of so many days cost, with their names.
fn runs(
    quarters: &[(DateTime<Utc>, Money)],
    zone: Zone,
    (first, last): (NaiveDate, NaiveDate),
    run: usize,
) -> Option<Vec<(String, Money)>> {
    let run = u64::try_from(run).ok()?;
    let mut parts: Vec<(String, Money)> = Vec::new();
    let mut begin = first;
    while begin <= last {
        let end = begin.checked_add_days(Days::new(run - 1)).unwrap_or(last).min(last);
        let name = if run == 1 { format!("on {begin}") } else { format!("from {begin} to {end}") };
        parts.push((name, Money::ZERO));
        let Some(next) = end.succ_opt() else { break };
        begin = next;
    }
    for (time, cost) in quarters {
        let day = zone.from_utc_datetime(&time.naive_utc()).date_naive();
        let at = u64::try_from((day - first).num_days()).ok()? / run;
        if let Some((_, sum)) = parts.get_mut(usize::try_from(at).ok()?) {
            *sum += *cost;
        }
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dollars_of(amounts: &[i64]) -> Vec<Money> {
        amounts.iter().map(|amount| Money::from_nanos(amount * 1_000_000_000)).collect()
    }

    #[test]
    fn bars_are_in_proportion() {
        let most = Money::from_nanos(i64::MAX);
        let bar = |cost: i64, width| bar(Money::from_nanos(cost), most, width);
        assert_eq!(bar(i64::MAX, 10), "██████████");
        assert_eq!(bar(i64::MAX / 2, 3), "█▌");
        assert_eq!((bar(1, 10), bar(0, 10), bar(-5, 10)), ("▏".into(), String::new(), String::new()));
        assert_eq!(super::bar(Money::ZERO, Money::ZERO, 10), "");
    }

    #[test]
    fn a_line_tells_little_from_nothing() {
        assert_eq!(spark(&dollars_of(&[0, 1, 100, 1000])), "▁▂▂█");
        assert_eq!(spark(&dollars_of(&[0, 0])), "▁▁");
        assert_eq!(spark(&[]), "");
    }

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    fn history(zone: &str, from: &str, to: &str, spent: &[&str], width: usize) -> Option<String> {
        let quarters: Vec<_> =
            spent.iter().map(|time| (at(time), Money::from_nanos(1_500_000_000))).collect();
        super::history(&quarters, zone.parse().unwrap(), Span { from: at(from), to: at(to) }, width)
    }

    #[test]
    fn a_day_is_drawn_by_the_hours_it_had() {
        let line =
            |day: &str, next: &str, spent: &[&str]| history("Europe/Berlin", day, next, spent, 80).unwrap();
        let spring =
            line("2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00", &["2026-03-29T03:45:00+02:00"]);
        assert_eq!(spring, "by hour  ▁▁█▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁  most: $1.50 at 03:00\n");
        let spent = ["2026-10-25T02:15:00+02:00", "2026-10-25T02:15:00+01:00", "2026-10-25T02:30:00+01:00"];
        let autumn = line("2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00", &spent);
        assert_eq!(autumn, "by hour  ▁▁▅█▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁  most: $3.00 at 02:00\n");
    }

    #[test]
    fn days_are_put_together_where_there_are_many() {
        let line =
            |to: &str, width| history("UTC", "2026-01-01T00:00:00Z", to, &["2026-01-02T10:00:00Z"], width);
        assert_eq!(line("2026-01-04T00:00:00Z", 80).unwrap(), "by day  ▁█▁  most: $1.50 on 2026-01-02\n");
        let year = line("2027-01-01T00:00:00Z", 60).unwrap();
        assert!(year.starts_with("by 8 days  █▁▁"), "{year}");
        assert!(year.ends_with("▁\nmost: $1.50 from 2026-01-01 to 2026-01-08\n"), "{year}");
        assert!(year.lines().all(|line| measure_text_width(line) <= 60), "{year}");
        assert_eq!(line("2027-01-01T00:00:00Z", 12), None);
        assert_eq!(line("2027-01-01T00:00:00Z", 5), None);
        assert_eq!(history("UTC", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z", &[], 80), None);
    }
}
