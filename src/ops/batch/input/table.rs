//! A record a row: comma- or tab-separated values under a header, quoted as in RFC 4180. Strictly: text
//! behind a closing quote, and a quote that is never closed, are mistakes whose place is worth more than a
//! guess at what they mean. That, the lines and a bound on a row are why this is not left to a crate.

use std::collections::BTreeSet;
use std::io::BufRead;

use super::error::InputError;
use super::record::{LARGEST, LARGEST_MIB, Record, clear, without_mark};
use crate::ops::batch::item::{Item, LineError};
use crate::policy::template::PROMPT;

/// The items of a table.
pub(super) struct Table {
    reader: Box<dyn BufRead>,
    name: String,
    templated: bool,
    row: Row,
    /// None until the header was read.
    columns: Option<Vec<String>>,
    header_line: u64,
    has_rows: bool,
    ended: bool,
}

/// Between which bytes of a row the reading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Where a field begins.
    Start,
    Plain,
    Quoted,
    /// Behind a quote that ends the field, unless another follows.
    Closing,
}

/// The row that is being read.
struct Row {
    delimiter: u8,
    state: State,
    /// The text of all fields.
    data: Vec<u8>,
    /// Where in it each field ends.
    ends: Vec<usize>,
    /// Where the row begins.
    line: u64,
    next_line: u64,
    quote_line: u64,
    has_quotes: bool,
    fault: Option<LineError>,
}

impl Row {
    fn new(delimiter: u8) -> Self {
        Self {
            delimiter,
            state: State::Start,
            data: Vec::new(),
            ends: Vec::new(),
            line: 1,
            next_line: 1,
            quote_line: 1,
            has_quotes: false,
            fault: None,
        }
    }

    fn begin(&mut self) {
        clear(&mut self.data);
        self.ends.clear();
        (self.state, self.line, self.has_quotes, self.fault) = (State::Start, self.next_line, false, None);
    }

    /// Whether it ends with this byte.
    fn take(&mut self, byte: u8) -> bool {
        match (self.state, byte) {
            (State::Start, b'"') => {
                (self.state, self.quote_line, self.has_quotes) = (State::Quoted, self.next_line, true);
            }
            (State::Quoted, b'"') => self.state = State::Closing,
            (State::Quoted, byte) => {
                self.next_line += u64::from(byte == b'\n');
                self.data.push(byte);
            }
            (_, b'\n') => {
                self.next_line += 1;
                self.end();
                return true;
            }
            (_, byte) if byte == self.delimiter => {
                self.ends.push(self.data.len());
                self.state = State::Start;
            }
            (State::Closing, b'"') => {
                self.data.push(byte);
                self.state = State::Quoted;
            }
            // The end of a line is two bytes in some files.
            (State::Closing, b'\r') => {}
            (State::Closing, _) => {
                self.fault.get_or_insert(LineError::AfterQuote(self.ends.len() + 1));
                self.state = State::Plain;
            }
            (State::Start | State::Plain, byte) => {
                self.data.push(byte);
                self.state = State::Plain;
            }
        }
        false
    }

    /// Ends the last field.
    fn end(&mut self) {
        if self.state == State::Plain && self.data.last() == Some(&b'\r') {
            self.data.pop();
        }
        self.ends.push(self.data.len());
    }

    /// Ends the row where the file does.
    fn end_of_file(&mut self) {
        if self.state == State::Quoted {
            self.fault.get_or_insert(LineError::Unclosed(self.quote_line));
        }
        self.end();
    }

    fn is_blank(&self) -> bool {
        self.ends.len() == 1 && !self.has_quotes && self.data.iter().all(u8::is_ascii_whitespace)
    }

    fn fields(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| self.data.get(start..*end).unwrap_or_default())
    }
}

impl Table {
    pub(super) fn new(reader: Box<dyn BufRead>, name: String, delimiter: u8, templated: bool) -> Self {
        Self {
            reader,
            name,
            templated,
            row: Row::new(delimiter),
            columns: None,
            header_line: 1,
            has_rows: false,
            ended: false,
        }
    }

    /// Reads the next row that is not blank.
    fn next_row(&mut self) -> Result<bool, InputError> {
        loop {
            let found = self.read_row()?;
            if !found || !self.row.is_blank() {
                return Ok(found);
            }
        }
    }

    fn read_row(&mut self) -> Result<bool, InputError> {
        self.row.begin();
        let mut size = 0;
        loop {
            let chunk = self.reader.fill_buf().map_err(|error| InputError::read(&self.name, &error))?;
            if chunk.is_empty() {
                if size > 0 {
                    self.row.end_of_file();
                }
                return Ok(size > 0);
            }
            let row = &mut self.row;
            let end = chunk.iter().position(|byte| row.take(*byte));
            let length = end.map_or(chunk.len(), |at| at + 1);
            self.reader.consume(length);
            size += length;
            if end.is_some() {
                return Ok(true);
            }
            if size > LARGEST {
                // Where the next row would begin is anybody's guess.
                let unclosed = self.row.state == State::Quoted;
                let quote = LineError::Unclosed(self.row.quote_line);
                return Err(self.mistake(if unclosed { quote } else { LineError::TooLong(LARGEST_MIB) }));
            }
        }
    }

    fn place(&self) -> String {
        format!("{}:{}", self.name, self.row.line)
    }

    fn mistake(&self, reason: LineError) -> InputError {
        InputError::Line { place: self.place(), reason }
    }

