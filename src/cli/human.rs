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
