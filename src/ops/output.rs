//! One owner of what a command puts out: a thread that writes, so that a reader who does not read holds
//! up neither the calls in flight nor the ear for signals. Texts that have queued up are written at once.

use std::fs::File;
use std::io::{self, ErrorKind, Seek, Write};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Texts that may queue up.
const QUEUE: usize = 1024;

/// The most that is written at once, if one text alone is not more.
const AT_ONCE: usize = 256 << 10;

/// How long a write may take once everything else was told to stop.
const GRACE: Duration = Duration::from_millis(500);

/// Where it goes.
pub enum Sink {
    /// What cannot be taken back: standard output, a pipe, a device.
    Stream(Box<dyn Write + Send>),
    /// A regular file, which never keeps half a text.
    File(File),
}

/// A handle on the thread that writes.
#[derive(Debug)]
pub struct Output(mpsc::Sender<Text>);

/// A text, and who waits for it.
struct Text {
    bytes: Vec<u8>,
    written: oneshot::Sender<io::Result<()>>,
}

impl Output {
    /// Starts the thread. It is never joined: a write may hang for as long as the reader likes.
    pub fn to(sink: Sink) -> Self {
        let (sender, texts) = mpsc::channel(QUEUE);
        std::thread::spawn(move || Desk { sink, failure: None }.run(texts));
        Self(sender)
    }

    /// Writes a text and returns when it is flushed.
    ///
    /// # Errors
    /// Whatever the system says, again and again: nothing is written after a failure. [`ErrorKind::Interrupted`]
    /// if it takes too long after `cancel`.
    pub async fn write(&self, bytes: Vec<u8>, cancel: &CancellationToken) -> io::Result<()> {
        let gone = || io::Error::from(ErrorKind::BrokenPipe);
        let written = async {
            let (sender, written) = oneshot::channel();
            self.0.send(Text { bytes, written: sender }).await.map_err(|_| gone())?;
            written.await.map_err(|_| gone())?
        };
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
}

/// The thread's side.
struct Desk {
    sink: Sink,
    failure: Option<io::Error>,
}

impl Desk {
    fn run(mut self, mut texts: mpsc::Receiver<Text>) {
        let (mut bytes, mut waiting) = (Vec::new(), Vec::new());
        while let Some(text) = texts.blocking_recv() {
            bytes.clear();
            let mut next = Some(text);
            while let Some(text) = next {
                bytes.extend_from_slice(&text.bytes);
                waiting.push(text.written);
                next = if bytes.len() < AT_ONCE { texts.try_recv().ok() } else { None };
            }
            if self.failure.is_none() {
                self.failure = self.sink.put(&bytes).err();
            }
            for waiting in waiting.drain(..) {
                // Whoever has stopped waiting does not need to know.
                let _ = waiting.send(self.failure.as_ref().map_or(Ok(()), |error| Err(copy(error))));
            }
        }
    }
}

impl Sink {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stream(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Self::File(file) => {
                let whole = file.stream_position()?;
                file.write_all(bytes).inspect_err(|_| {
                    // A disk that is full lets a file become shorter. Where even that fails, nothing else helps.
                    let _ = file.set_len(whole);
                })
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
