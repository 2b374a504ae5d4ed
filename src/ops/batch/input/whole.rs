//! A record a file: all of its text is the prompt.

use std::io::{BufRead, Read};

use super::error::InputError;
use super::record::{LARGEST, LARGEST_MIB, Record, bad_byte, without_mark};
use crate::ops::batch::item::{Item, LineError};

/// Reads a file as one prompt, without the end of its last line.
pub(super) fn read(reader: impl BufRead, name: &str) -> Result<Record, InputError> {
    let mut content = Vec::new();
    let read = reader.take(LARGEST as u64 + 1).read_to_end(&mut content);
    read.map_err(|error| InputError::read(name, &error))?;
    let size = content.len();
    let text = without_mark(&content);
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let mut place = name.to_owned();
    let item = match std::str::from_utf8(text) {
        _ if size > LARGEST => Err(LineError::TooLong(LARGEST_MIB)),
        Ok(text) => Item::of_prompt(text),
        Err(error) => {
            let (line, byte) = bad_byte(text, error.valid_up_to());
            place = format!("{name}:{line}");
            Err(LineError::Utf8(byte))
        }
    };
    Ok(Record { place, item, size })
}
