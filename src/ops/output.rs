//! One owner of what a command puts out: a thread that writes, so that a reader who does not read holds
//! up neither the calls in flight nor the ear for signals. Lines that have queued up are written at once.

use std::fs::File;
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::unconstrained;
use tokio_util::sync::CancellationToken;

use crate::domain::money::Money;

/// Lines that may queue up.
const QUEUE: usize = 1024;

/// The most that is written at once, if one line alone is not more.
const AT_ONCE: usize = 256 << 10;

/// How long a write may take once everything else was told to stop.
const GRACE: Duration = Duration::from_millis(500);

/// What a line says, for the journal.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    /// Which item it is of.
    pub index: u64,
    /// Whether that has a whole answer.
    pub whole: bool,
    /// What it has cost, as far as that is not counted yet; nothing if nobody knows.
    pub cost: Option<Money>,
}

/// What is safely on its disk since the last time that was asked.
#[derive(Debug, Default)]
pub struct Safe {
    /// Its lines.
    pub marks: Vec<Mark>,
    /// How long the file is with them, in bytes; 0 for what is no file.
    pub bytes: u64,
}

/// Where it goes.
pub enum Sink {
    /// What cannot be taken back: standard output, a pipe, a device.
    Stream(Box<dyn Write + Send>),
    /// A regular file, which never keeps half a line.
    File(File),
}

/// A handle on the thread that writes.
#[derive(Debug)]
pub struct Output(mpsc::Sender<Job>);

enum Job {
    /// A line, and who waits for it.
    Write { line: Vec<u8>, mark: Option<Mark>, written: oneshot::Sender<io::Result<()>> },
    /// What was written so far is to be safe.
    Sync { safe: oneshot::Sender<io::Result<Safe>> },
}

impl Output {
    /// Starts the thread. It is never joined: a write may hang for as long as the reader likes.
    pub fn to(sink: Sink) -> Self {
        let (sender, jobs) = mpsc::channel(QUEUE);
        std::thread::spawn(move || Desk { sink, failure: None, marks: Vec::new() }.run(jobs));
        Self(sender)
    }

    /// Writes a text and returns when it is flushed.
    ///
    /// # Errors
    /// Whatever the system says, again and again: nothing is written after a failure. [`ErrorKind::Interrupted`]
    /// if it takes too long after `cancel`.
    pub async fn write(&self, text: Vec<u8>, cancel: &CancellationToken) -> io::Result<()> {
        self.write_marked(text, None, cancel).await
    }

    /// As [`Output::write`], for a line that [`Output::sync`] tells of once it is safe.
    ///
    /// # Errors
    /// As for [`Output::write`].
    pub async fn write_marked(
        &self,
        line: Vec<u8>,
        mark: Option<Mark>,
        cancel: &CancellationToken,
    ) -> io::Result<()> {
        let written = self.ask(|written| Job::Write { line, mark, written });
        let given_up = async {
            cancel.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            biased;
            written = written => written,
            () = given_up => Err(ErrorKind::Interrupted.into()),
        }
    }

    /// Has everything that was written put on its disk, so that it outlives a power cut.
    ///
    /// # Errors
    /// Whatever the system says.
    pub async fn sync(&self) -> io::Result<Safe> {
        self.ask(|safe| Job::Sync { safe }).await
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<io::Result<T>>) -> Job) -> io::Result<T> {
        let gone = || io::Error::from(ErrorKind::BrokenPipe);
        let (sender, reply) = oneshot::channel();
        // First come, first served: who had to stand back for other tasks would be overtaken.
        unconstrained(self.0.send(job(sender))).await.map_err(|_| gone())?;
        reply.await.map_err(|_| gone())?
    }
}

/// The thread's side.
struct Desk {
    sink: Sink,
    failure: Option<io::Error>,
    /// What was written and is not yet safe.
    marks: Vec<Mark>,
}

impl Desk {
    fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let (mut bytes, mut waiting) = (Vec::new(), Vec::new());
        while let Some(job) = jobs.blocking_recv() {
            bytes.clear();
            let (mut next, mut safe) = (Some(job), None);
            while let Some(job) = next {
                match job {
                    Job::Write { line, mark, written } => {
                        bytes.extend_from_slice(&line);
                        waiting.push((mark, written));
                    }
                    Job::Sync { safe: asked } => safe = Some(asked),
                }
                next = if bytes.len() < AT_ONCE && safe.is_none() { jobs.try_recv().ok() } else { None };
            }
            if self.failure.is_none() && !bytes.is_empty() {
                self.failure = self.sink.put(&bytes).err();
            }
            for (mark, written) in waiting.drain(..) {
                self.marks.extend(mark.filter(|_| self.failure.is_none()));
                // Whoever has stopped waiting does not need to know.
                let _ = written.send(self.failure.as_ref().map_or(Ok(()), |error| Err(copy(error))));
            }
            if let Some(safe) = safe {
                let _ = safe.send(self.sync());
            }
        }
    }

    fn sync(&mut self) -> io::Result<Safe> {
        if self.marks.is_empty() {
            return Ok(Safe::default());
        }
        let bytes = self.sink.sync()?;
        Ok(Safe { marks: std::mem::take(&mut self.marks), bytes })
    }
}

impl Sink {
    /// Writes bytes at once.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stream(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Self::File(file) => {
                let whole = file.stream_position()?;
                file.write_all(bytes).inspect_err(|_| {
                    // A disk that is full lets a file become shorter. Where even that fails, nothing else helps.
                    let _ = file.set_len(whole).and_then(|()| file.seek(SeekFrom::Start(whole)));
                })
            }
        }
    }

    /// Returns how long the file is.
    fn sync(&mut self) -> io::Result<u64> {
        match self {
            Self::Stream(_) => Ok(0),
            Self::File(file) => {
                file.sync_data()?;
                file.stream_position()
            }
        }
    }
}

fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn after_a_failure_nothing_is_written() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = Output::to(Sink::Stream(Box::new(full)));
        let cancel = CancellationToken::new();
        for _ in 0..3 {
            let error = output.write(b"line\n".to_vec(), &cancel).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::StorageFull);
        }
    }

    #[tokio::test]
    async fn a_write_that_hangs_is_given_up_after_a_cancel() {
        let (_reader, writer) = io::pipe().unwrap();
        let output = Output::to(Sink::Stream(Box::new(writer)));
        let cancel = CancellationToken::new();
        cancel.cancel();
        let error = output.write(vec![b'x'; 1 << 20], &cancel).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
    }
}
