//! Reading for the run: a thread of its own reads (standard input blocks) and hands over what it reads, a few
//! chunks ahead of whoever takes it. Chunks are bounded in lines and in bytes, so that huge lines do not queue
//! up; and what comes from a pipe comes a line at a time, since its next line may be hours away.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use tokio::sync::mpsc;

use super::error::InputError;
use super::record::Record;
use super::source::{Reader, Source};
use crate::ops::batch::item::{Item, LineError};

/// The most lines of a chunk, …
const LINES: usize = 64;

/// … and about the most bytes of input, unless one line is more.
const BYTES: usize = 1 << 20;

/// Chunks that may wait to be taken.
const CHUNKS_AHEAD: usize = 2;

/// What is to be read of the input.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reading {
    /// The first items only.
    pub limit: Option<u64>,
    /// Whether no two items may have one id. Lines of OpenAI's Batch API never may.
    pub unique_ids: bool,
}

/// One item of input.
#[derive(Debug)]
pub struct Line {
    /// Which item it is of the whole input, from 0.
    pub index: u64,
    /// Its place: `prompts.jsonl:17`.
    pub place: String,
    /// The item, or what is wrong with the line.
    pub item: Result<Item, LineError>,
}

/// What was read together: lines, and the error behind them.
type Chunk = (Vec<Line>, Option<InputError>);

/// The items of a batch, as they are read.
#[derive(Debug)]
pub struct Feed {
    chunks: mpsc::Receiver<Chunk>,
    lines: std::vec::IntoIter<Line>,
    error: Option<InputError>,
}

impl Feed {
    /// The next item. Nothing is lost if this is not waited for to the end.
    pub async fn next(&mut self) -> Option<Result<Line, InputError>> {
        loop {
            if let Some(next) = self.take() {
                return Some(next);
            }
            let chunk = self.chunks.recv().await?;
            self.turn_to(chunk);
        }
    }

    /// The same, outside of a runtime.
    pub fn blocking_next(&mut self) -> Option<Result<Line, InputError>> {
        loop {
            if let Some(next) = self.take() {
                return Some(next);
            }
            let chunk = self.chunks.blocking_recv()?;
            self.turn_to(chunk);
        }
    }

    /// The item that comes next, if one does.
    pub async fn peek(&mut self) -> Option<&Line> {
        while self.lines.as_slice().is_empty() && self.error.is_none() {
            let chunk = self.chunks.recv().await?;
            self.turn_to(chunk);
        }
        self.lines.as_slice().first()
    }

    fn take(&mut self) -> Option<Result<Line, InputError>> {
        self.lines.next().map(Ok).or_else(|| self.error.take().map(Err))
    }

    fn turn_to(&mut self, (lines, error): Chunk) {
        (self.lines, self.error) = (lines.into_iter(), error);
    }
}

/// Starts reading all sources, one after another.
pub fn read(sources: Vec<Source>, reading: Reading) -> Feed {
    let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
    // Not joined: it may wait for a terminal that nobody types at.
    std::thread::spawn(move || {
        let mut desk = Desk { sender, index: 0, ids: Ids::of(&sources, reading), reading };
        for source in &sources {
            if !desk.hand_over(source) {
                return;
            }
        }
    });
    Feed { chunks, lines: Vec::new().into_iter(), error: None }
}

/// The reading end.
struct Desk {
    sender: mpsc::Sender<Chunk>,
    index: u64,
    ids: Option<Ids>,
    reading: Reading,
}

impl Desk {
    /// Hands over what is in a source, and says whether there is any use in reading more.
    fn hand_over(&mut self, source: &Source) -> bool {
        let most = if source.is_rereadable() { LINES } else { 1 };
        let mut records = Reader::new(source, false);
        loop {
            let (mut lines, mut size, mut error, mut more) = (Vec::new(), 0, None, true);
            while more && lines.len() < most && size < BYTES {
                if self.reading.limit.is_some_and(|limit| self.index >= limit) {
                    more = false;
                    continue;
                }
                match records.next() {
                    Some(Ok(record)) => {
                        size += record.size;
                        lines.push(self.line(record));
                    }
                    Some(Err(reason)) => (error, more) = (Some(reason), false),
                    None => more = false,
                }
            }
            let (failed, is_empty) = (error.is_some(), lines.is_empty());
            let heard = (!failed && is_empty) || self.sender.blocking_send((lines, error)).is_ok();
            if failed || !heard || !more {
                return !failed && heard;
            }
        }
    }

    fn line(&mut self, record: Record) -> Line {
        let Record { place, mut item, .. } = record;
        if let (Some(ids), Ok(known)) = (&mut self.ids, &item)
            && let Some(key) = ids.repeated(known)
        {
            item = Err(LineError::Repeated(key));
        }
        self.index += 1;
        Line { index: self.index - 1, place, item }
    }
}

/// The ids of items that cannot be compared beforehand.
struct Ids {
    hash: RandomState,
    known: HashSet<u64>,
    all: bool,
}

impl Ids {
    /// None where all sources were checked.
    fn of(sources: &[Source], reading: Reading) -> Option<Self> {
        let checked = sources.iter().all(Source::is_rereadable);
        let ids = Self { hash: RandomState::new(), known: HashSet::new(), all: reading.unique_ids };
        (!checked).then_some(ids)
    }

    /// What an id is called that another item had.
    fn repeated(&mut self, item: &Item) -> Option<&'static str> {
        let id = item.id.as_ref().filter(|_| self.all || item.batch_line)?;
        (!self.known.insert(self.hash.hash_one(id))).then(|| item.id_key())
    }
}
