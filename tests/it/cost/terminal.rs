//! What a terminal shows beside the table, at several widths, and a pipe does not.

use super::{MARCH, cost, dollar, home, in_march, spent};
use crate::support::{TestEnv, shown};

fn on_terminal(env: &TestEnv, args: &[&str], columns: u16) -> String {
    let output = cost(env, args).on_terminal(columns).wait().expect_status(0);
    let screen = shown(&output.stdout);
    let wide = screen.lines().find(|line| console::measure_text_width(line) > columns.into());
    assert!(wide.is_none(), "{columns}: {wide:?}\n{screen}");
    screen
}

const DAYS: [&str; 4] = ["--since", "2026-03-01", "--until", "2026-03-02"];

#[test]
fn a_terminal_shows_bars_and_how_the_period_went() {
    let env = home(&MARCH);
    insta::assert_snapshot!(on_terminal(&env, &DAYS, 120));
    insta::assert_snapshot!(on_terminal(&env, &DAYS, 60));
    insta::assert_snapshot!(on_terminal(&env, &["--since", "2026-03-01", "--until", "2026-03-01"], 100));
}

#[test]
fn a_pipe_shows_neither() {
    let env = home(&MARCH);
    let piped = in_march(&env, &[]).stdout;
    assert!(!piped.contains(['█', '▁', '▏', '\u{1b}']), "{piped}");
}

#[test]
fn everything_fits_narrow_terminals() {
    let env = home(&[
        spent(
            "2026-03-01T10:00:00Z",
            "openrouter/a-vendor/a-model-with-a-rather-long-name-of-its-own",
            1,
            [1, 0, 1],
            123_456_789,
        ),
        super::Spent {
            unpriced: 1,
            ..spent(
                "2026-02-01T10:00:00Z",
                "openrouter/a-vendor/another-model-with-a-rather-long-name-of-its-own",
                1,
                [1, 0, 1],
                0,
            )
        },
        dollar("2025-03-01T00:00:00Z"),
    ]);
    for args in [
        &["--since", "2026-03-01", "--until", "2026-03-01"][..],
        &["--since", "2026-01-01", "--until", "2026-03-01", "--by", "day"],
        &["--since", "2025-01-01", "--until", "2026-03-01", "--by", "hour", "--by", "model"],
        &["--since", "2026-01-01", "--until", "2026-12-31", "--compare", "year"],
        &["--since", "0001-01-01", "--until", "9999-12-31"],
    ] {
        for columns in [60, 80, 120] {
            let _ = on_terminal(&env, args, columns);
        }
    }
}
