//! Tables: aligned columns that fit the terminal, plain where there is none. What does not fit loses its
//! less important columns first; then words are wrapped, and all else only where nothing but that is left.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, Width};
use console::{Alignment, measure_text_width, pad_str};

use super::ui::{Ui, width};
use crate::domain::text::printable;

/// Blanks between columns.
const GAP: usize = 2;

/// A column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column<'a> {
    name: &'a str,
    right: bool,
    whole: bool,
    extra: u8,
}

impl<'a> Column<'a> {
    /// Words, to the left.
    pub(super) const fn text(name: &'a str) -> Self {
        Self { name, right: false, whole: false, extra: 0 }
    }

    /// Numbers, to the right, which are wrapped last.
    pub(super) const fn number(name: &'a str) -> Self {
        Self { name, right: true, whole: true, extra: 0 }
    }

    /// The column is wrapped last.
    pub(super) const fn whole(self) -> Self {
        Self { whole: true, ..self }
    }

    /// The column is left out where there is no room: the highest rank goes first.
    pub(super) const fn extra(self, rank: u8) -> Self {
        Self { extra: rank, ..self }
    }
}

/// A table of these rows, ending with a newline.
pub(super) fn render(ui: &Ui, columns: &[Column<'_>], rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (number, line) in lines(columns, rows, width().map(usize::from)).into_iter().enumerate() {
        // Styled after the widths are settled, so that escapes do not count.
        let line = if number == 0 { ui.style().bold().apply_to(line).to_string() } else { line };
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn lines(columns: &[Column<'_>], rows: &[Vec<String>], width: Option<usize>) -> Vec<String> {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| shown(cell)).collect()).collect();
    let naturals: Vec<usize> = (0..columns.len()).map(|at| natural(columns, &rows, at)).collect();
    let kept = fitting(columns, &naturals, width);
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    let cell = |at: usize, text: &str| {
        let alignment = if columns[at].right { CellAlignment::Right } else { CellAlignment::Left };
        Cell::new(text).set_alignment(alignment)
    };
    table.set_header(kept.iter().map(|at| cell(*at, columns[*at].name)));
    for row in &rows {
        table.add_row(kept.iter().map(|at| cell(*at, row.get(*at).map_or("", String::as_str))));
    }
    let shares = shares(columns, &naturals, &kept, width);
    for (column, share) in table.column_iter_mut().zip(shares) {
        column.set_padding((0, 2));
        let share = u16::try_from(share + GAP).unwrap_or(u16::MAX);
        column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(share)));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// A cell as it is shown, on one line before it is wrapped.
fn shown(cell: &str) -> String {
    printable(cell).replace(['\n', '\t'], "\u{fffd}")
}

/// A table whose rows come one by one: its columns are as wide as was thought beforehand, and each row is
/// one line.
#[derive(Debug)]
pub(super) struct Rolling {
    columns: Vec<(Column<'static>, usize)>,
}

impl Rolling {
    /// A table of these columns, as far as they fit.
    pub(super) fn new(columns: &[(Column<'static>, usize)]) -> Self {
        let (names, widths): (Vec<Column<'_>>, Vec<usize>) = columns.iter().copied().unzip();
        let shown = fitting(&names, &widths, width().map(usize::from));
        let fits = |at: usize| if shown.contains(&at) { columns[at] } else { (columns[at].0, 0) };
        Self { columns: (0..columns.len()).map(fits).collect() }
    }

    pub(super) fn header(&self, ui: &Ui) -> String {
        let names: Vec<String> = self.columns.iter().map(|(column, _)| column.name.to_owned()).collect();
        format!("{}\n", ui.style().bold().apply_to(self.line(&names)))
    }

    /// A row, without a newline. What is too long is cut, unless that would be misread.
    pub(super) fn line(&self, cells: &[String]) -> String {
        let kept = self.columns.iter().zip(cells).filter(|((_, width), _)| *width > 0);
        let cells: Vec<String> = kept
            .map(|((column, width), cell)| {
                let cell = shown(cell);
                let alignment = if column.right { Alignment::Right } else { Alignment::Left };
                if column.whole && measure_text_width(&cell) > *width {
                    return cell;
                }
                pad_str(&cell, *width, alignment, Some("…")).into_owned()
            })
            .collect();
        cells.join(&" ".repeat(GAP)).trim_end().to_owned()
    }
}

/// The width of a column that is not wrapped.
fn natural(columns: &[Column<'_>], rows: &[Vec<String>], at: usize) -> usize {
    let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| measure_text_width(cell));
    cells.max().unwrap_or_default().max(measure_text_width(columns[at].name))
}

/// The columns that are shown.
fn fitting(columns: &[Column<'_>], naturals: &[usize], width: Option<usize>) -> Vec<usize> {
    let mut shown: Vec<usize> = (0..columns.len()).collect();
    let Some(width) = width else { return shown };
    while shown.iter().map(|at| naturals[*at] + GAP).sum::<usize>() > width + GAP {
        let least = shown.iter().copied().max_by_key(|at| columns[*at].extra);
        match least.filter(|at| columns[*at].extra > 0) {
            Some(least) => shown.retain(|at| *at != least),
            None => break,
        }
    }
    shown
}

/// How wide each column shown is.
fn shares(columns: &[Column<'_>], naturals: &[usize], shown: &[usize], width: Option<usize>) -> Vec<usize> {
    let widths: Vec<usize> = shown.iter().map(|at| naturals[*at]).collect();
    let Some(width) = width else { return widths };
    let room = (width + GAP).saturating_sub(GAP * shown.len());
    let whole: usize = shown.iter().filter(|at| columns[**at].whole).map(|at| naturals[*at]).sum();
    let word = |at: &usize| columns[*at].name.split(' ').map(measure_text_width).max().unwrap_or_default();
    let least: usize = shown.iter().filter(|at| !columns[**at].whole).map(word).sum();
    // Where not even the headings of the others find room, every column is wrapped.
    let wraps = |at: usize| !columns[at].whole || whole + least > room;
    let fixed: usize = shown.iter().filter(|at| !wraps(**at)).map(|at| naturals[*at]).sum();
    let wrapped: Vec<usize> = shown.iter().filter(|at| wraps(**at)).map(|at| naturals[*at]).collect();
    let most = fair_share(wrapped, room.saturating_sub(fixed));
    shown.iter().map(|at| if wraps(*at) { naturals[*at].min(most) } else { naturals[*at] }).collect()
}

/// The most that each of these may have, so that all together fit: the small ones have what they want, the
/// others the same.
fn fair_share(mut wanted: Vec<usize>, mut room: usize) -> usize {
    wanted.sort_unstable();
    for (at, want) in wanted.iter().enumerate() {
        let share = room / (wanted.len() - at);
        if *want > share {
            return share.max(1);
        }
        room -= want;
    }
    usize::MAX
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COLUMNS: [Column<'_>; 5] = [
        Column::text("Call").whole(),
        Column::text("Command").extra(2),
        Column::text("Model"),
        Column::number("Max output").extra(1),
        Column::number("Cost"),
    ];

    #[test]
    fn a_row_of_a_rolling_table_is_one_line() {
        let table =
            Rolling { columns: vec![(COLUMNS[0], 6), (COLUMNS[1], 0), (COLUMNS[2], 8), (COLUMNS[4], 5)] };
        let line = |cells: [&str; 4]| table.line(&cells.map(str::to_owned));
        assert_eq!(line(["Call", "Command", "Model", "Cost"]), "Call    Model      Cost");
        assert_eq!(line(["019ab3c4", "chat", "sim/echo-two", "$0.123456"]), "019ab3c4  sim/ech…  $0.123456");
    }

    fn table(width: Option<usize>) -> Vec<String> {
        let row = |cells: [&str; 5]| cells.map(str::to_owned).to_vec();
        let rows = [
            row(["019ab3c4-0000", "batch", "openai/gpt-5.4-nano with a long name", "128,000", "$0.000012"]),
            row(["019ab3c4-0001", "chat", "sim/echo", "?", "$0"]),
        ];
        lines(&COLUMNS, &rows, width)
    }

    #[test]
    fn with_room_everything_is_on_a_line() {
        let wide = [
            "Call           Command  Model                                 Max output       Cost",
            "019ab3c4-0000  batch    openai/gpt-5.4-nano with a long name     128,000  $0.000012",
            "019ab3c4-0001  chat     sim/echo                                       ?         $0",
        ];
        assert_eq!(table(None), wide);
        assert_eq!(table(Some(120)), wide);
        assert_eq!(table(Some(83)), wide);
    }

    #[test]
    fn without_room_extra_columns_go_first_and_then_words_are_wrapped() {
        assert_eq!(
            table(Some(82))[0],
            "Call           Model                                 Max output       Cost"
        );
        assert_eq!(
            table(Some(60)),
            [
                "Call           Model                                    Cost",
                "019ab3c4-0000  openai/gpt-5.4-nano with a long     $0.000012",
                "               name",
                "019ab3c4-0001  sim/echo                                   $0",
            ]
        );
        for width in 31..60 {
            assert!(table(Some(width))[0].split_whitespace().eq(["Call", "Model", "Cost"]), "{width}");
            assert!(table(Some(width))[1].starts_with("019ab3c4-0000  "), "{width}");
        }
    }

    #[test]
    fn what_moves_the_cursor_or_the_text_is_not_shown() {
        let lines = lines(&COLUMNS[2..3], &[vec!["a\u{1b}[2J\r\nb\u{202e}c\u{9b}d\te".to_owned()]], None);
        assert_eq!(lines, ["Model", "a\u{fffd}[2J\u{fffd}\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}e"]);
    }

    /// Words of all kinds: wide ones, composed ones, families, flags, what does not belong in a table.
    const PIECES: &[&str] = &[
        "a",
        "gpt-5.6",
        " ",
        "日本語",
        "e\u{301}",
        "한글",
        "👨‍👩‍👧‍👦",
        "🇩🇪",
        "👍🏽",
        "नमस्ते",
        "عربي",
        "ｗｉｄｅ",
        "☎️",
        "\u{1b}[31m",
        "\n",
        "\t",
        "\u{202e}",
        "\u{200b}",
        "a-very-long-word-that-has-to-be-split-somewhere",
    ];

    fn cell() -> impl Strategy<Value = String> {
        proptest::collection::vec(proptest::sample::select(PIECES), 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn a_table_is_never_wider_than_the_terminal(
            rows in proptest::collection::vec(proptest::collection::vec(cell(), 5), 0..6),
            width in 20_usize..140,
        ) {
            for line in lines(&COLUMNS, &rows, Some(width)) {
                prop_assert!(measure_text_width(&line) <= width, "{line:?}");
            }
        }

        #[test]
        fn columns_are_aligned_whatever_is_in_them(
            cells in proptest::collection::vec(cell(), 1..6),
            width in 20_usize..140,
        ) {
            let rows: Vec<_> = cells.into_iter().map(|cell| vec![cell, "9".to_owned()]).collect();
            let lines = lines(&[Column::text("Model"), Column::number("N")], &rows, Some(width));
            let ends: Vec<usize> =
                lines.iter().filter(|line| line.ends_with(['N', '9'])).map(|line| measure_text_width(line)).collect();
            prop_assert!(ends.len() > rows.len() && ends.windows(2).all(|pair| pair[0] == pair[1]), "{lines:#?}");
        }
    }
}
