//! Where input comes from: files, folders, pipes and standard input. A source is opened a file at a time,
//! each of which must stay what it was while it is read, and from the check to the run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use walkdir::{DirEntry, WalkDir};

use super::error::InputError;
use super::lines::{Lines, Text};
use super::record::{Record, Records};
use super::table::Table;
use super::tap::{Content, Seen, Tap};
use super::{whole, yaml};
use crate::domain::words::words;
use crate::ops::batch::item::LineFormat;

words! {
    /// How files are read.
    Format {
        /// Every line is a prompt.
        Txt = "txt",
        /// Every line is JSON.
        Jsonl = "jsonl",
        /// Comma-separated values under a header.
        Csv = "csv",
        /// Tab-separated values under a header.
        Tsv = "tsv",
        /// A YAML list.
        Yaml = "yaml",
        /// The whole file is a prompt.
        File = "file",
    }
}

/// What bytes are read through at once.
const BUFFER: usize = 64 << 10;

/// Where items come from.
#[derive(Debug, Clone)]
pub struct Source {
    /// What to call it in messages and output.
    pub name: String,
    kind: Kind,
    /// Found by the first line where nothing tells.
    format: Option<Format>,
    /// Whether a template makes the prompts.
    templated: bool,
    /// What it looked like from outside when it was first read.
    stamp: Arc<OnceLock<u64>>,
}

#[derive(Debug, Clone)]
enum Kind {
    Stdin,
    /// A FIFO or a device.
    Pipe(PathBuf),
    File(PathBuf),
    Folder(PathBuf),
}

impl Source {
    /// Everything that is named: files, folders, and standard input for `-`. Nothing may be named twice, since
    /// it would be paid for twice.
    pub fn all(paths: &[PathBuf], format: Option<Format>, templated: bool) -> Result<Vec<Self>, InputError> {
        let sources = paths.iter().map(|path| Self::new(path, format, templated));
        let sources = sources.collect::<Result<Vec<_>, _>>()?;
        let mut known = BTreeSet::new();
        let mut folders = BTreeMap::new();
        let mut wheres = Vec::new();
        for source in &sources {
            let path = match &source.kind {
                Kind::Stdin => PathBuf::from("-"),
                // A shell's `<(…)` is nowhere but in its name.
                Kind::Pipe(path) => path.clone(),
                Kind::File(path) | Kind::Folder(path) => {
                    path.canonicalize().map_err(|error| InputError::read(&source.name, &error))?
                }
            };
            if !known.insert(path.clone()) {
                return Err(InputError::Twice { name: source.name.clone(), within: None });
            }
            if matches!(source.kind, Kind::Folder(_)) {
                folders.insert(path.clone(), &source.name);
            }
            wheres.push((source, path));
        }
        for (source, path) in wheres {
            if let Some(folder) = path.ancestors().skip(1).find_map(|above| folders.get(above)) {
                let within = Some((*folder).clone());
                return Err(InputError::Twice { name: source.name.clone(), within });
            }
        }
        Ok(sources)
    }

    fn new(path: &Path, format: Option<Format>, templated: bool) -> Result<Self, InputError> {
        let stamp = Arc::default();
        if path == Path::new("-") {
            return Ok(Self { name: "stdin".into(), kind: Kind::Stdin, format, templated, stamp });
        }
        let name = path.display().to_string();
        let found = path.metadata().map_err(|error| InputError::read(&name, &error))?;
        let by_name = match path.extension().and_then(|extension| extension.to_str()) {
            Some("txt") => Some(Format::Txt),
            Some("jsonl" | "ndjson") => Some(Format::Jsonl),
            Some("csv") => Some(Format::Csv),
            Some("tsv") => Some(Format::Tsv),
            Some("yaml" | "yml") => Some(Format::Yaml),
            _ => None,
        };
        let path = path.to_owned();
        let (kind, format) = if found.is_dir() {
            (Kind::Folder(path), format.or(Some(Format::File)))
        } else if found.is_file() {
            let format = format.or(by_name).ok_or_else(|| InputError::Format(name.clone()))?;
            (Kind::File(path), Some(format))
        } else {
            (Kind::Pipe(path), format.or(by_name))
        };
        Ok(Self { name, kind, format, templated, stamp })
    }

    /// Where it is; none for standard input.
    pub fn path(&self) -> Option<&Path> {
        match &self.kind {
            Kind::Stdin => None,
            Kind::Pipe(path) | Kind::File(path) | Kind::Folder(path) => Some(path),
        }
    }

    /// Whether it can be read more than once.
    pub fn is_rereadable(&self) -> bool {
        matches!(self.kind, Kind::File(_) | Kind::Folder(_))
    }

