//! Smallest, middle and largest of a few runs, and the lines that show them. No mean and no
//! deviation: with this few runs on a shared machine they would say less than the extremes.

use std::fmt::Write as _;

/// The three numbers that every figure is shown as.
#[derive(Clone, Copy)]
pub struct Spread {
    /// The smallest value.
    min: f64,
    /// The middle value, or the mean of the middle two.
    median: f64,
    /// The largest value.
    max: f64,
}

impl Spread {
    /// The spread of some values; zeros when there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let half = values.len() / 2;
        let at = |index: usize| values.get(index).copied().unwrap_or_default();
        let median = if values.len() % 2 == 1 {
            at(half)
        } else {
            f64::midpoint(at(half.saturating_sub(1)), at(half))
        };
        Self { min: at(0), median, max: at(values.len().saturating_sub(1)) }
    }

    /// One cell: `min / median / max`.
    pub fn cell(&self, decimals: usize) -> String {
        let Self { min, median, max } = self;
        format!("{min:.decimals$} / {median:.decimals$} / {max:.decimals$}")
    }
}

/// Prints rows of cells under a heading, each column as wide as it needs to be.
pub fn table(title: &str, rows: &[Vec<String>]) {
    println!("\n{title}");
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let mut line = String::from(" ");
        for (cell, width) in row.iter().zip(&widths) {
            // Writing into a string does not fail.
            let _written = write!(line, " {cell:<width$} ");
        }
        println!("{}", line.trim_end());
    }
}

/// A row of owned cells.
pub fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.into_iter().map(str::to_owned).collect()
}
