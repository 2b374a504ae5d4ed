//! Tables: aligned columns that fit the terminal, plain where there is none.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};

use super::ui::{Ui, width};

/// A column.
#[derive(Debug, Clone, Copy)]
pub(super) enum Column {
    /// Words, to the left.
    Text(&'static str),
    /// Numbers, to the right.
    Number(&'static str),
}

/// A table of these rows, ending with a newline.
pub(super) fn render(ui: &Ui, columns: &[Column], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    match width() {
        Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    let cell = |column: &Column, text: String| {
        let alignment = match column {
            Column::Text(_) => CellAlignment::Left,
            Column::Number(_) => CellAlignment::Right,
        };
        Cell::new(text).set_alignment(alignment)
    };
    table.set_header(columns.iter().map(|column| {
        let (Column::Text(name) | Column::Number(name)) = column;
        cell(column, (*name).to_owned())
    }));
    for row in rows {
        table.add_row(columns.iter().zip(row).map(|(column, text)| cell(column, text)));
    }
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    let mut text = String::new();
    for (number, line) in table.lines().enumerate() {
        let line = line.trim_end();
        // Styled after the widths are settled, so that escapes do not count.
        let line = if number == 0 { ui.style().bold().apply_to(line).to_string() } else { line.to_owned() };
        text.push_str(&line);
        text.push('\n');
    }
    text
}
