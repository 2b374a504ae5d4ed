//! Values as people read them: times, counts, sizes, amounts, and sentences that fit a line.

use std::time::Duration;

use console::measure_text_width;

use crate::domain::money::Money;

/// A duration for people: `350 ms`, `12.5 s`, `3 min 20 s`.
pub(super) fn seconds(duration: Duration) -> String {
    match duration.as_secs() {
        0 => format!("{} ms", duration.as_millis()),
        1..120 => format!("{:.1} s", duration.as_secs_f64()),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// A count for people: `1,234,567`.
pub(super) fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let head = digits.len() % 3;
    let mut groups: Vec<&str> = Vec::new();
    if head > 0 {
        groups.push(&digits[..head]);
    }
    groups.extend((head..digits.len()).step_by(3).map(|at| &digits[at..at + 3]));
    groups.join(",")
}

/// An amount of bytes for people: `512 B`, `12.3 kB`, `4.5 GB`.
pub(super) fn bytes(count: u64) -> String {
    let mut amount = count as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if amount < 999.95 {
            return if unit == "B" { format!("{count} B") } else { format!("{amount:.1} {unit}") };
        }
        amount /= 1000.0;
    }
    format!("{amount:.1} TB")
}

/// An amount for people; `?` where it is not known.
pub(super) fn dollars(amount: Option<Money>) -> String {
    let Some(amount) = amount else { return "?".to_owned() };
    let text = amount.to_string();
    match text.split_once('.').and_then(|(whole, rest)| Some((whole.parse().ok()?, rest))) {
        Some((whole, rest)) => format!("${}.{rest}", thousands(whole)),
        None => format!("${text}"),
    }
}

/// An amount for a glance: cents from a dollar on, two digits below: `$4.10`, `$0.12`, `$0.0021`.
pub(super) fn about(amount: Money) -> String {
    const CENT: i64 = 10_000_000;
    let nanos = amount.nanos();
    // The place of the second digit.
    let unit = if nanos >= 10 * CENT { CENT } else { 10_i64.pow(nanos.max(1).ilog10().saturating_sub(1)) };
    dollars(Some(Money::from_nanos(nanos.saturating_add(unit / 2) / unit * unit)))
}

/// A time for a glance: `45 s`, `12 min`, `3 h 5 min`.
pub(super) fn rough(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// `1 call`, `2,000 calls`
pub(super) fn calls(count: u64) -> String {
    if count == 1 { "1 call".to_owned() } else { format!("{} calls", thousands(count)) }
}

/// A text on lines of at most `width`, broken between words; further lines are indented.
pub(super) fn wrapped(text: &str, width: Option<usize>) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let fits = |line: &String| {
            width.is_none_or(|width| measure_text_width(line) + 1 + measure_text_width(word) <= width)
        };
        match lines.last_mut() {
            Some(line) if fits(line) => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) => lines.push(format!("  {word}")),
            None => lines.push(word.to_owned()),
        }
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_a_glance_two_digits_are_enough() {
        let shown = [0, 7, 2_149_000, 99_600_000, 123_400_000, 4_101_000_000, 1_234_567_000_000];
        let shown = shown.map(|nanos| about(Money::from_nanos(nanos)));
        assert_eq!(shown, ["$0.00", "$0.000000007", "$0.0021", "$0.10", "$0.12", "$4.10", "$1,234.57"]);
        let times = [0, 119, 120, 7199, 7200, 100_000].map(|seconds| rough(Duration::from_secs(seconds)));
        assert_eq!(times, ["0 s", "119 s", "2 min", "119 min", "2 h 0 min", "27 h 46 min"]);
    }

    #[test]
    fn amounts_are_easy_to_read() {
        let shown = |nanos| dollars(Some(Money::from_nanos(nanos)));
        assert_eq!(dollars(None), "?");
        assert_eq!(
            (shown(0), shown(70_000_000), shown(63_000_001)),
            ("$0.00".into(), "$0.07".into(), "$0.063000001".into())
        );
        assert_eq!(
            (shown(155_692_823_931_000), shown(-1_500_000_000)),
            ("$155,692.823931".into(), "$-1.50".into())
        );
    }
}
