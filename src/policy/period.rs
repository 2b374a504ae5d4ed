//! Days as people name them, when they begin in a time zone, and the period to compare a period with.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, TimeDelta, TimeZone, Timelike, Utc};

/// A word that is not a day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a day")]
pub struct DayError(String);

/// The day that a word means, given today's: a date, `today`, `yesterday`, `week` (its Monday), `month`
/// (its first), `7d`, `4w`, `1y` (so many days, weeks of 7 or years of 365 days with today).
pub fn first_day(word: &str, today: NaiveDate) -> Result<NaiveDate, DayError> {
    let unknown = || DayError(word.to_owned());
    let back = |days: u64| today.checked_sub_days(Days::new(days)).ok_or_else(unknown);
    match word {
        "today" => Ok(today),
        "yesterday" => back(1),
        "week" => back(today.weekday().num_days_from_monday().into()),
        "month" => today.with_day(1).ok_or_else(unknown),
        _ => match age(word) {
            Some(days @ 1..) => back(days - 1),
            Some(0) => Err(unknown()),
            None => word.parse().map_err(|_| unknown()),
        },
    }
}

/// The days of `90d`, `12w` or `1y`; nothing if it is none of these.
pub fn age(word: &str) -> Option<u64> {
    let (digits, unit) = word.split_at_checked(word.len().checked_sub(1)?)?;
    let days = match unit {
        "d" => 1,
        "w" => 7,
        "y" => 365,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(days)
}

/// The first moment that a word means: of a day as in [`first_day`], a time such as
/// `2026-11-23T12:00:00Z`, or hours ago (`12h`). Days are those of the zone of `now`.
pub fn first_moment<Tz: TimeZone>(word: &str, now: &DateTime<Tz>) -> Result<DateTime<Utc>, DayError> {
    if let Ok(time) = DateTime::parse_from_rfc3339(word) {
        return Ok(time.to_utc());
    }
    if let Some(Ok(hours)) = word.strip_suffix('h').map(str::parse::<u32>) {
        let ago = now.to_utc().checked_sub_signed(TimeDelta::hours(hours.into()));
        return ago.ok_or_else(|| DayError(word.to_owned()));
    }
    Ok(day_start(&now.timezone(), first_day(word, now.date_naive())?))
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
    moment(zone, day, 0)
}

/// How far back the period lies that a period is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shift {
    /// So many days.
    Days(u64),
    /// So many months. The last days of a long month have no counterpart in a short one.
    Months(u32),
}

/// Moments from the first that counts to the first that no longer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first moment.
    pub from: DateTime<Utc>,
    /// The moment after the last.
    pub to: DateTime<Utc>,
}

impl Shift {
    /// To just before the days `first..=last`, which `since` names. Days of a week or a month so far are
    /// compared with the same days of the last one.
    pub fn before(since: &str, first: NaiveDate, last: NaiveDate) -> Self {
        let days = (last - first).num_days().unsigned_abs() + 1;
        match since {
            "week" if days <= 7 => Self::Days(7),
            "month" if (first.year(), first.month()) == (last.year(), last.month()) => Self::Months(1),
            _ => Self::Days(days),
        }
    }

    /// The day so far before; none where there is none. Of a month that is shorter it is the last.
    pub fn back(self, day: NaiveDate) -> Option<NaiveDate> {
        match self {
            Self::Days(days) => day.checked_sub_days(Days::new(days)),
            Self::Months(months) => day.checked_sub_months(Months::new(months)),
        }
    }

    /// Whether a day has a counterpart so far before, not just the end of a shorter month.
    fn reaches(self, day: NaiveDate) -> bool {
        match self {
            Self::Days(_) => true,
            Self::Months(_) => self.back(day).is_none_or(|back| back.day() == day.day()),
        }
    }
}

/// What to compare the days `first..=last` with. If now is among them, it ends as far into its days as now is
/// into these, at the end of a quarter hour; else with its last day. None where there are no such days.
pub fn earlier<Tz: TimeZone>(
    first: NaiveDate,
    last: NaiveDate,
    shift: Shift,
    now: &DateTime<Tz>,
) -> Option<Span> {
    let (zone, today) = (now.timezone(), now.date_naive());
    let from = day_start(&zone, shift.back(first)?);
    let to = if (first..=last).contains(&today) && shift.reaches(today) {
        let minutes = (now.hour() * 60 + now.minute()) / 15 * 15 + 15;
        moment(&zone, shift.back(today)?, minutes)
    } else {
        let last = if (first..=last).contains(&today) { today } else { last };
        day_start(&zone, shift.back(last)?.succ_opt()?)
    };
    Some(Span { from, to })
}