    /// The names of the columns, if this row is a header.
    fn header(&mut self) -> Result<Vec<String>, LineError> {
        if let Some(fault) = self.row.fault.take() {
            return Err(fault);
        }
        let mut names = Vec::new();
        let mut known = BTreeSet::new();
        for (at, field) in self.row.fields().enumerate() {
            let field = if at == 0 { without_mark(field) } else { field };
            let name = std::str::from_utf8(field).map_err(|_| LineError::NoName(at + 1))?.trim();
            if name.is_empty() {
                return Err(LineError::NoName(at + 1));
            }
            if !known.insert(name) {
                return Err(LineError::SameName(name.to_owned()));
            }
            names.push(name.to_owned());
        }
        if !self.templated && !known.contains(PROMPT) {
            return Err(LineError::NoPrompts);
        }
        Ok(names)
    }

    fn item(&mut self, columns: &[String]) -> Result<Item, LineError> {
        if let Some(fault) = self.row.fault.take() {
            return Err(fault);
        }
        if self.row.ends.len() != columns.len() {
            return Err(LineError::Fields { found: self.row.ends.len(), expected: columns.len() });
        }
        let text = |(column, field): (&String, _)| {
            std::str::from_utf8(field).map_err(|error| LineError::CellUtf8 {
                column: column.clone(),
                byte: error.valid_up_to() + 1,
            })
        };
        let cells = columns.iter().zip(self.row.fields()).map(text).collect::<Result<Vec<_>, _>>()?;
        Item::of_row(columns, &cells, self.templated)
    }

    fn read(&mut self) -> Result<Option<Record>, InputError> {
        let columns = match self.columns.take() {
            Some(columns) => columns,
            None if self.next_row()? => {
                self.header_line = self.row.line;
                self.header().map_err(|reason| self.mistake(reason))?
            }
            None => return Ok(None),
        };
        if !self.next_row()? {
            if self.has_rows {
                return Ok(None);
            }
            let place = format!("{}:{}", self.name, self.header_line);
            return Err(InputError::Line { place, reason: LineError::NoRows });
        }
        self.has_rows = true;
        let item = self.item(&columns);
        self.columns = Some(columns);
        Ok(Some(Record { place: self.place(), item, size: self.row.data.len() }))
    }
}

impl Iterator for Table {
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

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor};

    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// What a table of that text has, read through a buffer of that size.
    fn rows(text: &[u8], delimiter: u8, buffer: usize) -> Vec<Result<Record, InputError>> {
        let reader = BufReader::with_capacity(buffer, Cursor::new(text.to_owned()));
        Table::new(Box::new(reader), "f".into(), delimiter, true).collect()
    }

    fn said(text: &str) -> String {
        let found: Result<Vec<_>, _> = rows(text.as_bytes(), b',', 8).into_iter().collect();
        match found {
            Err(error) => error.to_string(),
            Ok(records) => {
                let bad = records.into_iter().find_map(|record| Some((record.place, record.item.err()?)));
                bad.map(|(place, error)| format!("{place}: {error}")).unwrap_or_default()
            }
        }
    }

    #[test]
    fn mistakes_are_named_with_the_line_their_row_begins_in() {
        for (text, expected) in [
            ("a,b\n1,2\n", ""),
            ("a,b\n\"1\n1\",2\n3\n", "f:4: 1 field, where the header has 2"),
            ("a,b\n1,2,3\n", "f:2: 3 fields, where the header has 2"),
            ("a,,b\n1,2,3\n", "f:1: column 2 has no name"),
            ("\n a , b,a\n1,2,3\n", "f:2: two columns are called `a`"),
            ("a,b\n", "f:1: a header without rows"),
            ("a,b\n1,\"2\n3,4\n", "f:2: the quote that begins in line 2 is never closed"),
            ("a,b\n1,\"2\"x\n", "f:2: text behind the quotes of field 2"),
        ] {
            assert_eq!(said(text), expected, "{text:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_named_with_their_column() {
        let found = rows(b"a,b\n1,x\xff\n", b',', 3).remove(0).unwrap();
        assert_eq!(found.item.unwrap_err().to_string(), "column `b` is not valid UTF-8 at byte 2 of it");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(text in vec(prop_oneof![Just(b'"'), Just(b','), Just(b'\n'), Just(b'\r'), any::<u8>()], 0..80), buffer in 1_usize..9) {
            let _ = rows(&text, b',', buffer);
        }

        #[test]
        fn what_another_program_writes_is_read_back(
            cells in vec(("[a-z\",\r\n\t ]{0,6}", "\\PC{0,5}"), 1..8),
            tabs in any::<bool>(),
            crlf in any::<bool>(),
            buffer in 1_usize..40,
        ) {
            let delimiter = if tabs { b'\t' } else { b',' };
            let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(Vec::new());
            writer.write_record(["a", "b"]).unwrap();
            for (a, b) in &cells {
                writer.write_record([a, b]).unwrap();
            }
            let mut text = writer.into_inner().unwrap();
            if crlf && cells.iter().all(|(a, b)| !a.contains(['\n', '\r']) && !b.contains(['\n', '\r'])) {
                text = String::from_utf8(text).unwrap().replace('\n', "\r\n").into_bytes();
            }
            let read = rows(&text, delimiter, buffer);
            prop_assert_eq!(read.len(), cells.len());
            for (record, (a, b)) in read.into_iter().zip(&cells) {
                let variables = record.unwrap().item.unwrap().variables;
                prop_assert_eq!(&variables["a"], &Value::from(a.as_str()));
                prop_assert_eq!(&variables["b"], &Value::from(b.as_str()));
            }
        }
    }
}
