//! Time zones: the system's, UTC, or one of the IANA database by its name. Days begin in one of them, and times
//! are shown in it.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use chrono::{
    DateTime, Datelike, FixedOffset, Local, MappedLocalTime, NaiveDate, NaiveDateTime, Offset, TimeZone,
    Timelike, Utc,
};
use jiff::Timestamp;
use jiff::civil;
use jiff::tz::{AmbiguousOffset, TimeZoneDatabase};

/// A time zone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Zone {
    /// Whatever the system says, or `TZ`.
    #[default]
    System,
    /// Coordinated universal time.
    Utc,
    /// One of the IANA database, such as `Europe/Berlin`.
    Named(NamedZone),
}

/// A zone of the IANA database that is built in. There are some hundreds: those that were asked for stay in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedZone(&'static jiff::tz::TimeZone);

/// Those that were asked for.
static FOUND: Mutex<Vec<NamedZone>> = Mutex::new(Vec::new());

/// A name that no time zone has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time zone")]
pub struct ZoneError(String);

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(name: &str) -> Result<Self, ZoneError> {
        match name {
            "UTC" => Ok(Self::Utc),
            _ => NamedZone::find(name).map(Self::Named).ok_or_else(|| ZoneError(name.to_owned())),
        }
    }
}

impl NamedZone {
    fn find(name: &str) -> Option<Self> {
        let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(zone) = found.iter().find(|zone| zone.name() == name) {
            return Some(*zone);
        }
        let zone = TimeZoneDatabase::bundled().get(name).ok()?;
        // Names are found in any case, but are to be written as they are.
        let zone = (zone.iana_name() == Some(name)).then(|| Self(Box::leak(Box::new(zone))))?;
        found.push(zone);
        Some(zone)
    }

    fn name(self) -> &'static str {
        self.0.iana_name().unwrap_or_default()
    }

    fn offset_at(self, time: &NaiveDateTime) -> FixedOffset {
        let seconds = time.and_utc().timestamp();
        let seconds = seconds.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
        fixed(self.0.to_offset(Timestamp::from_second(seconds).unwrap_or_default()))
    }

    fn offset_of_local(self, time: &NaiveDateTime) -> MappedLocalTime<FixedOffset> {
        let local =
            civil(time).unwrap_or(if time.year() < 0 { civil::DateTime::MIN } else { civil::DateTime::MAX });
        match self.0.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => MappedLocalTime::Single(fixed(offset)),
            AmbiguousOffset::Fold { before, after } => {
                MappedLocalTime::Ambiguous(fixed(before), fixed(after))
            }
            AmbiguousOffset::Gap { .. } => MappedLocalTime::None,
        }
    }
}

fn fixed(offset: jiff::tz::Offset) -> FixedOffset {
    FixedOffset::east_opt(offset.seconds()).unwrap_or(Utc.fix())
}

/// The same time; nothing beyond the year 9999, and before −9999.
fn civil(time: &NaiveDateTime) -> Option<civil::DateTime> {
    let small = |part: u32| i8::try_from(part).ok();
    let year = i16::try_from(time.year()).ok()?;
    let (month, day) = (small(time.month())?, small(time.day())?);
    let (hour, minute, second) = (small(time.hour())?, small(time.minute())?, small(time.second())?);
    civil::DateTime::new(year, month, day, hour, minute, second, 0).ok()
}

impl Zone {
    /// The names that there are.
    pub fn names() -> Vec<String> {
        TimeZoneDatabase::bundled().available().map(|name| name.to_string()).collect()
    }

    /// How it is called, as of a time: the system's zone has no name, but an offset.
    pub fn name(self, time: DateTime<Utc>) -> String {
        match self {
            Self::System => format!("UTC{}", time.with_timezone(&self).offset().fixed),
            Self::Utc => "UTC".to_owned(),
            Self::Named(zone) => zone.name().to_owned(),
        }
    }

