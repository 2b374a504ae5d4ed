//! Runs of the `llmops` binary: prepared, going on, and watched, so that a
//! test ends even when the binary does not.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::output::Output;
use super::terminal::Terminal;

/// No run of the binary takes longer unless that is said, or it is killed and the test fails.
pub(super) const WATCHDOG: Duration = Duration::from_secs(60);

/// A run of the binary that has not begun yet.
pub struct Run {
    command: Command,
    stdin: Input,
    unread: bool,
    limit: Duration,
    root: PathBuf,
}

enum Input {
    Nothing,
    Bytes(Vec<u8>),
    Open,
}

impl Run {
    pub(super) fn new(command: Command, root: PathBuf) -> Self {
        Self { command, stdin: Input::Nothing, unread: false, limit: WATCHDOG, root }
    }

    /// May take half an hour.
    #[must_use]
    pub fn of_great_length(mut self) -> Self {
        self.limit = Duration::from_secs(30 * 60);
        self
    }

    /// One more environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// One of the environment variables less.
    #[must_use]
    pub fn env_remove(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// What stands on stdin, which is `/dev/null` otherwise.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Input::Bytes(bytes.into());
        self
    }

    /// Leaves stdin open for [`Running::write_line`].
    #[must_use]
    pub fn open_stdin(mut self) -> Self {
        self.stdin = Input::Open;
        self
    }

    /// Leaves stdout to a reader who never reads: once the pipe is full, nothing more goes in.
    #[must_use]
    pub fn unread(mut self) -> Self {
        self.unread = true;
        self
    }

    /// What a shell does first: limits, ignored signals.
    #[must_use]
    pub fn after(self, shell: &str) -> Self {
        self.through(&format!("{shell}; exec \"$0\" \"$@\""))
    }

    /// A shell runs it, as `"$0" "$@"`.
    fn through(mut self, script: &str) -> Self {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).env_clear();
        command.arg(self.command.get_program()).args(self.command.get_args());
        let set = self.command.get_envs().filter_map(|(name, value)| Some((name, value?)));
        command.envs(set).current_dir(self.command.get_current_dir().unwrap());
        self.command = command;
        self
    }

    /// Its output goes through another program, as in a shell; the exit status is that of the binary.
    #[must_use]
    pub fn piped_to(self, reader: &str) -> Self {
        let pipe = format!(
            "exec 3>&1; status=$( {{ {{ \"$0\" \"$@\" 4>&-; echo $? >&4; }} | {reader} >&3; }} 4>&1 ); exit $status"
        );
        self.through(&pipe)
    }

    /// Another working directory; a relative one counts from the test's own.
    #[must_use]
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.command.current_dir(self.root.join("work").join(directory));
        self
    }

    /// Starts the run on a terminal of its own, this many columns wide.
    #[track_caller]
    pub fn on_terminal(self, columns: u16) -> Terminal {
        Terminal::start(&self.command, self.root, columns)
    }

    /// Runs to the end.
    #[track_caller]
    pub fn run(self) -> Output {
        self.spawn().wait()
    }

    /// Starts the run, for a test that means to interfere.
    #[track_caller]
    pub fn spawn(mut self) -> Running {
        self.command.stdin(match self.stdin {
            Input::Nothing => Stdio::null(),
            Input::Bytes(_) | Input::Open => Stdio::piped(),
        });
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().expect("the binary starts");
        let mut stdin = child.stdin.take();
        if let Input::Bytes(bytes) = self.stdin {
            let mut pipe = stdin.take().expect("stdin is piped");
            // In a thread, as the binary may answer before it has read it all.
            // One that ends without reading is no fault of the test.
            thread::spawn(move || drop(pipe.write_all(&bytes)));
        }
        let args = self.command.get_args();
        let stdout = child.stdout.take().unwrap();
        let (stdout, unread) = if self.unread {
            (Capture::of(std::io::empty()), Some(stdout))
        } else {
            (Capture::of(stdout), None)
        };
        Running {
            watchdog: Some(Watchdog::over(Pid::from_child(&child), self.limit)),
            stdout,
            unread,
            stderr: Capture::of(child.stderr.take().unwrap()),
            stdin,
            line_start: 0,
            args: args.map(|arg| arg.to_string_lossy().into_owned()).collect(),
            root: self.root,
            child,
        }
    }
}

/// A run that goes on. Dropped before [`Running::wait`], it is killed.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Capture,
    unread: Option<ChildStdout>,
    stderr: Capture,
    line_start: usize,
    watchdog: Option<Watchdog>,
    args: Vec<String>,
    root: PathBuf,
}

