//! `llmops calls export`: everything on record, for other programs.

use clap::{Args, ValueEnum};

use super::filter::FilterArgs;
use super::{COLUMNS, limit};
use crate::cli::args::{GlobalArgs, OUTPUT};
use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::cli::ui::print;
use crate::cli::{exit, format};
use crate::ops::calls::{CallDetail, CallSheetRow, Pages};

/// Print everything on record about calls, oldest first
///
/// Known secrets are masked.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:\n  \
    llmops calls export > calls.jsonl\n  \
    llmops calls export --since 7d --format csv > week.csv")]
pub(super) struct ExportArgs {
    /// The newest N; 0 is all of them
    #[arg(long, value_name = "N", default_value_t = 0)]
    last: u64,
    /// How to print them
    #[arg(long, value_name = "FORMAT", default_value = "jsonl", help_heading = OUTPUT)]
    format: ExportFormat,
    #[command(flatten)]
    filter: FilterArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ExportFormat {
    /// A JSON object a call, with its attempts, request and response
    Jsonl,
    /// A line a call, with the texts of the last question and of the answer
    Csv,
}

/// What CSV has beside the columns of a list.
const MORE: [&str; 5] = ["first_token_ms", "finish_reason", "error", "prompt", "answer"];

/// Calls are put together until there is this much to write.
const AT_ONCE: usize = 64 << 10;

pub(super) fn run(args: &ExportArgs, global: &GlobalArgs) -> Result<u8, CliError> {
    let session = Session::new(global)?;
    let filter = args.filter.filter(session.zone())?;
    let reader = session.reader()?;
    let columns = [&COLUMNS[..], &MORE].concat();
    let mut text = match args.format {
        ExportFormat::Jsonl => String::new(),
        ExportFormat::Csv => format::csv_header(&columns),
    };
    let mut pages = Pages::oldest(&reader, &filter, limit(args.last))?;
    while let Some(page) = pages.next_page()? {
        for listed in page {
            // One at a time: bodies may be large. What has been deleted in the meantime is left out.
            let Some(call) = reader.whole(listed.call.id)? else { continue };
            let call = CallDetail::from(call);
            text.push_str(&match args.format {
                ExportFormat::Jsonl => format::jsonl(&[call]),
                ExportFormat::Csv => format::csv_rows(&columns, &[CallSheetRow::from(call)]),
            });
            if text.len() >= AT_ONCE {
                print(&std::mem::take(&mut text))?;
            }
        }
    }
    print(&text)?;
    Ok(exit::DONE)
}
