//! Money as integers. A price is pico-dollars a token, an amount nano-dollars; the exact products of
//! the two are summed in pico-dollars and rounded once. No value of this module passes through a float
//! on its way in.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An amount in nano-dollars (10⁻⁹ USD).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(i64);

const NANOS_PER_DOLLAR: i64 = 1_000_000_000;

impl Money {
    /// Nothing spent, which is not the same as "not known".
    pub const ZERO: Self = Self(0);

    /// An amount of `nanos` nano-dollars.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// The amount in nano-dollars.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Rounds an exact sum in pico-dollars to the nearest nano-dollar, halves up. Amounts beyond
    /// 9.2 billion dollars saturate.
    pub fn from_picos(picos: u128) -> Self {
        Self(i64::try_from((picos + 500) / 1_000).unwrap_or(i64::MAX))
    }

    /// Rounds an exact sum in pico-dollars up, as befits a limit.
    pub fn from_picos_up(picos: u128) -> Self {
        Self(i64::try_from(picos.div_ceil(1_000)).unwrap_or(i64::MAX))
    }

    /// The amount in dollars, for JSON and for shares of a total; display uses the integers.
    pub fn dollars(self) -> f64 {
        self.0 as f64 / NANOS_PER_DOLLAR as f64
    }
}

impl Add for Money {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Money {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl AddAssign for Money {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

/// Why a text is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected dollars as a plain decimal such as 50 or 0.25, with at most nine decimals and below nine billion"
)]
pub struct MoneyError;

/// Reads dollars as decimal text, with or without a dollar sign before them.
impl FromStr for Money {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let number = text.strip_prefix('$').unwrap_or(text);
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || decimals.len() > 9 {
            return Err(MoneyError);
        }
        format!("{whole}{decimals:0<9}").parse().map(Self).map_err(|_| MoneyError)
    }
}

/// Dollars with all the decimals there are and at least two: `0.00`, `1.25`, `0.000000123`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let nanos = self.0.unsigned_abs();
        let unit = NANOS_PER_DOLLAR.unsigned_abs();
        let decimals = format!("{:09}", nanos % unit);
        let kept = decimals.trim_end_matches('0').len().max(2);
        write!(f, "{sign}{}.{}", nanos / unit, &decimals[..kept])
    }
}

/// A JSON number in dollars. The shortest form of the nearest double gives back the same nano-dollars
/// for amounts below four million dollars.
impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.dollars())
    }
}

/// An exact amount in pico-dollars (10⁻¹² USD), before it is rounded to [`Money`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exact(u128);

const PICOS_PER_DOLLAR: u128 = 1_000_000_000_000;

impl Exact {
    /// An amount of `picos` pico-dollars.
    pub const fn from_picos(picos: u128) -> Self {
        Self(picos)
    }

    /// The amount in pico-dollars.
    pub const fn picos(self) -> u128 {
        self.0
    }

    /// How many decimals there are, at least two.
    pub fn decimals(self) -> usize {
        let decimals = format!("{:012}", self.0 % PICOS_PER_DOLLAR);
        decimals.trim_end_matches('0').len().max(2)
    }
}

/// Dollars with all the decimals there are and at least two, or as many as are asked for.
impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = format!("{:012}", self.0 % PICOS_PER_DOLLAR);
        let kept = f.precision().unwrap_or_else(|| self.decimals()).min(decimals.len());
        write!(f, "{}.{}", self.0 / PICOS_PER_DOLLAR, &decimals[..kept])
    }
}

/// A JSON number in dollars.
impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0 as f64 / PICOS_PER_DOLLAR as f64)
    }
}

/// A price in pico-dollars (10⁻¹² USD) a token, which is micro-dollars a million tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(u64);

/// The most a price may be: 10,000 USD a million tokens, a cent a token. Anything above is a mistake of units.
const MAX_RATE: u64 = 10_000_000_000;

/// The same for what was kept when more was allowed.
const MAX_KEPT: u64 = 1_000_000_000_000;

/// Why a text is not a price.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a price: {reason}")]
pub struct RateError {
    text: String,
    reason: &'static str,
}

impl RateError {
    /// Whether it is a price, but one that nobody asks.
    pub fn is_too_much(&self) -> bool {
        self.reason == TOO_MUCH
    }
}

const TOO_MUCH: &str = "more than 10,000 dollars per million tokens";

impl Rate {
    /// Free of charge, and known to be.
    pub const FREE: Self = Self(0);

