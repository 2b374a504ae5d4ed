//! Reading a file and remembering what was read: its size and its SHA-256, without a second reading.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A source as it was when it was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// What the user called it.
    pub name: String,
    /// Where it is; none for standard input. It need not be UTF-8, and is not written down.
    #[serde(skip)]
    pub path: Option<PathBuf>,
    /// What is in it; none for what can be read only once.
    pub content: Option<Content>,
}

/// What was in a file, or in all files of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// How much.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal. That of a folder covers the names of the files, too.
    pub sha256: String,
}

/// What was read so far.
#[derive(Debug, Default, Clone)]
pub(super) struct Seen(Rc<RefCell<(u64, Sha256)>>);

impl Seen {
    /// Text that is not content, such as a file's name: it tells where one ends and the next begins.
    pub(super) fn note(&self, text: &[u8]) {
        let (bytes, sha) = &mut *self.0.borrow_mut();
        sha.update(bytes.to_le_bytes());
        sha.update(text);
        sha.update([0]);
    }

    fn add(&self, content: &[u8]) {
        let (bytes, sha) = &mut *self.0.borrow_mut();
        *bytes += content.len() as u64;
        sha.update(content);
    }

    pub(super) fn content(&self) -> Content {
        let (bytes, sha) = &*self.0.borrow();
        let mut sha256 = String::with_capacity(64);
        for byte in sha.clone().finalize() {
            // Writing to a string cannot fail.
            let _ = write!(sha256, "{byte:02x}");
        }
        Content { bytes: *bytes, sha256 }
    }
}

/// A file of which everything that is read is noted, if anybody wants to know.
pub(super) struct Tap {
    file: File,
    seen: Option<Seen>,
}

impl Tap {
    pub(super) fn new(file: File, seen: Option<Seen>) -> Self {
        Self { file, seen }
    }

    /// Reads what is left for the note's sake alone.
    pub(super) fn drain(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 64 << 10];
        while self.seen.is_some() && self.read(&mut buffer)? > 0 {}
        Ok(())
    }
}

impl Read for Tap {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.file.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(length) => {
                    if let (Some(seen), Some(read)) = (&self.seen, buffer.get(..length)) {
                        seen.add(read);
                    }
                    return Ok(length);
                }
            }
        }
    }
}
