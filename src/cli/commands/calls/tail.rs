//! `llmops calls tail`: the last calls, and with `-f` those to come, whichever process makes them.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::filter::FilterArgs;
use super::{COLUMNS, limit, list};
use crate::cli::args::{GlobalArgs, ListArgs, ListFormat};
use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::cli::signals::heeding;
use crate::cli::table::{Column, Rolling};
use crate::cli::ui::{Ui, stdout_is_gone};
use crate::cli::{exit, format, out, session};
use crate::domain::call::CallSummary;
use crate::domain::filter::CallFilter;
use crate::domain::zone::Zone;
use crate::ops::calls::{CallRow, Pages};
use crate::ops::output::Output;
use crate::store::{Page, Reader, StoreError, Stored};

/// How often a look is taken at what other processes have recorded.
const POLL: Duration = Duration::from_millis(250);

/// Calls that are read at once.
const AT_ONCE: u64 = 500;

/// List the last calls, oldest first, and with -f those to come
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:\n  \
    llmops calls tail\n  \
    llmops calls tail -f --command batch\n  \
    llmops calls tail --last 0 --format jsonl > calls.jsonl")]
pub(super) struct TailArgs {
    /// Go on with calls as they are recorded, by any process, until ^C
    #[arg(short, long)]
    follow: bool,
    /// Begin with the newest N; 0 is all of them
    #[arg(long, value_name = "N", default_value_t = 10)]
    last: u64,
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    filter: FilterArgs,
}

pub(super) fn run(args: &TailArgs, global: &GlobalArgs, ui: &Ui) -> Result<u8, CliError> {
    if args.follow && args.list.format == ListFormat::Json {
        let hint = "--format jsonl prints each call as it comes";
        return Err(CliError::usage("--format json is for a list that ends, and with -f it does not", hint));
    }
    let session = Session::new(global)?;
    let zone = session.zone();
    let filter = args.filter.filter(zone)?;
    let cancel = CancellationToken::new();
    let view =
        View { ui, format: args.list.format, out: out::stdout(), table: table(), zone, cancel: &cancel };
    let runtime = session::runtime()?;
    let work = async {
        let Some(reader) = open(args.follow, &session, &cancel).await? else { return Ok(()) };
        let seq = show_last(&view, args, &reader, &filter).await?;
        if args.follow { follow(&view, &reader, &filter, seq).await } else { Ok(()) }
    };
    match runtime.block_on(heeding(work, |_| cancel.cancel()))? {
        (_, Some(code)) => Ok(code),
        (result, None) => result.map(|()| exit::DONE),
    }
}

/// Opens the store. Whoever follows waits for one to be made; nothing, once nobody waits any more.
async fn open(
    follow: bool,
    session: &Session,
    cancel: &CancellationToken,
) -> Result<Option<Reader>, CliError> {
    if !follow {
        return session.reader().map(Some);
    }
    let path = session.store_file()?;
    loop {
        if let Some(reader) = made(&path)? {
            return Ok(Some(reader));
        }
        if !next_look(cancel).await {
            return Ok(None);
        }
    }
}

fn made(path: &Path) -> Result<Option<Reader>, StoreError> {
    match Reader::open_made(path) {
        Err(StoreError::Missing(_)) => Ok(None),
        opened => opened,
    }
}

/// Waits until it is time to look again; not if nobody reads what is found.
async fn next_look(cancel: &CancellationToken) -> bool {
    tokio::select! {
        biased;
        () = cancel.cancelled() => false,
        () = tokio::time::sleep(POLL) => !stdout_is_gone(),
    }
}

/// Shows the last calls there are, and returns how far they go.
async fn show_last(
    view: &View<'_>,
    args: &TailArgs,
    reader: &Reader,
    filter: &CallFilter,
) -> Result<i64, CliError> {
    let seq = reader.last_seq()?;
    let mut pages = Pages::oldest(reader, filter, limit(args.last))?;
    let mut all = Vec::new();
    let mut begun = args.follow;
    if begun {
        view.begin().await?;
    }
    while let Some(mut page) = pages.next_page()? {
        // What has been recorded in the meantime comes later.
        page.retain(|call| !args.follow || call.seq <= seq);
        if view.format == ListFormat::Json {
            all.extend(page.into_iter().map(CallRow::from));
            continue;
        }
        if !std::mem::replace(&mut begun, true) {
            view.begin().await?;
        }
        view.rows(page).await?;
    }
    match view.format {
        ListFormat::Json => view.put(format::json(&all)).await?,
        ListFormat::Table if !begun => view.put(list::none(filter).to_owned()).await?,
        ListFormat::Csv if !begun => view.begin().await?,
        _ => {}
    }
    Ok(seq)
}

/// Shows calls as they are recorded, in that order.
async fn follow(view: &View<'_>, reader: &Reader, filter: &CallFilter, mut seq: i64) -> Result<(), CliError> {
    // None yet: what was recorded while the last calls were shown is found at the first look.
    let mut seen = None;
    while next_look(view.cancel).await {
        let version = reader.data_version()?;
        if seen.replace(version) == Some(version) {
            continue;
        }
        let newest = reader.last_seq()?;
        // Once the newest calls are deleted, their numbers are given again.
        seq = seq.min(newest);
        loop {
            let page = reader.page(filter, Page::Recorded(seq), AT_ONCE)?;
            let Some(last) = page.last() else { break };
            seq = last.seq;
            view.rows(page).await?;
        }
        seq = seq.max(newest);
    }
    Ok(())
}

/// Where rows go, and in which form.
struct View<'a> {
    ui: &'a Ui,
    format: ListFormat,
    out: Output,
    table: Rolling,
    zone: Zone,
    cancel: &'a CancellationToken,
}

impl View<'_> {
    async fn begin(&self) -> Result<(), CliError> {
        match self.format {
            ListFormat::Csv => self.put(format::csv_header(&COLUMNS)).await,
            ListFormat::Table => self.put(self.table.header(self.ui)).await,
            ListFormat::Json | ListFormat::Jsonl => Ok(()),
        }
    }

    async fn rows(&self, calls: Vec<Stored<CallSummary>>) -> Result<(), CliError> {
        let rows: Vec<CallRow> = calls.into_iter().map(CallRow::from).collect();
        self.put(match self.format {
            ListFormat::Csv => format::csv_rows(&COLUMNS, &rows),
            ListFormat::Table => rows.iter().map(|row| self.line(row)).collect(),
            ListFormat::Json | ListFormat::Jsonl => format::jsonl(&rows),
        })
        .await
    }

    fn line(&self, row: &CallRow) -> String {
        self.table.line(&list::cells(row, &row.call_id.to_string(), self.zone)) + "\n"
    }

    async fn put(&self, text: String) -> Result<(), CliError> {
        self.out.write(text.into_bytes(), self.cancel).await.map_err(CliError::Stdout)
    }
}

/// The columns of [`list::cells`], as wide as they usually need.
fn table() -> Rolling {
    Rolling::new(&[
        (Column::text("Call").whole(), 36),
        (Column::text("Time").whole().extra(2), 19),
        (Column::text("Command").extra(6), 7),
        (Column::text("Model"), 22),
        (Column::text("Status").whole().extra(1), 9),
        (Column::number("Tries").extra(7), 5),
        (Column::number("Input").extra(4), 7),
        (Column::number("Output").extra(5), 7),
        (Column::number("Cost").extra(3), 12),
        (Column::number("Latency").extra(6), 8),
    ])
}