    /// Its files, in order.
    fn files(&self) -> Box<dyn Iterator<Item = Result<PathBuf, InputError>>> {
        match &self.kind {
            Kind::Stdin => Box::new(std::iter::once(Ok(PathBuf::from("-")))),
            Kind::Pipe(path) | Kind::File(path) => Box::new(std::iter::once(Ok(path.clone()))),
            Kind::Folder(path) => Box::new(walk(path)),
        }
    }
}

/// The regular files in a folder and those in it, sorted, without hidden ones. A link to a file is that file;
/// one to a folder is not followed, since it may lead in circles.
fn walk(folder: &Path) -> impl Iterator<Item = Result<PathBuf, InputError>> + use<> {
    let is_hidden =
        |entry: &DirEntry| entry.depth() > 0 && entry.file_name().to_string_lossy().starts_with('.');
    let name = folder.display().to_string();
    let entries = WalkDir::new(folder).sort_by_file_name().into_iter();
    entries.filter_entry(move |entry| !is_hidden(entry)).filter_map(move |entry| match entry {
        Ok(entry) if entry.file_type().is_file() => Some(Ok(entry.into_path())),
        Ok(entry) if entry.path_is_symlink() && entry.depth() > 0 => match entry.path().metadata() {
            Ok(found) if found.is_file() => Some(Ok(entry.into_path())),
            Ok(_) => None,
            Err(error) => Some(Err(InputError::read(&entry.path().display().to_string(), &error))),
        },
        Ok(_) => None,
        Err(error) => {
            let at = error.path().map_or_else(|| name.clone(), |path| path.display().to_string());
            let reason = error.into_io_error().unwrap_or_else(|| io::ErrorKind::Other.into());
            Some(Err(InputError::read(&at, &reason)))
        }
    })
}

/// A source that is being read. It ends with its first error.
pub(super) struct Reader<'a> {
    source: &'a Source,
    files: Box<dyn Iterator<Item = Result<PathBuf, InputError>>>,
    open: Option<Open>,
    seen: Option<Seen>,
    stamp: DefaultHasher,
    has_files: bool,
    ended: bool,
}

/// A file of it.
struct Open {
    records: Records,
    /// None for what is no regular file.
    file: Option<(String, File, u64)>,
}

impl<'a> Reader<'a> {
    /// Reads a source, and notes what is in it if that is asked for.
    pub(super) fn new(source: &'a Source, noting: bool) -> Self {
        Self {
            source,
            files: source.files(),
            open: None,
            seen: noting.then(Seen::default),
            stamp: DefaultHasher::new(),
            has_files: false,
            ended: false,
        }
    }

    fn read(&mut self) -> Result<Option<Record>, InputError> {
        loop {
            if let Some(open) = &mut self.open {
                if let Some(record) = open.records.next() {
                    return record.map(Some);
                }
                self.close()?;
            }
            match self.files.next() {
                Some(path) => self.open(&path?)?,
                None => return self.end().map(|()| None),
            }
        }
    }

    fn open(&mut self, path: &Path) -> Result<(), InputError> {
        let name = match self.source.kind {
            Kind::Stdin => self.source.name.clone(),
            _ => path.display().to_string(),
        };
        self.has_files = true;
        let read_error = |error: io::Error| InputError::read(&name, &error);
        if matches!(self.source.kind, Kind::Stdin) {
            let records = records(Box::new(BufReader::new(io::stdin())), name, self.source);
            self.open = Some(Open { records, file: None });
            return Ok(());
        }
        let file = File::open(path).map_err(read_error)?;
        let watched =
            self.source.is_rereadable().then(|| file.try_clone()).transpose().map_err(read_error)?;
        let seen = self.seen.clone();
        let watched = match watched {
            Some(copy) => {
                let looks = looks_of(&copy.metadata().map_err(read_error)?);
                self.check_in(path, looks)?;
                Some((name.clone(), copy, looks))
            }
            None => None,
        };
        let reader = BufReader::with_capacity(BUFFER, Tap::new(file, seen));
        let records = records(Box::new(reader), name, self.source);
        self.open = Some(Open { records, file: watched });
        Ok(())
    }

    /// Compares a file with what it was when the source was read before.
    fn check_in(&mut self, path: &Path, looks: u64) -> Result<(), InputError> {
        (path, looks).hash(&mut self.stamp);
        match &self.source.kind {
            Kind::Folder(folder) => {
                let relative = path.strip_prefix(folder).unwrap_or(path);
                if let Some(seen) = &self.seen {
                    seen.note(relative.as_os_str().as_encoded_bytes());
                }
                Ok(())
            }
            // What lies in a folder is known only behind its last file.
            _ => self.compare(),
        }
    }

