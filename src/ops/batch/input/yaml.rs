//! A record an item of a YAML list. A list in block style is cut where its items begin, by indentation, and
//! each is read by itself: memory does not grow with the file. One in brackets is read whole, within a limit.

use std::collections::VecDeque;

use serde_json::Value;

use super::error::InputError;
use super::lines::{ReadLine, Text};
use super::record::{LARGEST, LARGEST_MIB, Record, bad_byte, clear};
use crate::config::yaml;
use crate::ops::batch::item::{Item, LineError};

/// The items of a YAML list.
pub(super) struct Items {
    text: Text,
    templated: bool,
    shape: Shape,
    /// Lines that were read, but not yet as an item.
    pending: Vec<u8>,
    pending_line: u64,
}

/// How the list is written.
enum Shape {
    /// Nobody has looked yet.
    Unknown,
    /// Its items begin with a dash behind so many blanks.
    Block(usize),
    /// In brackets: what is left of it.
    Flow(VecDeque<(u64, Value)>),
    /// It has ended.
    Ended,
}

/// What a line is to a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Blank, or a comment.
    Nothing,
    /// `---`, with nothing behind it.
    Begin,
    /// `...`
    End,
    /// An item begins here, behind so many blanks.
    Dash(usize),
    /// A list in brackets begins here.
    Bracket,
    Other,
}

fn kind_of(line: &[u8]) -> Kind {
    let marked = |mark: &[u8]| {
        let rest = line.strip_prefix(mark)?;
        rest.first().is_none_or(u8::is_ascii_whitespace).then(|| kind_of(rest))
    };
    if let Some(behind) = marked(b"---") {
        return if behind == Kind::Nothing { Kind::Begin } else { behind };
    }
    if marked(b"...") == Some(Kind::Nothing) {
        return Kind::End;
    }
    let indent = line.iter().take_while(|byte| **byte == b' ').count();
    match line.trim_ascii() {
        [] | [b'#', ..] => Kind::Nothing,
        [b'-'] | [b'-', b' ' | b'\t', ..] => Kind::Dash(indent),
        [b'[', ..] => Kind::Bracket,
        _ => Kind::Other,
    }
}

impl Items {
    pub(super) fn new(text: Text, templated: bool) -> Self {
        Self { text, templated, shape: Shape::Unknown, pending: Vec::new(), pending_line: 1 }
    }

    fn mistake(&self, line: u64, reason: LineError) -> InputError {
        InputError::Line { place: self.text.place(line), reason }
    }

    /// Adds the next line to what is pending. None at the end of the file.
    fn pull(&mut self, only_if: impl Fn(Kind) -> bool) -> Result<Option<Kind>, InputError> {
        let too_long = self.pending.len() > LARGEST;
        match self.text.next()? {
            ReadLine::Line(line) if !too_long => {
                let kind = kind_of(line);
                if only_if(kind) {
                    self.pending.extend_from_slice(line);
                    self.pending.push(b'\n');
                }
                Ok(Some(kind))
            }
            ReadLine::Line(_) | ReadLine::TooLong => {
                Err(self.mistake(self.pending_line, LineError::TooLong(LARGEST_MIB)))
            }
            ReadLine::End => Ok(None),
        }
    }

    /// Finds the beginning of the list, and with it how it is written.
    fn open(&mut self) -> Result<(), InputError> {
        let mut begun = false;
        let starts = |kind| matches!(kind, Kind::Dash(_) | Kind::Bracket);
        loop {
            let kind = self.pull(starts)?;
            self.pending_line = self.text.number;
            match kind {
                None => self.shape = Shape::Ended,
                Some(Kind::Nothing) => continue,
                Some(Kind::Begin) if !begun => {
                    begun = true;
                    continue;
                }
                Some(Kind::Dash(indent)) => self.shape = Shape::Block(indent),
                Some(Kind::Bracket) => {
                    while self.pull(|_| true)?.is_some() {}
                    let items = self.parse()?;
                    clear(&mut self.pending);
                    self.shape = Shape::Flow(items);
                }
                Some(Kind::Begin | Kind::End | Kind::Other) => {
                    return Err(self.mistake(self.text.number, LineError::NotAList));
                }
            }
            return Ok(());
        }
    }

    /// Reads what is pending, all of it, as a list.
    fn parse(&mut self) -> Result<VecDeque<(u64, Value)>, InputError> {
        let first = self.pending_line;
        let text = std::str::from_utf8(&self.pending).map_err(|error| {
            let (line, byte) = bad_byte(&self.pending, error.valid_up_to());
            self.mistake(first + line - 1, LineError::Utf8(byte))
        })?;
        let items = yaml::list(text).map_err(|error| {
            let column = usize::try_from(error.column).unwrap_or(usize::MAX);
            self.mistake(first + error.line.max(1) - 1, LineError::Yaml { reason: error.reason, column })
        })?;
        let place = |(line, value): (u64, Value)| (first + line.max(1) - 1, value);
        Ok(items.into_iter().map(place).collect())
    }

