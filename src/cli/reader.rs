//! Whether anybody reads standard output. One who has gone, as `head` does after its last line, is noticed at once and
//! not only when the next piece is written: until then a silent provider would be paid for nobody.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

/// Who reads standard output.
#[derive(Debug, Clone)]
pub(super) struct Reader(Arc<AtomicBool>);

/// Has `cancel` cancelled when the reader has gone. Files have none, and the end of a terminal is a signal.
pub(super) fn watch(cancel: &CancellationToken) -> Reader {
    let (reader, cancel) = (Reader(Arc::default()), cancel.clone());
    if can_leave() {
        let theirs = reader.clone();
        // Not one of the runtime's, which would wait for it in the end; and it costs nothing while it waits.
        std::thread::spawn(move || {
            if wait().is_ok() {
                theirs.0.store(true, Ordering::Release);
                cancel.cancel();
            }
        });
    }
    reader
}

impl Reader {
    /// Whether it has gone.
    pub(super) fn has_left(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// The same as what a write would say.
    pub(super) fn gone(&self) -> io::Result<()> {
        if self.has_left() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

/// Whether standard output is a pipe or a socket.
fn can_leave() -> bool {
    let kind = fstat(io::stdout()).map(|stat| FileType::from_raw_mode(stat.st_mode));
    matches!(kind, Ok(FileType::Fifo | FileType::Socket))
}

/// Waits until there is nobody at the other end. To ask for no event is to be told of that one only.
fn wait() -> rustix::io::Result<()> {
    let stdout = io::stdout();
    let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
    loop {
        match poll(&mut polled, None) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
            Ok(_) if polled[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) => return Ok(()),
            Ok(_) => return Err(Errno::BADF),
        }
    }
}