    fn compare(&self) -> Result<(), InputError> {
        let now = self.stamp.finish();
        let known = self.source.stamp.get_or_init(|| now);
        if *known == now { Ok(()) } else { Err(InputError::Changed(self.source.name.clone())) }
    }

    /// Reads what is left of the open file, and sees that it still is what it was.
    fn close(&mut self) -> Result<(), InputError> {
        let Some(Open { file: Some((name, file, looked)), .. }) = self.open.take() else { return Ok(()) };
        let read_error = |error: io::Error| InputError::read(&name, &error);
        let copy = file.try_clone().map_err(read_error)?;
        Tap::new(copy, self.seen.clone()).drain().map_err(read_error)?;
        let looks = looks_of(&file.metadata().map_err(read_error)?);
        if looks == looked { Ok(()) } else { Err(InputError::Changed(name)) }
    }

    fn end(&mut self) -> Result<(), InputError> {
        if !matches!(self.source.kind, Kind::Folder(_)) {
            return Ok(());
        }
        if self.has_files { self.compare() } else { Err(InputError::NoFiles(self.source.name.clone())) }
    }

    /// What is in the source, all of it: what is not read yet is not made into records.
    pub(super) fn content(mut self) -> Result<Content, InputError> {
        if !self.ended {
            self.close()?;
            while let Some(path) = self.files.next() {
                self.open(&path?)?;
                self.close()?;
            }
            self.end()?;
        }
        Ok(self.seen.unwrap_or_default().content())
    }
}

impl Iterator for Reader<'_> {
    type Item = Result<Record, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let record = self.read().transpose();
        self.ended = !matches!(record, Some(Ok(_)));
        record
    }
}

/// What tells a file from another, or from what it was.
fn looks_of(found: &Metadata) -> u64 {
    let mut looks = DefaultHasher::new();
    (found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()).hash(&mut looks);
    looks.finish()
}

/// The records of a file.
fn records(reader: Box<dyn BufRead>, name: String, source: &Source) -> Records {
    let templated = source.templated;
    let lines = |reader, format| Box::new(Lines::new(Text::new(reader, name.clone()), format, templated));
    match source.format {
        None => lines(reader, None),
        Some(Format::Txt) => lines(reader, Some(LineFormat::Txt)),
        Some(Format::Jsonl) => lines(reader, Some(LineFormat::Jsonl)),
        Some(Format::Csv) => Box::new(Table::new(reader, name, b',', templated)),
        Some(Format::Tsv) => Box::new(Table::new(reader, name, b'\t', templated)),
        Some(Format::Yaml) => Box::new(yaml::Items::new(Text::new(reader, name), templated)),
        Some(Format::File) => Box::new(std::iter::once(whole::read(reader, &name))),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn source(path: &Path) -> Source {
        Source::all(&[path.to_owned()], None, false).unwrap().remove(0)
    }

    /// What is in a source of which so many items are read.
    fn content(path: &Path, items: usize) -> Content {
        let source = source(path);
        let mut records = Reader::new(&source, true);
        assert_eq!(records.by_ref().take(items).map(Result::unwrap).count(), items);
        records.content().unwrap()
    }

    #[test]
    fn a_file_is_known_by_all_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in.txt");
        fs::write(&path, "one\ntwo\n".repeat(50_000)).unwrap();
        let whole = content(&path, 100_000);
        assert_eq!(whole.bytes, 400_000);
        for items in [0, 1, 70_000] {
            assert_eq!(content(&path, items), whole);
        }
        fs::write(&path, "abc").unwrap();
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned();
        assert_eq!(content(&path, 1), Content { bytes: 3, sha256 });
    }

    #[test]
    fn a_folder_is_known_by_the_names_and_the_text_of_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("a", "one");
        write("b", "two");
        let first = content(folder.path(), 2);
        assert_eq!((content(folder.path(), 0), first.bytes), (first.clone(), 6));
        write("a", "onet");
        write("b", "wo");
        assert_ne!(content(folder.path(), 2), first);
        write("a", "one");
        write("b", "two");
        assert_eq!(content(folder.path(), 2), first);
        fs::rename(folder.path().join("b"), folder.path().join("c")).unwrap();
        assert_ne!(content(folder.path(), 2), first);
    }

    #[test]
    fn what_is_read_again_is_what_was_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in.txt");
        fs::write(&path, "one\n").unwrap();
        for path in [path.as_path(), folder.path()] {
            let source = source(path);
            assert!(Reader::new(&source, false).all(|record| record.is_ok()));
            assert!(Reader::new(&source, false).all(|record| record.is_ok()));
            fs::write(folder.path().join("in.txt"), "three\n").unwrap();
            let error = Reader::new(&source, false).find_map(Result::err).unwrap();
            assert!(matches!(error, InputError::Changed(_)), "{error}");
        }
    }
}
