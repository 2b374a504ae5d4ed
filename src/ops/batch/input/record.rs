//! What the readers of all forms have in common.

use super::error::InputError;
use crate::ops::batch::item::{Item, LineError};

/// The largest piece of input that is read as one: a line, a row, an item of a list, a file that is a prompt.
pub(super) const LARGEST: usize = 64 << 20;

/// [`LARGEST`] in MiB, for messages.
pub(super) const LARGEST_MIB: u64 = (LARGEST >> 20) as u64;

/// Room that a buffer keeps from one record to the next.
const KEPT: usize = 1 << 20;

/// An item as it stands in the input.
#[derive(Debug)]
pub(super) struct Record {
    /// `file:line`; a file that is a prompt has a name only.
    pub(super) place: String,
    /// The item, or what is wrong with it.
    pub(super) item: Result<Item, LineError>,
    /// How many bytes it took.
    pub(super) size: usize,
}

/// The records of one file, up to an error that ends them.
pub(super) type Records = Box<dyn Iterator<Item = Result<Record, InputError>>>;

/// Empties a buffer, and gives back what a huge record made it take.
pub(super) fn clear(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.shrink_to(KEPT);
}

/// Text without a byte order mark.
pub(super) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// The line, from 1, and the byte in it, from 1, at which a text stops being UTF-8.
pub(super) fn bad_byte(text: &[u8], valid: usize) -> (u64, usize) {
    let before = text.get(..valid).unwrap_or(text);
    let line = before.split(|byte| *byte == b'\n').count() as u64;
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    (line, valid - start + 1)
}