impl Running {
    /// Sends a signal: `Signal::INT`, `Signal::TERM`, `Signal::KILL`.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Whether it is over.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Writes a line to the stdin that [`Run::open_stdin`] left open.
    pub fn write_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        writeln!(stdin, "{line}").unwrap();
    }

    /// Ends the stdin that [`Run::open_stdin`] left open.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Reads the first byte of a stdout that is not read otherwise: from then on a write of more than the
    /// pipe takes hangs.
    pub fn wait_for_first_byte(&mut self) {
        let pipe = self.unread.as_mut().expect("stdout is not read");
        pipe.read_exact(&mut [0]).unwrap();
    }

    /// The next line of stdout, waiting for it; none at the end of the output.
    /// Whoever waits in vain is released by the watchdog.
    pub fn next_line(&mut self) -> Option<String> {
        let start = self.line_start;
        let text = self.stdout.wait_until(|text| text[start..].contains('\n'));
        let line = text[start..].split_inclusive('\n').next()?.to_owned();
        self.line_start += line.len();
        Some(line.trim_end_matches('\n').to_owned())
    }

    /// Waits for a text on stderr and returns the whole of its line; panics
    /// when stderr ends without it.
    #[track_caller]
    pub fn wait_for_stderr(&self, needle: &str) -> String {
        let whole_line = |text: &str| line_with(text, needle).is_some();
        let text = self.stderr.wait_until(whole_line);
        line_with(&text, needle)
            .unwrap_or_else(|| panic!("stderr ended without {needle:?}:\n{text}"))
            .to_owned()
    }

    /// Waits until a text has been on stderr so many times.
    pub fn wait_for_stderr_times(&self, needle: &str, times: usize) {
        self.stderr.wait_until(|text| text.matches(needle).count() >= times);
    }

    /// Waits for the end and takes all the output, read by then or not.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        self.stdin = None;
        let status = self.child.wait().unwrap();
        let barked = self.watchdog.take().is_some_and(Watchdog::dismiss);
        let output = Output {
            stdout: self.stdout.wait_until(|_| false),
            stderr: self.stderr.wait_until(|_| false),
            status: status.code().or(status.signal().map(|n| -n)).unwrap(),
            args: std::mem::take(&mut self.args),
            root: std::mem::take(&mut self.root),
        };
        assert!(!barked, "it took too long, and was killed:\n{output}");
        output
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Neither does anything to a child that was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The line that contains `needle`, once its end is there too.
fn line_with<'a>(text: &'a str, needle: &str) -> Option<&'a str> {
    let mut whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.find(|line| line.contains(needle)).map(str::trim_end)
}

/// Kills a process that is not done in time.
pub(super) struct Watchdog {
    done: Sender<()>,
    thread: JoinHandle<bool>,
}

impl Watchdog {
    pub(super) fn over(pid: Pid, limit: Duration) -> Self {
        let (done, waiting) = mpsc::channel();
        let thread = thread::spawn(move || {
            // A sender that is dropped means the run is over, too.
            let late = waiting.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            late && kill_process(pid, Signal::KILL).is_ok()
        });
        Self { done, thread }
    }

    /// Whether the process had to be killed.
    pub(super) fn dismiss(self) -> bool {
        drop(self.done);
        self.thread.join().unwrap()
    }
}

/// What a pipe has brought so far, read by a thread as it comes.
pub(super) struct Capture(Arc<(Mutex<Captured>, Condvar)>);

#[derive(Default)]
struct Captured {
    bytes: Vec<u8>,
    ended: bool,
}

impl Capture {
    pub(super) fn of(mut pipe: impl Read + Send + 'static) -> Self {
        let shared = Arc::new((Mutex::new(Captured::default()), Condvar::new()));
        let theirs = Arc::clone(&shared);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let read = pipe.read(&mut buffer).unwrap_or(0);
                let mut captured = theirs.0.lock().unwrap();
                captured.bytes.extend_from_slice(&buffer[..read]);
                captured.ended = read == 0;
                theirs.1.notify_all();
                if read == 0 {
                    break;
                }
            }
        });
        Self(shared)
    }

    /// Waits until `enough` or until the end; everything captured by then.
    pub(super) fn wait_until(&self, enough: impl Fn(&str) -> bool) -> String {
        let captured = self.0.0.lock().unwrap();
        let waiting = self.0.1.wait_while(captured, |captured| {
            !captured.ended && !enough(&String::from_utf8_lossy(&captured.bytes))
        });
        String::from_utf8_lossy(&waiting.unwrap().bytes).into_owned()
    }
}