    /// A price of `picos` pico-dollars a token.
    pub const fn from_picos(picos: u64) -> Self {
        Self(picos)
    }

    /// The price in pico-dollars a token.
    pub const fn picos(self) -> u64 {
        self.0
    }

    /// What `tokens` cost, exactly, in pico-dollars.
    pub fn times(self, tokens: u64) -> u128 {
        u128::from(self.0) * u128::from(tokens)
    }
}

/// Reads USD a million tokens as decimal text (`2.50`, `0.075`), digit by digit.
impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        Self::up_to(MAX_RATE, text)
    }
}

impl Rate {
    fn up_to(most: u64, text: &str) -> Result<Self, RateError> {
        let fail = |reason| RateError { text: text.to_owned(), reason };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if text.starts_with('-') {
            return Err(fail("a price cannot be negative"));
        }
        if whole.is_empty() || !digits(whole) || !digits(fraction) || text.ends_with('.') {
            return Err(fail("expected USD per million tokens as a plain decimal, such as 0.25"));
        }
        if fraction.trim_end_matches('0').len() > 6 {
            return Err(fail("at most six decimals of a dollar per million tokens are kept"));
        }
        match micro_dollars(whole, fraction.trim_end_matches('0')) {
            Some(picos) if picos <= most => Ok(Self(picos)),
            _ => Err(fail(TOO_MUCH)),
        }
    }

    /// Reads a price as machines write it (`2.5e-06`, `0.15`), in a unit that is 10 to the power of `power`
    /// pico-dollars a token. Digits beyond a pico-dollar are the noise of somebody's floats
    /// (`2.6249999999999998e-07`): they are rounded, halves up.
    pub fn from_decimal(text: &str, power: i32) -> Result<Self, RateError> {
        let fail = |reason| RateError { text: text.to_owned(), reason };
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if text.starts_with('-') {
            return Err(fail("a price cannot be negative"));
        }
        let digits = format!("{whole}{fraction}");
        let exponent: Option<i32> = exponent.parse().ok().filter(|exponent: &i32| exponent.abs() < 400);
        let (Some(exponent), false, true) =
            (exponent, whole.is_empty(), digits.len() < 400 && digits.bytes().all(|b| b.is_ascii_digit()))
        else {
            return Err(fail("expected a number"));
        };
        let digits = digits.trim_start_matches('0');
        let Ok(places) = i32::try_from(fraction.len()) else { return Err(fail("expected a number")) };
        match shifted(digits, exponent + power - places) {
            Some(picos) if picos <= MAX_RATE && (picos > 0 || digits.is_empty()) => Ok(Self(picos)),
            Some(0) => Err(fail("less than a millionth of a dollar per million tokens")),
            _ => Err(fail(TOO_MUCH)),
        }
    }
}

/// These digits with the point moved by so many places, rounded to a whole number, halves up. Nothing where
/// that is too large.
fn shifted(digits: &str, places: i32) -> Option<u64> {
    let moved = usize::try_from(places.unsigned_abs()).ok()?;
    if digits.is_empty() {
        return Some(0);
    }
    if places >= 0 {
        return format!("{digits}{}", "0".repeat(moved)).parse().ok();
    }
    let Some(kept) = digits.len().checked_sub(moved) else { return Some(0) };
    let (whole, rest) = digits.split_at(kept);
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    whole.checked_add(u64::from(rest.as_bytes().first().is_some_and(|digit| *digit >= b'5')))
}

/// `whole.fraction` times a million; the fraction has at most six digits.
fn micro_dollars(whole: &str, fraction: &str) -> Option<u64> {
    let padding = fraction.len()..6;
    let fraction: u64 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let micros = padding.fold(fraction, |micros, _| micros * 10);
    whole.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(micros)
}

/// USD a million tokens.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = format!("{:06}", self.0 % 1_000_000);
        let kept = decimals.trim_end_matches('0').len().max(2);
        write!(f, "{}.{}", self.0 / 1_000_000, &decimals[..kept])
    }
}

/// As text: see [`Rate`]'s way back.
impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// From text, so that no decimal becomes a float on the way.
impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(RateText)
    }
}

struct RateText;

