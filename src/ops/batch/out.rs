//! OUT, the file a batch puts its answers in. One run at a time has it: an operating-system lock on `OUT.lock` says
//! whose it is, and dies with its run. Whatever of it has to go is left out of a copy that takes its place.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::form::{Form, Seen};
use super::keys::Keys;
use crate::domain::money::Money;

/// Why OUT cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OutError {
    /// It is there already.
    #[error("{} exists", .0.display())]
    Exists(PathBuf),
    /// Another run has it.
    #[error("{} is being written by another run", .0.display())]
    Busy(PathBuf),
    /// It has something else in it.
    #[error("{place}: not a line of a batch's answers in the form `{form}`")]
    Foreign {
        /// `file:line`
        place: String,
        /// The form.
        form: Form,
    },
    /// Its lines do not say which items they are of, and the store does not know either.
    #[error("cannot tell which answers are in {}", .0.display())]
    Untold(PathBuf),
    /// It cannot be read or written.
    #[error("cannot write {}: {reason}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
}

/// A path that is the same however a file is named; the file need not exist.
pub fn settled(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Ok(path) => Ok(path),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let absolute = std::path::absolute(path)?;
            let folder = absolute.parent().map(Path::canonicalize).transpose()?;
            Ok(folder.zip(absolute.file_name()).map(|(folder, name)| folder.join(name)).unwrap_or(absolute))
        }
        Err(error) => Err(error),
    }
}

/// The right to write OUT.
#[derive(Debug)]
pub struct OutLock {
    _file: File,
    path: PathBuf,
}

impl OutLock {
    /// Takes it; `name` is what the user calls OUT.
    ///
    /// # Errors
    /// [`OutError::Busy`] as long as another run has it.
    pub fn take(out: &Path, name: &Path) -> Result<Self, OutError> {
        let path = lock_path(out);
        let failed = |reason| OutError::Io { path: path.clone(), reason };
        loop {
            let file = OpenOptions::new().create(true).write(true).truncate(false).open(&path);
            let file = file.map_err(failed)?;
            match file.try_lock() {
                // Whoever only looks whether it is taken is soon gone.
                Err(TryLockError::WouldBlock) if file.try_lock_shared().is_ok() => continue,
                Err(TryLockError::WouldBlock) => return Err(OutError::Busy(name.to_owned())),
                // Some network file systems know no locks.
                Err(TryLockError::Error(error)) if error.kind() != ErrorKind::Unsupported => {
                    return Err(failed(error));
                }
                Ok(()) | Err(TryLockError::Error(_)) => {}
            }
            // Its last owner may have taken the file away in the meantime.
            if path.metadata().is_ok_and(|found| file.metadata().is_ok_and(|ours| found.ino() == ours.ino()))
            {
                return Ok(Self { _file: file, path });
            }
        }
    }

    /// Whether somebody has it.
    pub fn is_taken(out: &Path) -> bool {
        let lock = File::open(lock_path(out));
        lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }
}

