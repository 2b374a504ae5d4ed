//! Days as people name them, and when they begin in a time zone.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};

/// A word that is not a day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a day")]
pub struct DayError(String);

/// The day that a word means, given today's: a date, `today`, `yesterday`, `week` (its Monday), `month`
/// (its first), `7d` (seven days with today).
pub fn first_day(word: &str, today: NaiveDate) -> Result<NaiveDate, DayError> {
    let unknown = || DayError(word.to_owned());
    let back = |days: u64| today.checked_sub_days(Days::new(days)).ok_or_else(unknown);
    match word {
        "today" => Ok(today),
        "yesterday" => back(1),
        "week" => back(today.weekday().num_days_from_monday().into()),
        "month" => today.with_day(1).ok_or_else(unknown),
        _ => match word.strip_suffix('d').map(str::parse::<u64>) {
            Some(Ok(days @ 1..)) => back(days - 1),
            Some(_) => Err(unknown()),
            None => word.parse().map_err(|_| unknown()),
        },
    }
}

/// The first moment that a word means: of a day as in [`first_day`], or a time such as
/// `2026-11-23T12:00:00Z`. Days are those of the zone of `now`.
pub fn first_moment<Tz: TimeZone>(word: &str, now: &DateTime<Tz>) -> Result<DateTime<Utc>, DayError> {
    match DateTime::parse_from_rfc3339(word) {
        Ok(time) => Ok(time.to_utc()),
        Err(_) => Ok(day_start(&now.timezone(), first_day(word, now.date_naive())?)),
    }
}

/// The first moment after what a word means: the day after, or the millisecond after a time.
pub fn moment_after<Tz: TimeZone>(word: &str, now: &DateTime<Tz>) -> Result<DateTime<Utc>, DayError> {
    if let Ok(time) = DateTime::parse_from_rfc3339(word) {
        let time = time.to_utc();
        return Ok(time.checked_add_signed(TimeDelta::milliseconds(1)).unwrap_or(time));
    }
    let day = first_day(word, now.date_naive())?;
    Ok(day_start(&now.timezone(), day.succ_opt().unwrap_or(day)))
}

/// When a day begins. Where clocks are put forward at midnight, it begins when they have been.
pub fn day_start<Tz: TimeZone>(zone: &Tz, day: NaiveDate) -> DateTime<Utc> {
    let midnight = day.and_time(NaiveTime::MIN);
    let quarters = (0..=96).map(|quarter| midnight + TimeDelta::minutes(15 * quarter));
    let mut existing = quarters.filter_map(|time| zone.from_local_datetime(&time).earliest());
    existing.next().map_or_else(|| midnight.and_utc(), |time| time.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use chrono::FixedOffset;

    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn words_are_days() {
        let monday = day("2026-11-23");
        let sunday = day("2026-11-22");
        assert_eq!(first_day("week", monday), Ok(monday));
        assert_eq!(first_day("week", sunday), Ok(day("2026-11-16")));
        assert_eq!(first_day("month", sunday), Ok(day("2026-11-01")));
        assert_eq!(first_day("7d", monday), Ok(day("2026-11-17")));
        assert_eq!(first_day("2026-02-28", monday), Ok(day("2026-02-28")));
        for bad in ["", "d", "0d", "-1d", "2026-02-30", "tomorrow-ish", "99999999999999999999d", "999999999d"]
        {
            assert!(first_day(bad, monday).is_err(), "{bad}");
        }
    }

    #[test]
    fn moments_are_days_or_times() {
        const DAY: i64 = 86_400_000;
        let now = DateTime::parse_from_rfc3339("2026-11-23T01:00:00+05:30").unwrap();
        let at = |word: &str| {
            let moments = first_moment(word, &now).and_then(|first| Ok((first, moment_after(word, &now)?)));
            moments.map(|(first, after)| (first.to_rfc3339(), (after - first).num_milliseconds()))
        };
        assert_eq!(at("today"), Ok(("2026-11-22T18:30:00+00:00".into(), DAY)));
        assert_eq!(at("2026-01-01"), Ok(("2025-12-31T18:30:00+00:00".into(), DAY)));
        assert_eq!(at("2026-11-23T12:00:00+01:00"), Ok(("2026-11-23T11:00:00+00:00".into(), 1)));
        for bad in ["", "12:00", "2026-11-23T12:00", "2026-13-01T00:00:00Z"] {
            assert!(at(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_day_begins_at_local_midnight() {
        let india = FixedOffset::east_opt(5 * 3600 + 1800).unwrap();
        assert_eq!(day_start(&india, day("2026-11-23")).to_rfc3339(), "2026-11-22T18:30:00+00:00");
    }
}
