//! Finding ids that are there twice among any number of them, in little memory: hashes of 128 bits are sorted
//! in runs of a fixed size, the runs written to an unnamed temporary file and merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

/// Ids that are sorted at once: 1.5 MB.
const RUN: usize = 1 << 16;

/// What is read of a run at once.
const AT_ONCE: usize = 8 << 10;

/// The two halves of an id's hash, and which item it is of.
type Entry = [u64; 3];

const ENTRY: usize = size_of::<Entry>();

/// Ids of items, in the order of the items.
pub(super) struct Duplicates {
    keys: (RandomState, RandomState),
    run: Vec<Entry>,
    size: usize,
    /// Full runs, once there are any.
    file: Option<BufWriter<File>>,
    runs: u64,
}

/// Two items with one id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    /// The one before it, by its index.
    pub(super) earlier: u64,
    /// The first that repeats an id, by its index.
    pub(super) later: u64,
}

impl Duplicates {
    pub(super) fn new() -> Self {
        Self::with_runs_of(RUN)
    }

    fn with_runs_of(size: usize) -> Self {
        Self { keys: (RandomState::new(), RandomState::new()), run: Vec::new(), size, file: None, runs: 0 }
    }

    /// Notes the id of an item.
    pub(super) fn add(&mut self, id: &str, index: u64) -> io::Result<()> {
        if self.run.len() == self.size {
            self.flush()?;
        }
        self.run.push([self.keys.0.hash_one(id), self.keys.1.hash_one(id), index]);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.run.sort_unstable();
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(BufWriter::new(tempfile::tempfile()?)),
        };
        for number in self.run.drain(..).flatten() {
            file.write_all(&number.to_le_bytes())?;
        }
        self.runs += 1;
        Ok(())
    }

    /// The first item whose id another had before it.
    pub(super) fn first(mut self) -> io::Result<Option<Pair>> {
        self.run.sort_unstable();
        let last = std::mem::take(&mut self.run);
        let Some(file) = self.file.take() else { return first_of(last.into_iter().map(Ok)).transpose() };
        let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        let length = (self.size * ENTRY) as u64;
        let mut runs: Vec<Box<dyn Iterator<Item = io::Result<Entry>> + '_>> = Vec::new();
        for run in 0..self.runs {
            runs.push(Box::new(Run::new(&file, run * length, length)));
        }
        runs.push(Box::new(last.into_iter().map(Ok)));
        first_of(Merge::new(runs)?).transpose()
    }
}

/// The first repetition, by index, among sorted entries.
fn first_of(entries: impl Iterator<Item = io::Result<Entry>>) -> Option<io::Result<Pair>> {
    let mut found: Option<Pair> = None;
    let mut last: Option<Entry> = None;
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return Some(Err(error)),
        };
        let ([a, b, later], first) = (entry, last.replace(entry));
        let Some([_, _, earlier]) = first.filter(|first| first[..2] == [a, b]) else { continue };
        if found.is_none_or(|found| later < found.later) {
            found = Some(Pair { earlier, later });
        }
    }
    found.map(Ok)
}

/// A run in the file.
struct Run<'a>(BufReader<io::Take<At<'a>>>);

/// A file, read from a place of its own.
struct At<'a>(&'a File, u64);

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read_at(buffer, self.1)?;
        self.1 += read as u64;
        Ok(read)
    }
}

impl<'a> Run<'a> {
    fn new(file: &'a File, start: u64, length: u64) -> Self {
        Self(BufReader::with_capacity(AT_ONCE, At(file, start).take(length)))
    }

    fn read(&mut self) -> io::Result<Entry> {
        let mut entry = [0; 3];
        for number in &mut entry {
            let mut bytes = [0; 8];
            self.0.read_exact(&mut bytes)?;
            *number = u64::from_le_bytes(bytes);
        }
        Ok(entry)
    }
}

impl Iterator for Run<'_> {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.read();
        let ended = matches!(&entry, Err(error) if error.kind() == io::ErrorKind::UnexpectedEof);
        (!ended).then_some(entry)
    }
}

/// Sorted runs as one.
struct Merge<I> {
    runs: Vec<I>,
    heads: BinaryHeap<Reverse<(Entry, usize)>>,
}

impl<I: Iterator<Item = io::Result<Entry>>> Merge<I> {
    fn new(mut runs: Vec<I>) -> io::Result<Self> {
        let mut heads = BinaryHeap::new();
        for (at, run) in runs.iter_mut().enumerate() {
            heads.extend(run.next().transpose()?.map(|entry| Reverse((entry, at))));
        }
        Ok(Self { runs, heads })
    }
}

impl<I: Iterator<Item = io::Result<Entry>>> Iterator for Merge<I> {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse((entry, at)) = self.heads.pop()?;
        match self.runs.get_mut(at).and_then(Iterator::next) {
            Some(Ok(next)) => self.heads.push(Reverse((next, at))),
            Some(Err(error)) => return Some(Err(error)),
            None => {}
        }
        Some(Ok(entry))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_repetition_is_found_whatever_the_size_of_runs(ids in vec(0_u16..60, 0..40), size in 1_usize..12) {
            let mut duplicates = Duplicates::with_runs_of(size);
            let mut known = HashMap::new();
            let mut expected = None;
            for (index, id) in (0..).zip(&ids) {
                duplicates.add(&id.to_string(), index).unwrap();
                if let Some(earlier) = known.insert(id, index) {
                    expected = expected.or(Some(Pair { earlier, later: index }));
                }
            }
            prop_assert_eq!(duplicates.first().unwrap(), expected);
        }
    }
}
