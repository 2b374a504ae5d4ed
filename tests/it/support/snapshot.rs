//! One run of the binary as one text to keep: command, stdout, stderr and exit
//! status together, with everything redacted that differs from run to run.

use std::sync::LazyLock;

use regex::Regex;

use super::output::Output;

/// Compares a run with its snapshot in `snapshots` beside the test's file. With `squeezed`,
/// runs of blanks and of rules are shortened first: for tables with durations,
/// whose columns are as wide as the machine was slow.
macro_rules! assert_run {
    ($output:expr) => {
        insta::with_settings!({omit_expression => true}, {
            insta::assert_snapshot!($crate::support::run_text(&$output))
        })
    };
    ($output:expr, squeezed) => {
        insta::with_settings!({omit_expression => true}, {
            insta::assert_snapshot!($crate::support::squeeze(&$crate::support::run_text(&$output)))
        })
    };
}
pub(crate) use assert_run;

/// What is replaced, in this order: the longer forms come first.
const REDACTIONS: [(&str, &str); 11] = [
    // RFC 3339, `YYYY-MM-DD HH:MM:SS` and `YYYY-MM-DD HH:MM`.
    (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d| UTC)?", "<TIME>"),
    // The time alone, as in a list of today's calls.
    (r"\b\d\d:\d\d:\d\d(\.\d+)?\b", "<TIME>"),
    // UUIDs of any version.
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<ID>"),
    // Abbreviated UUIDv7: they begin with the time, which is 019… to 01b… for
    // decades; other hexadecimal or decimal digits are left alone.
    (r"(^|[^.\w-])01[9ab][0-9a-f]{5,}(-[0-9a-f]{1,12})*\b", "${1}<ID>"),
    // Loopback ports.
    (r"(127\.0\.0\.1|localhost|\[::1\]):\d+", "${1}:<PORT>"),
    // `latency_ms: 12`, `"latency_ms": 12.5`, `latency_ms=12`.
    (r#"(_ms"?\s*[:=]\s*)\d+(\.\d+)?"#, "${1}<MS>"),
    // `12 ms`, `1.5ms`, `80 µs`.
    (r"\b\d+(\.\d+)? ?(ms|µs|us|ns)\b", "<MS>"),
    // Rates come before seconds, which they contain.
    (r"\b\d+(\.\d+)?( ?[A-Za-z]*/s)\b", "<RATE>${2}"),
    (r#"(_per_s(ec|econd)?"?\s*[:=]\s*)\d+(\.\d+)?"#, "${1}<RATE>"),
    // `1.2 s`: measured; `30 s` was asked for, and stays.
    (r"\b\d+\.\d+ ?s\b", "<MS>"),
    // Temporary directories other than the test's own.
    (r"/tmp/[^\s'\x22:,)]+", "<TMP>"),
];

static PATTERNS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let compile = |(pattern, to): (&str, &'static str)| (Regex::new(pattern).unwrap(), to);
    REDACTIONS.into_iter().map(compile).collect()
});

/// The whole run as text, redacted, and without where the test or the repository stands.
pub fn run_text(output: &Output) -> String {
    let root = output.root.to_string_lossy();
    let text = output.to_string().replace(&*root, "<TMP>");
    redact(&text.replace(env!("CARGO_MANIFEST_DIR"), "<REPOSITORY>"))
}

/// Replaces ids, times, durations, rates, ports and temporary paths.
pub fn redact(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, to) in &*PATTERNS {
        text = pattern.replace_all(&text, *to).into_owned();
    }
    text
}

/// Shortens every run of blanks to two and every rule to three characters.
pub fn squeeze(text: &str) -> String {
    static RUNS: LazyLock<[(Regex, &str); 2]> = LazyLock::new(|| {
        let regex = |pattern| Regex::new(pattern).unwrap();
        [(regex("  +"), "  "), (regex("(─{3,}|═{3,}|-{4,}|={4,})"), "---")]
    });
    let squeeze_line = |line: &str| {
        let mut line = line.to_owned();
        for (pattern, to) in &*RUNS {
            line = pattern.replace_all(&line, *to).into_owned();
        }
        line
    };
    text.lines().map(squeeze_line).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_differs_from_run_to_run_is_redacted() {
    let cases = [
        ("id 019ab3c4-0000-7abc-8def-0123456789ab.", "id <ID>."),
        ("019ab3c4  01a0b3c4d5", "<ID>  <ID>"),
        ("0.01912345 and 12345678 and deadbeef", "0.01912345 and 12345678 and deadbeef"),
        ("at 2026-01-02T03:04:05.678Z, 2026-01-02 03:04:05", "at <TIME>, <TIME>"),
        ("since 2026-01-02", "since 2026-01-02"),
        (r#"{"latency_ms": 12, "timeout":30}"#, r#"{"latency_ms": <MS>, "timeout":30}"#),
        ("12 ms, 3.1 s, 30 s, 10 requests, 4.5 req/s", "<MS>, <MS>, 30 s, 10 requests, <RATE> req/s"),
        ("http://127.0.0.1:45123/v1", "http://127.0.0.1:<PORT>/v1"),
        ("open /tmp/x/y.db: no", "open <TMP>: no"),
    ];
    for (text, redacted) in cases {
        assert_eq!(redact(text), redacted);
    }
}

#[test]
fn squeezing_keeps_the_lines_and_the_words() {
    assert_eq!(squeeze("a     b\n──────\nc"), "a  b\n---\nc");
}