    /// The next item of a list in block style. Its first line is pending already; that of the next is then.
    fn block(&mut self, indent: usize) -> Result<Option<Record>, InputError> {
        let ends = |kind| kind == Kind::Dash(indent) || matches!(kind, Kind::Begin | Kind::End);
        let last = loop {
            match self.pull(|kind| !ends(kind))? {
                Some(kind) if ends(kind) => break Some(kind),
                Some(_) => {}
                None => break None,
            }
        };
        let (line, size, next) = (self.pending_line, self.pending.len(), self.text.number);
        let parsed = self.parse();
        clear(&mut self.pending);
        self.pending_line = next;
        match last {
            Some(Kind::Dash(_)) => {
                self.pending.extend_from_slice(self.text.last());
                self.pending.push(b'\n');
            }
            Some(_) => self.close(last == Some(Kind::Begin))?,
            None => self.shape = Shape::Ended,
        }
        Ok(Some(match parsed {
            Ok(mut items) => {
                let (_, value) = items.pop_front().unwrap_or((line, Value::Null));
                Record { place: self.text.place(line), item: Item::of_value(value, self.templated), size }
            }
            Err(InputError::Line { place, reason }) => Record { place, item: Err(reason), size },
            Err(error) => return Err(error),
        }))
    }

    /// Behind the end of the list there may be nothing.
    fn close(&mut self, mut begun: bool) -> Result<(), InputError> {
        self.shape = Shape::Ended;
        while let Some(kind) = self.pull(|_| false)? {
            match kind {
                Kind::Nothing | Kind::End => {}
                Kind::Begin if !begun => begun = true,
                _ => return Err(self.mistake(self.text.number, LineError::SecondDocument)),
            }
        }
        Ok(())
    }

    fn read(&mut self) -> Result<Option<Record>, InputError> {
        if matches!(self.shape, Shape::Unknown) {
            self.open()?;
        }
        match &mut self.shape {
            Shape::Unknown | Shape::Ended => Ok(None),
            Shape::Block(indent) => {
                let indent = *indent;
                self.block(indent)
            }
            Shape::Flow(items) => Ok(items.pop_front().map(|(line, value)| Record {
                place: self.text.place(line),
                size: 0,
                item: Item::of_value(value, self.templated),
            })),
        }
    }
}

impl Iterator for Items {
    type Item = Result<Record, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.read().transpose();
        if !matches!(record, Some(Ok(_))) {
            self.shape = Shape::Ended;
        }
        record
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn items(text: &[u8]) -> Vec<Result<Record, InputError>> {
        Items::new(Text::new(Box::new(Cursor::new(text.to_owned())), "f".into()), false).collect()
    }

    /// The prompts with their places; mistakes with theirs.
    fn said(text: &str) -> Vec<String> {
        let say = |record: Result<Record, InputError>| match record {
            Err(error) => error.to_string(),
            Ok(Record { place, item: Ok(item), .. }) => format!("{place} {}", item.request.last_user_text()),
            Ok(Record { place, item: Err(reason), .. }) => InputError::Line { place, reason }.to_string(),
        };
        items(text.as_bytes()).into_iter().map(say).collect()
    }

    #[test]
    fn every_way_to_write_a_list_is_read() {
        for (text, expected) in [
            ("- a\n- b\n", vec!["f:1 a", "f:2 b"]),
            ("\u{feff}# x\n---\n- a\r\n\r\n-   prompt: b\r\n...\r\n", vec!["f:3 a", "f:5 b"]),
            ("  - a\n  # x\n  -\n    prompt: b\n", vec!["f:1 a", "f:3 b"]),
            ("- |\n  - a\n\n  b\n- >-\n c\n d\n", vec!["f:1 - a\n\nb\n", "f:5 c d"]),
            ("- 'a\n  - b'\n- - x\n", vec!["f:1 a - b", "f:3: expected a string or object, found a list"]),
            ("- prompt: a\n  tags:\n  - x\n", vec!["f:1: `tags` must be an object of strings"]),
            ("# x\n[a,\n {prompt: b}\n]\n", vec!["f:2 a", "f:3 b"]),
            ("--- [a]\n", vec!["f:1 a"]),
            ("[]\n", vec![]),
            ("# nothing\n", vec![]),
        ] {
            assert_eq!(said(text), expected, "{text:?}");
        }
    }

    #[test]
    fn mistakes_are_named_by_their_place_in_the_file() {
        for (text, place) in [
            ("- a\n\n- prompt: 'b\n", "f:3:11: "),
            ("- a\n- prompt: b\n  prompt: c\n", "f:3:3: "),
            ("a: 1\n", "f:1: expected a list"),
            ("- a\n---\n- b\n", "f:3: a second document"),
            ("[a,\n b: [}\n", "f:2:"),
        ] {
            let said = said(text);
            assert!(said.last().unwrap().starts_with(place), "{text:?}: {said:?}");
        }
        let error = items(b"- a\n- b\n  x\xff\n").remove(1).unwrap();
        assert_eq!((error.place.as_str(), error.item), ("f:3", Err(LineError::Utf8(4))));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[-\\[\\]{}:,#'\"|>&*! a\t\r\n.]{0,60}", bytes in vec(any::<u8>(), 0..60)) {
            let _ = items(text.as_bytes());
            let _ = items(&bytes);
        }

        #[test]
        fn what_is_written_is_read_back(prompts in vec("[ -~\u{e4}-\u{fc}\n-]{1,20}", 1..8), indent in 0_usize..3, keyed in any::<bool>()) {
            prop_assume!(prompts.iter().all(|prompt| !prompt.trim().is_empty()));
            let write = |prompt: &String| {
                let (blanks, text) = (" ".repeat(indent), serde_json::to_string(prompt).unwrap());
                if keyed { format!("{blanks}- id: x\n{blanks}  prompt: {text}\n") } else { format!("{blanks}- {text}\n") }
            };
            let text: String = prompts.iter().map(write).collect();
            let read: Vec<String> = items(text.as_bytes())
                .into_iter()
                .map(|record| record.unwrap().item.unwrap().request.last_user_text())
                .collect();
            prop_assert_eq!(read, prompts);
        }
    }
}
