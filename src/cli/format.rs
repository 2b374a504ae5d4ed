//! Reports in the four forms there are: a table, JSON, JSON lines, CSV. One place decides how a row is written.

use serde::Serialize;
use serde_json::Value;

use super::args::ListFormat;

/// A list in the form that was asked for.
pub(super) fn list<T: Serialize>(
    form: ListFormat,
    columns: &[&str],
    rows: &[T],
    table: impl FnOnce() -> String,
) -> String {
    report(form, &rows, columns, rows, table)
}

/// A report in the form that was asked for: all of it as JSON, its rows as JSON lines and CSV.
pub(super) fn report<T: Serialize>(
    form: ListFormat,
    whole: &impl Serialize,
    columns: &[&str],
    rows: &[T],
    table: impl FnOnce() -> String,
) -> String {
    match form {
        ListFormat::Table => table(),
        ListFormat::Json => json(whole),
        ListFormat::Jsonl => jsonl(rows),
        ListFormat::Csv => csv(columns, rows),
    }
}

/// A pretty JSON document, ending with a newline.
pub(super) fn json(report: &impl Serialize) -> String {
    // Reports are plain data with string keys: they always serialise.
    let mut text = serde_json::to_string_pretty(report).unwrap_or_default();
    text.push('\n');
    text
}

/// A JSON object a line.
pub(super) fn jsonl<T: Serialize>(rows: &[T]) -> String {
    rows.iter().map(|row| serde_json::to_string(row).unwrap_or_default() + "\n").collect()
}

/// CSV with a header, in the order of the columns: nested objects become `outer.inner`. A column that
/// `columns` names is there even if no row has it.
pub(super) fn csv<T: Serialize>(columns: &[&str], rows: &[T]) -> String {
    csv_header(columns) + &csv_rows(columns, rows)
}

/// The first line of [`csv()`].
pub(super) fn csv_header(columns: &[&str]) -> String {
    csv_text(std::iter::once(columns.iter().map(|column| (*column).to_owned()).collect()))
}

/// The other lines of [`csv()`].
pub(super) fn csv_rows<T: Serialize>(columns: &[&str], rows: &[T]) -> String {
    csv_text(rows.iter().map(|row| {
        let row = serde_json::to_value(row).unwrap_or_default();
        columns.iter().map(|column| field(&row, column)).collect()
    }))
}

fn csv_text(records: impl Iterator<Item = Vec<String>>) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for record in records {
        // Writing into memory cannot fail, and every record has as many fields as the header.
        let _ = writer.write_record(record);
    }
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

fn field(row: &Value, path: &str) -> String {
    // A label may have a dot in its name.
    let value = row.get(path).or_else(|| path.split('.').try_fold(row, |value, name| value.get(name)));
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        // Spreadsheets do not read 1e-7.
        Some(Value::Number(number)) if number.is_f64() => plain(number.as_f64().unwrap_or_default()),
        Some(other) => other.to_string(),
    }
}

fn plain(number: f64) -> String {
    let text = format!("{number:.9}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
