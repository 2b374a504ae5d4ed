//! A record a line: plain prompts, or JSON.

use std::io::{BufRead, Read};

use super::error::InputError;
use super::record::{LARGEST, LARGEST_MIB, Record, clear, without_mark};
use crate::ops::batch::item::{LineError, LineFormat, parse};

/// The lines of a file, with their numbers.
pub(super) struct Text {
    reader: Box<dyn BufRead>,
    /// What to call the file.
    pub(super) name: String,
    /// The line last read, from 1.
    pub(super) number: u64,
    buffer: Vec<u8>,
}

/// What was read of a line.
pub(super) enum ReadLine<'a> {
    /// All of it, without its end, the first without a byte order mark.
    Line(&'a [u8]),
    /// It is too long; the next can be read.
    TooLong,
    /// There is none.
    End,
}

impl Text {
    pub(super) fn new(reader: Box<dyn BufRead>, name: String) -> Self {
        Self { reader, name, number: 0, buffer: Vec::new() }
    }

    /// The place of a line.
    pub(super) fn place(&self, number: u64) -> String {
        format!("{}:{number}", self.name)
    }

    pub(super) fn next(&mut self) -> Result<ReadLine<'_>, InputError> {
        clear(&mut self.buffer);
        let limit = LARGEST as u64 + 1;
        let read = self.reader.by_ref().take(limit).read_until(b'\n', &mut self.buffer);
        match read {
            Ok(0) => return Ok(ReadLine::End),
            Ok(_) => self.number += 1,
            Err(error) => return Err(InputError::read(&self.name, &error)),
        }
        if self.buffer.len() > LARGEST && self.buffer.last() != Some(&b'\n') {
            clear(&mut self.buffer);
            self.reader.skip_until(b'\n').map_err(|error| InputError::read(&self.name, &error))?;
            return Ok(ReadLine::TooLong);
        }
        Ok(ReadLine::Line(self.last()))
    }

    /// The line last read, if it was not too long.
    pub(super) fn last(&self) -> &[u8] {
        let line = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if self.number == 1 { without_mark(line) } else { line }
    }
}

/// The items of a file that has one in every line, blank ones left out.
pub(super) struct Lines {
    text: Text,
    /// Found by the first line where nothing else tells: JSON begins with `{` or `"`.
    format: Option<LineFormat>,
    templated: bool,
}

impl Lines {
    pub(super) fn new(text: Text, format: Option<LineFormat>, templated: bool) -> Self {
        Self { text, format, templated }
    }
}

impl Iterator for Lines {
    type Item = Result<Record, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (item, size) = match self.text.next() {
                Err(error) => return Some(Err(error)),
                Ok(ReadLine::End) => return None,
                Ok(ReadLine::TooLong) => (Err(LineError::TooLong(LARGEST_MIB)), 0),
                Ok(ReadLine::Line(line)) if line.iter().all(u8::is_ascii_whitespace) => continue,
                Ok(ReadLine::Line(line)) => {
                    let is_json = matches!(line.first(), Some(b'{' | b'"'));
                    let sniffed = if is_json { LineFormat::Jsonl } else { LineFormat::Txt };
                    let format = *self.format.get_or_insert(sniffed);
                    (parse(line, format, self.templated), line.len())
                }
            };
            return Some(Ok(Record { place: self.text.place(self.text.number), item, size }));
        }
    }
}