impl de::Visitor<'_> for RateText {
    type Value = Rate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("USD per million tokens, such as 0.25")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Rate, E> {
        Rate::up_to(MAX_KEPT, text).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_are_plain_decimals() {
        for (text, nanos) in [("50", 50_000_000_000), ("$0.25", 250_000_000), ("0.000000001", 1), ("0", 0)] {
            assert_eq!(text.parse(), Ok(Money::from_nanos(nanos)), "{text}");
        }
        for bad in ["", "$", "-1", "+1", "1e3", "1,000", ".5", "5.", "0.0000000001", "9999999999999", "5 "] {
            assert!(bad.parse::<Money>().is_err(), "{bad}");
        }
        assert_eq!(Money::from_picos_up(1).nanos(), 1);
        assert_eq!(Money::from_picos_up(2_000).nanos(), 2);
    }

    #[test]
    fn prices_are_read_digit_by_digit() {
        assert_eq!("0.075".parse(), Ok(Rate::from_picos(75_000)));
        assert_eq!("1.84375".parse(), Ok(Rate::from_picos(1_843_750)));
        assert_eq!("50".parse(), Ok(Rate::from_picos(50_000_000)));
        assert_eq!("10000".parse(), Ok(Rate(MAX_RATE)));
        assert!("10000.000001".parse::<Rate>().unwrap_err().is_too_much());
        assert_eq!(serde_json::from_str::<Rate>("\"20000\"").unwrap(), Rate(2 * MAX_RATE), "kept earlier");
        for bad in ["", ".", "1.", "-1", "1e3", "0x1", "1.0000001", "9999999999", "1,5", "NaN"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn prices_of_machines_are_exact_decimals() {
        for (text, power, picos) in [
            ("1.5e-7", 12, 150_000),
            ("2.6249999999999998e-07", 12, 262_500),
            ("0.0000025", 12, 2_500_000),
            ("1e-06", 12, 1_000_000),
            ("0", 12, 0),
            ("0.0", 6, 0),
            ("0.003625", 6, 3_625),
            ("1E2", 6, 100_000_000),
            ("10.0", 6, 10_000_000),
        ] {
            assert_eq!(Rate::from_decimal(text, power), Ok(Rate(picos)), "{text}");
        }
        for bad in [
            "",
            "-1",
            "1e",
            "1e999",
            ".",
            "e5",
            "x",
            "1.2.3",
            "1e-13",
            "10000.000001",
            "99999999999999999999",
        ] {
            assert!(Rate::from_decimal(bad, 6).is_err(), "{bad}");
        }
    }

    #[test]
    fn amounts_round_half_up_once() {
        assert_eq!(Money::from_picos(499), Money::ZERO);
        assert_eq!(Money::from_picos(500), Money::from_nanos(1));
        assert_eq!(Money::from_picos(u128::MAX / 2), Money::from_nanos(i64::MAX));
    }

    #[test]
    fn amounts_show_every_decimal_they_have() {
        assert_eq!(Money::from_nanos(0).to_string(), "0.00");
        assert_eq!(Money::from_nanos(1_250_000_000).to_string(), "1.25");
        assert_eq!(Money::from_nanos(-123).to_string(), "-0.000000123");
    }

    #[test]
    fn exact_amounts_show_the_pico_dollar() {
        assert_eq!(Exact::from_picos(123_456).to_string(), "0.000000123456");
        assert_eq!(Exact::from_picos(1_500_000_000_000).to_string(), "1.50");
        assert_eq!(format!("{:.6}", Exact::from_picos(2_000_000)), "0.000002");
        assert_eq!(serde_json::to_string(&Exact::from_picos(123_456)).unwrap(), "1.23456e-7");
    }

    proptest! {
        #[test]
        fn a_price_survives_being_shown(picos in 0..=MAX_RATE) {
            prop_assert_eq!(Rate(picos).to_string().parse(), Ok(Rate(picos)));
        }

        #[test]
        fn json_keeps_the_nano_dollar(nanos in -4_000_000_000_000_000_i64..4_000_000_000_000_000) {
            let shown = serde_json::to_string(&Money(nanos)).unwrap();
            let read: f64 = shown.parse().unwrap();
            #[expect(clippy::cast_possible_truncation, reason = "the range fits")]
            let back = (read * 1e9).round() as i64;
            prop_assert_eq!(back, nanos);
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = text.parse::<Rate>();
            let _ = Rate::from_decimal(&text, 12);
        }

        #[test]
        fn a_float_of_a_price_gives_it_back(picos in 0..=MAX_RATE) {
            let shown = serde_json::to_string(&(picos as f64 / 1e12)).unwrap();
            prop_assert_eq!(Rate::from_decimal(&shown, 12), Ok(Rate(picos)));
        }
    }
}
