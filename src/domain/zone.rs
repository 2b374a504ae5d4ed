//! Time zones: the system's, UTC, or one of the IANA database by its name. Days begin in one of them, and times
//! are shown in it.

use std::fmt;
use std::str::FromStr;

use chrono::{
    DateTime, FixedOffset, Local, MappedLocalTime, NaiveDate, NaiveDateTime, Offset, TimeZone, Utc,
};
use chrono_tz::{TZ_VARIANTS, Tz};

/// A time zone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Zone {
    /// Whatever the system says, or `TZ`.
    #[default]
    System,
    /// Coordinated universal time.
    Utc,
    /// One of the IANA database, such as `Europe/Berlin`.
    Named(Tz),
}

/// A name that no time zone has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time zone")]
pub struct ZoneError(String);

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(name: &str) -> Result<Self, ZoneError> {
        match name {
            "UTC" => Ok(Self::Utc),
            _ => name.parse().map(Self::Named).map_err(|_| ZoneError(name.to_owned())),
        }
    }
}

impl Zone {
    /// The names that there are.
    pub fn names() -> impl Iterator<Item = &'static str> + Clone {
        TZ_VARIANTS.iter().map(|zone| zone.name())
    }

    /// How it is called, as of a time: the system's zone has no name, but an offset.
    pub fn name(self, time: DateTime<Utc>) -> String {
        match self {
            Self::System => format!("UTC{}", time.with_timezone(&self).offset().fixed),
            Self::Utc => "UTC".to_owned(),
            Self::Named(zone) => zone.name().to_owned(),
        }
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
            Self::Named(zone) => zone.offset_from_local_datetime(time).map(|offset| offset.fix()),
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
            Self::Named(zone) => zone.offset_from_utc_datetime(time).fix(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_read_by_its_name() {
        assert_eq!("UTC".parse(), Ok(Zone::Utc));
        assert_eq!("Europe/Berlin".parse(), Ok(Zone::Named(Tz::Europe__Berlin)));
        for bad in ["", "Berlin", "europe/berlin", "+01:00", "Europe/Berlin "] {
            assert!(bad.parse::<Zone>().is_err(), "{bad}");
        }
        let time = DateTime::UNIX_EPOCH;
        assert_eq!(
            (Zone::Utc.name(time), Zone::Named(Tz::Asia__Kolkata).name(time)),
            ("UTC".into(), "Asia/Kolkata".into())
        );
    }

    #[test]
    fn a_time_knows_its_zone_on_either_side_of_a_change() {
        let zone = Zone::Named(Tz::Europe__Berlin);
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