impl Drop for OutLock {
    fn drop(&mut self) {
        // A file that stays is in nobody's way.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn lock_path(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// What of OUT stays when a run goes on.
#[derive(Debug, Default)]
pub struct Kept {
    /// The items whose lines stay: see [`Form::key`].
    pub keys: Keys,
    /// Those with a whole answer.
    pub done: u64,
    /// Those without.
    pub failed: u64,
    /// Lines that go, because their items are sent again.
    pub superseded: u64,
    /// Where the last line begins, in bytes, if it is torn.
    pub torn: Option<u64>,
    /// What all lines say that was spent.
    pub cost: Money,
}

impl Kept {
    fn of(form: Form) -> Self {
        Self { keys: Keys::of(form), ..Self::default() }
    }

    /// Whether a line stays: one of an item that has none yet, and is not sent again.
    fn keeps(&mut self, seen: &Seen, again: impl Fn(&Seen) -> bool) -> bool {
        self.cost += seen.cost;
        if again(seen) || !self.keys.insert(seen.key) {
            self.superseded += 1;
            return false;
        }
        if seen.error.is_none() {
            self.done += 1;
        } else {
            self.failed += 1;
        }
        true
    }
}

/// Reads OUT through without changing it. `again` says which of its lines are of items that are sent again.
pub fn survey(out: &Path, form: Form, again: impl Fn(&Seen) -> bool) -> Result<Kept, OutError> {
    let mut kept = Kept::of(form);
    kept.torn = each_line(out, form, |_, _, seen| {
        if let Some(seen) = seen {
            kept.keeps(&seen, &again);
        }
        Ok(())
    })?;
    Ok(kept)
}

/// Takes away what does not stay: a torn last line is cut off, and superseded lines are left out of a copy that takes
/// OUT's place.
pub fn clear(out: &Path, form: Form, kept: &Kept, again: impl Fn(&Seen) -> bool) -> Result<(), OutError> {
    if kept.superseded == 0 {
        return kept.torn.map_or(Ok(()), |whole| cut(out, whole));
    }
    let mut staying = Kept::of(form);
    replace(out, |copy| {
        each_line(out, form, |line, _, seen| {
            if seen.is_none_or(|seen| staying.keeps(&seen, &again)) {
                copy.write_all(line)?;
            }
            Ok(())
        })
        .map(drop)
    })
}

/// Puts OUT's lines in the order of the input, if they are not. `place` says where a line's item stands in it.
pub fn sort(out: &Path, form: Form, place: impl Fn(u64) -> u64) -> Result<(), OutError> {
    let (mut lines, mut header) = (Vec::new(), 0);
    each_line(out, form, |line, at, seen| {
        match seen {
            Some(seen) => lines.push((place(seen.key), at, line.len())),
            None => header = line.len(),
        }
        Ok(())
    })?;
    if lines.is_sorted() {
        return Ok(());
    }
    lines.sort_unstable();
    let parts = std::iter::once((0, header)).chain(lines.into_iter().map(|(_, at, length)| (at, length)));
    replace(out, |copy| {
        copy_parts(out, parts, copy).map_err(|reason| OutError::Io { path: out.to_owned(), reason })
    })
}

/// Copies parts of a file, each from where it begins.
fn copy_parts(from: &Path, parts: impl Iterator<Item = (u64, usize)>, to: &mut impl Write) -> io::Result<()> {
    let mut file = File::open(from)?;
    for (at, length) in parts {
        file.seek(SeekFrom::Start(at))?;
        io::copy(&mut Read::by_ref(&mut file).take(u64::try_from(length).unwrap_or(u64::MAX)), to)?;
    }
    Ok(())
}

/// Cuts OUT off after so many bytes.
pub fn cut(out: &Path, bytes: u64) -> Result<(), OutError> {
    let file = OpenOptions::new().write(true).open(out);
    let done = file.and_then(|file| file.set_len(bytes));
    done.map_err(|reason| OutError::Io { path: out.to_owned(), reason })
}

/// Hands over every whole line, where it begins, and what it says: nothing for the header of a table. Returns where a
/// torn last line begins, if there is one.
fn each_line(
    out: &Path,
    form: Form,
    mut heard: impl FnMut(&[u8], u64, Option<Seen>) -> io::Result<()>,
) -> Result<Option<u64>, OutError> {
    let failed = |reason| OutError::Io { path: out.to_owned(), reason };
    let mut file = BufReader::with_capacity(256 << 10, File::open(out).map_err(failed)?);
    let (mut line, mut at, mut number) = (Vec::new(), 0, 0_u64);
    let (header, mut whole) = (form.header(), true);
    loop {
        let before = line.len();
        let foreign = |number: u64| OutError::Foreign { place: format!("{}:{number}", out.display()), form };
        let read = file.read_until(b'\n', &mut line).map_err(failed)?;
        if read == 0 || !line.ends_with(b"\n") {
            if line.is_empty() {
                return Ok(None);
            }
            // What was read of it last may be whole lines: a quote that has no end goes on to the end of a table.
            let last = number + u64::from(read > 0);
            return if form.may_be_torn(&line, at == 0) { Ok(Some(at)) } else { Err(foreign(last)) };
        }
        whole ^= !form.is_whole(&line[before..]);
        number += 1;
        if !whole {
            continue;
        }
        let seen = if at == 0 && header.as_ref() == Some(&line) {
            None
        } else {
            Some(form.read(&line).ok_or_else(|| foreign(number))?)
        };
        heard(&line, at, seen).map_err(failed)?;
        at += u64::try_from(line.len()).unwrap_or(u64::MAX);
        line.clear();
    }
}

/// Puts a copy in OUT's place that `fill` writes: whatever happens on the way, OUT is the one or the other, whole.
fn replace(
    out: &Path,
    fill: impl FnOnce(&mut BufWriter<&mut File>) -> Result<(), OutError>,
) -> Result<(), OutError> {
    let failed = |reason| OutError::Io { path: out.to_owned(), reason };
    let folder = out.parent().unwrap_or(Path::new("/"));
    let mut copy = tempfile::Builder::new().prefix(".llmops-").tempfile_in(folder).map_err(failed)?;
    let permissions = out.metadata().map_err(failed)?.permissions();
    copy.as_file().set_permissions(permissions).map_err(failed)?;
    let mut writer = BufWriter::with_capacity(256 << 10, copy.as_file_mut());
    fill(&mut writer)?;
    writer.flush().map_err(failed)?;
    drop(writer);
    copy.as_file().sync_all().map_err(failed)?;
    copy.persist(out).map_err(|error| failed(error.error)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::batch::report::ItemReport;

    fn line(form: Form, index: u64) -> Vec<u8> {
        let text = Some("a \"quoted\",\n\tü\n".to_owned());
        form.line(&ItemReport {
            text,
            body: Some(serde_json::json!({"choices": []})),
            ..ItemReport::new(index, Some(format!("id {index}")), "in.txt:1".into())
        })
    }

    #[test]
    fn a_torn_line_goes_wherever_it_is_torn() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        for form in [Form::Simple, Form::Openai, Form::Csv] {
            let kept = [form.header().unwrap_or_default(), line(form, 0)].concat();
            let whole = [kept.clone(), line(form, 1)].concat();
            for length in 0..=whole.len() {
                std::fs::write(&out, &whole[..length]).unwrap();
                let found = survey(&out, form, |_| false).unwrap();
                let lines = usize::from(length >= kept.len()) + usize::from(length == whole.len());
                assert_eq!(found.keys.len(), lines as u64, "{form}, {length}");
                clear(&out, form, &found, |_| false).unwrap();
                let left = std::fs::read(&out).unwrap();
                assert!(whole.starts_with(&left) && left.len() <= length, "{form}, {length}");
                assert!(
                    lines == 0 || left == if lines == 2 { &whole[..] } else { &kept },
                    "{form}, {length}"
                );
            }
        }
    }

    #[test]
    fn superseded_lines_go_and_others_are_put_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        for form in [Form::Simple, Form::Csv] {
            let lines = |of: &[u64]| of.iter().flat_map(|index| line(form, *index)).collect::<Vec<u8>>();
            let file = |of: &[u64]| [form.header().unwrap_or_default(), lines(of)].concat();
            std::fs::write(&out, [file(&[2, 0, 1, 0, 3]), line(form, 4)[..1].to_vec()].concat()).unwrap();
            let again = |seen: &Seen| seen.key == 1;
            let kept = survey(&out, form, again).unwrap();
            assert_eq!((kept.done, kept.superseded, kept.torn.is_some()), (3, 2, true));
            clear(&out, form, &kept, again).unwrap();
            assert_eq!(std::fs::read(&out).unwrap(), file(&[2, 0, 3]));
            sort(&out, form, |key| key).unwrap();
            assert_eq!(std::fs::read(&out).unwrap(), file(&[0, 2, 3]));
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }
}
