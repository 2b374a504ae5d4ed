//! Reading batches: line by line, so that memory does not grow with the file. Regular files are read
//! twice, first to check every line before any call is made; whatever can be read only once (standard
//! input, a FIFO) is checked as it comes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use tokio::sync::mpsc;

use super::item::{Item, LineError, LineFormat, OWN_KEYS, parse};
use crate::pipeline::CallContext;
use crate::policy::template::{self, PROMPT, TemplateError};

/// Lines that may wait to be sent, beyond those in flight.
const LINES_AHEAD: usize = 256;

/// The longest line that is read.
const LONGEST_LINE: u64 = 64 << 20;

/// Where items come from.
#[derive(Debug, Clone)]
pub struct Source {
    /// What to call it in messages and output.
    pub name: String,
    path: Option<PathBuf>,
    format: Option<LineFormat>,
    rereadable: bool,
    /// Whether a template makes the prompts.
    templated: bool,
}

/// One line of input.
#[derive(Debug)]
pub struct Line {
    /// Its place: `prompts.jsonl:17`.
    pub place: String,
    /// The item, or what is wrong with the line.
    pub item: Result<Item, LineError>,
}

/// Why input cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A file cannot be read.
    #[error("cannot read {name}: {reason}")]
    Read {
        /// The file.
        name: String,
        /// What the system said.
        reason: String,
    },
    /// A folder, which has no lines.
    #[error("{0} is a folder")]
    Folder(String),
    /// A file whose name does not tell how to read it.
    #[error("cannot tell the format of {0} by its name")]
    Format(String),
    /// A line is not an item.
    #[error("{place}{}: {reason}", .reason.column().map(|column| format!(":{column}")).unwrap_or_default())]
    Line {
        /// `file:line`
        place: String,
        /// What is wrong.
        reason: LineError,
    },
    /// The template is none.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// There is nothing to do.
    #[error("no prompts in {0}")]
    Empty(String),
}

/// What a first reading found.
#[derive(Debug, Default)]
pub struct Checked {
    /// How many items there are, if all sources could be read.
    pub total: Option<u64>,
    /// The models that lines name, each with the first line that does; none where a line names none.
    pub models: BTreeMap<Option<String>, String>,
    /// Keys beside a `prompt` that nothing uses.
    pub unused: BTreeSet<String>,
}

impl Source {
    /// A file, or standard input for `-`.
    pub fn new(path: &Path, format: Option<LineFormat>, templated: bool) -> Result<Self, InputError> {
        if path == Path::new("-") {
            return Ok(Self { name: "stdin".into(), path: None, format, rereadable: false, templated });
        }
        let name = path.display().to_string();
        let kind = path.metadata().map_err(|error| read_error(&name, &error))?;
        if kind.is_dir() {
            return Err(InputError::Folder(name));
        }
        let rereadable = kind.is_file();
        let by_name = match path.extension().and_then(|extension| extension.to_str()) {
            Some("txt") => Some(LineFormat::Txt),
            Some("jsonl" | "ndjson") => Some(LineFormat::Jsonl),
            _ => None,
        };
        let format = format.or(by_name);
        if format.is_none() && rereadable {
            return Err(InputError::Format(name));
        }
        Ok(Self { name, path: Some(path.to_owned()), format, rereadable, templated })
    }

    fn open(&self) -> Result<Lines, InputError> {
        let reader: Box<dyn BufRead> = match &self.path {
            None => Box::new(BufReader::new(io::stdin())),
            Some(path) => {
                let file = File::open(path).map_err(|error| read_error(&self.name, &error))?;
                Box::new(BufReader::with_capacity(64 << 10, file))
            }
        };
        Ok(Lines {
            reader,
            name: self.name.clone(),
            format: self.format,
            templated: self.templated,
            number: 0,
            buffer: Vec::new(),
        })
    }
}

fn read_error(name: &str, error: &io::Error) -> InputError {
    InputError::Read { name: name.to_owned(), reason: error.to_string() }
}

/// The lines of a source, blank ones left out.
struct Lines {
    reader: Box<dyn BufRead>,
    name: String,
    /// Found by the first line where nothing else tells: JSON begins with `{` or `"`.
    format: Option<LineFormat>,
    templated: bool,
    number: u64,
    buffer: Vec<u8>,
}

impl Iterator for Lines {
    type Item = Result<Line, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.buffer.clear();
            let read = self.reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut self.buffer);
            match read {
                Ok(0) => return None,
                Ok(_) => self.number += 1,
                Err(error) => return Some(Err(read_error(&self.name, &error))),
            }
            let place = format!("{}:{}", self.name, self.number);
            if self.buffer.len() as u64 == LONGEST_LINE && self.buffer.last() != Some(&b'\n') {
                return Some(Err(InputError::Line { place, reason: LineError::TooLong(LONGEST_LINE >> 20) }));
            }
            let line = trim(&self.buffer, self.number == 1);
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let sniffed =
                if matches!(line.first(), Some(b'{' | b'"')) { LineFormat::Jsonl } else { LineFormat::Txt };
            let format = *self.format.get_or_insert(sniffed);
            let item = parse(line, format, self.templated);
            return Some(Ok(Line { place, item }));
        }
    }
}

/// A line without its end, and the first without a byte order mark.
fn trim(line: &[u8], first: bool) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if first { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line }
}

/// Reads every file through, and stops at the first line that is not an item, or of which the template in
/// `context` makes no text.
pub fn check(sources: &[Source], limit: Option<u64>, context: &CallContext) -> Result<Checked, InputError> {
    let mut checked = Checked::default();
    let mut total = 0;
    let used = context.overrides.template.as_ref().map(template::variables).transpose()?;
    let is_used = |key: &str| match &used {
        Some(used) => used.contains(key) || OWN_KEYS.contains(&key) || key == PROMPT,
        None => false,
    };
    for source in sources.iter().filter(|source| source.rereadable) {
        for line in source.open()? {
            if limit.is_some_and(|limit| total >= limit) {
                break;
            }
            let Line { place, item } = line?;
            let item = item.map_err(|reason| InputError::Line { place: place.clone(), reason })?;
            checked.unused.extend(item.variables.keys().filter(|key| !is_used(key)).cloned());
            checked.models.entry(item.request.model().map(str::to_owned)).or_insert_with(|| place.clone());
            if used.is_some() {
                let (mut request, context) = item.into_call(context.clone());
                let filled = context.fill(&mut request);
                filled.map_err(|reason| InputError::Line { place, reason: reason.into() })?;
            }
            total += 1;
        }
    }
    let all_read = sources.iter().all(|source| source.rereadable);
    if all_read && total == 0 && limit != Some(0) {
        let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
        return Err(InputError::Empty(names.join(", ")));
    }
    checked.total = all_read.then_some(total);
    Ok(checked)
}

/// Reads all sources in a thread of its own (reading standard input blocks) and hands over their lines.
pub fn read(sources: Vec<Source>, limit: Option<u64>) -> mpsc::Receiver<Result<Line, InputError>> {
    let (sender, lines) = mpsc::channel(LINES_AHEAD);
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    // Not joined: it may wait for a terminal that nobody types at.
    std::thread::spawn(move || {
        let lines = sources.iter().flat_map(|source| match source.open() {
            Ok(lines) => Box::new(lines) as Box<dyn Iterator<Item = _>>,
            Err(error) => Box::new(std::iter::once(Err(error))),
        });
        for line in lines.take(limit) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}