    /// The name to find it by again; none if it is the system's.
    pub fn iana_name(self) -> Option<&'static str> {
        match self {
            Self::System => None,
            Self::Utc => Some("UTC"),
            Self::Named(zone) => Some(zone.name()),
        }
    }

    /// The zone that stays the same wherever it is used: the system's by its name, if it has one.
    #[must_use]
    pub fn lasting(self) -> Self {
        let named = || match jiff::tz::TimeZone::try_system().ok()?.iana_name()? {
            "Etc/UTC" => Some(Self::Utc),
            name => name.parse().ok(),
        };
        if self == Self::System { named().unwrap_or(self) } else { self }
    }

    fn with(self, fixed: FixedOffset) -> ZoneOffset {
        ZoneOffset { zone: self, fixed }
    }
}

/// How far a zone is from UTC at some time. It knows its zone, so that from a time in a zone one gets to
/// other days of the same zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZoneOffset {
    zone: Zone,
    fixed: FixedOffset,
}

impl Offset for ZoneOffset {
    fn fix(&self) -> FixedOffset {
        self.fixed
    }
}

impl fmt::Display for ZoneOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fixed.fmt(f)
    }
}

impl TimeZone for Zone {
    type Offset = ZoneOffset;

    fn from_offset(offset: &ZoneOffset) -> Self {
        offset.zone
    }

    fn offset_from_local_date(&self, day: &NaiveDate) -> MappedLocalTime<ZoneOffset> {
        self.offset_from_local_datetime(&day.and_time(chrono::NaiveTime::MIN))
    }

    fn offset_from_local_datetime(&self, time: &NaiveDateTime) -> MappedLocalTime<ZoneOffset> {
        let fixed = match self {
            Self::System => Local.offset_from_local_datetime(time),
            Self::Utc => MappedLocalTime::Single(Utc.fix()),
            Self::Named(zone) => zone.offset_of_local(time),
        };
        fixed.map(|fixed| self.with(fixed))
    }

    fn offset_from_utc_date(&self, day: &NaiveDate) -> ZoneOffset {
        self.offset_from_utc_datetime(&day.and_time(chrono::NaiveTime::MIN))
    }

    fn offset_from_utc_datetime(&self, time: &NaiveDateTime) -> ZoneOffset {
        self.with(match self {
            Self::System => Local.offset_from_utc_datetime(time),
            Self::Utc => Utc.fix(),
            Self::Named(zone) => zone.offset_at(time),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_read_by_its_name() {
        assert_eq!("UTC".parse(), Ok(Zone::Utc));
        assert_eq!(
            "Europe/Berlin".parse::<Zone>().map(|zone| zone.name(DateTime::UNIX_EPOCH)),
            Ok("Europe/Berlin".into())
        );
        for bad in ["", "Berlin", "europe/berlin", "+01:00", "Europe/Berlin "] {
            assert!(bad.parse::<Zone>().is_err(), "{bad}");
        }
        let time = DateTime::UNIX_EPOCH;
        assert_eq!(Zone::Utc.name(time), "UTC");
    }

    #[test]
    fn a_time_knows_its_zone_on_either_side_of_a_change() {
        let zone: Zone = "Europe/Berlin".parse().unwrap();
        let winter = DateTime::parse_from_rfc3339("2026-01-15T11:00:00Z").unwrap().with_timezone(&zone);
        assert_eq!(winter.to_rfc3339(), "2026-01-15T12:00:00+01:00");
        let summer = winter.timezone().with_ymd_and_hms(2026, 7, 15, 12, 0, 0).unwrap();
        assert_eq!(summer.to_rfc3339(), "2026-07-15T12:00:00+02:00");
        assert!(zone.with_ymd_and_hms(2026, 3, 29, 2, 30, 0).earliest().is_none());
        let twice = zone.with_ymd_and_hms(2026, 10, 25, 2, 30, 0);
        let offsets = [twice.earliest(), twice.latest()].map(|time| time.unwrap().offset().to_string());
        assert_eq!(offsets, ["+02:00", "+01:00"]);
    }
}
