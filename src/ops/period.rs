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
    fn a_day_begins_at_local_midnight() {
        let india = FixedOffset::east_opt(5 * 3600 + 1800).unwrap();
        assert_eq!(day_start(&india, day("2026-11-23")).to_rfc3339(), "2026-11-22T18:30:00+00:00");
    }
}