/// The moment that clocks show some minutes after midnight. Where they skip it, they are put forward to it.
fn moment<Tz: TimeZone>(zone: &Tz, day: NaiveDate, minutes: u32) -> DateTime<Utc> {
    let time = day.and_time(NaiveTime::MIN) + TimeDelta::minutes(minutes.into());
    let quarters = (0..=96).map(|quarter| time + TimeDelta::minutes(15 * quarter));
    let mut existing = quarters.filter_map(|time| zone.from_local_datetime(&time).earliest());
    existing.next().map_or_else(|| time.and_utc(), |time| time.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use chrono::FixedOffset;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::zone::Zone;

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
        assert_eq!(first_day("2w", monday), Ok(day("2026-11-10")));
        assert_eq!(first_day("1y", monday), Ok(day("2025-11-24")));
        assert_eq!(first_day("2026-02-28", monday), Ok(day("2026-02-28")));
        for bad in [
            "",
            "d",
            "0d",
            "1m",
            "1M",
            "2 d",
            "18446744073709551615w",
            "é",
            "-1d",
            "2026-02-30",
            "tomorrow-ish",
            "99999999999999999999d",
            "999999999d",
        ] {
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
    #[test]
    fn a_period_is_compared_with_the_days_before() {
        let zone: Zone = "Europe/Berlin".parse().unwrap();
        let now = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&zone);
        let span = |since: &str, first: &str, last: &str, at: &str| {
            let (first, last) = (day(first), day(last));
            let span = earlier(first, last, Shift::before(since, first, last), &now(at)).unwrap();
            let text = |time: DateTime<Utc>| time.with_timezone(&zone).format("%m-%d %H:%M").to_string();
            format!("{} to {}", text(span.from), text(span.to))
        };
        let past = |since: &str, first: &str, last: &str| span(since, first, last, "2027-06-01T12:00:00Z");
        assert_eq!(past("yesterday", "2026-11-22", "2026-11-22"), "11-21 00:00 to 11-22 00:00");
        assert_eq!(past("2026-11-10", "2026-11-10", "2026-11-12"), "11-07 00:00 to 11-10 00:00");
        assert_eq!(past("week", "2026-11-23", "2026-11-25"), "11-16 00:00 to 11-19 00:00");
        assert_eq!(past("month", "2026-03-01", "2026-03-30"), "02-01 00:00 to 03-01 00:00");
        // Longer than a week: weeks would overlap.
        assert_eq!(past("week", "2026-11-09", "2026-11-18"), "10-30 00:00 to 11-09 00:00");
        let quarter = |at: &str| span("today", "2026-11-23", "2026-11-23", at);
        assert_eq!(quarter("2026-11-23T10:01:00+01:00"), "11-22 00:00 to 11-22 10:15");
        assert_eq!(quarter("2026-11-23T10:15:00+01:00"), "11-22 00:00 to 11-22 10:30");
        assert_eq!(quarter("2026-11-23T23:59:59+01:00"), "11-22 00:00 to 11-23 00:00");
        let of_month = |at: &str, last: &str| span("month", "2026-03-01", last, at);
        assert_eq!(of_month("2026-03-28T08:00:00+01:00", "2026-03-28"), "02-01 00:00 to 02-28 08:15");
        assert_eq!(of_month("2026-03-31T08:00:00+02:00", "2026-03-31"), "02-01 00:00 to 03-01 00:00");
        // Clocks are put forward from two to three on 29 March.
        let skipped = span("today", "2026-03-30", "2026-03-30", "2026-03-30T02:20:00+02:00");
        assert_eq!(skipped, "03-29 00:00 to 03-29 03:00");
    }

    fn zones() -> impl Strategy<Value = Zone> {
        proptest::sample::select(Zone::names()).prop_map(|name| name.parse().unwrap())
    }

    fn days_since_1970() -> impl Strategy<Value = NaiveDate> {
        (0_u64..30_000).prop_map(|days| NaiveDate::default() + Days::new(days))
    }

    proptest! {
        #[test]
        fn the_period_before_is_as_long_and_leaves_no_gap(
            zone in zones(), first in days_since_1970(), days in 1_u64..800,
        ) {
            let last = first + Days::new(days - 1);
            let long_after = day_start(&zone, last + Days::new(2)).with_timezone(&zone);
            let span = earlier(first, last, Shift::before("", first, last), &long_after).unwrap();
            prop_assert_eq!(span.to, day_start(&zone, first));
            prop_assert_eq!(span.from, day_start(&zone, first - Days::new(days)));
        }

        #[test]
        fn a_period_with_now_is_compared_with_as_much_of_it(
            zone in zones(), today in days_since_1970(), days in 1_u64..40, second in 0_i64..86_400,
            shift in prop_oneof![Just(Shift::Days(7)), Just(Shift::Days(1)), Just(Shift::Months(1)), Just(Shift::Months(12))],
        ) {
            let first = today - Days::new(days - 1);
            let now = (day_start(&zone, today) + TimeDelta::seconds(second)).with_timezone(&zone);
            prop_assume!(now.date_naive() == today);
            let span = earlier(first, today, shift, &now).unwrap();
            let last = shift.back(today).unwrap();
            // Samoa went without 30 December 2011.
            prop_assume!(day_start(&zone, last) < day_start(&zone, last + Days::new(1)));
            prop_assert_eq!(span.from, day_start(&zone, shift.back(first).unwrap()));
            prop_assert!(span.to > day_start(&zone, last));
            prop_assert!(span.to <= day_start(&zone, last + Days::new(1)));
        }

        #[test]
        fn a_shift_keeps_days_in_order(day in days_since_1970(), months in 1_u32..30) {
            let back = |day| Shift::Months(months).back(day).unwrap();
            prop_assert!(back(day) < day);
            prop_assert!(back(day) <= back(day + Days::new(1)));
        }
    }
}
