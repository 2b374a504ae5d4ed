//! Runs on a real terminal: a pseudo-terminal of a given width that controls the program, as a user's does, so
//! that tables are fitted, questions are asked, and ^C is a signal.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command};

use nix::pty::{Winsize, openpty};
use rustix::process::{Pid, Signal, kill_process};

use super::output::Output;
use super::run::{Capture, WATCHDOG, Watchdog};

/// Keys that do more than write a character.
#[derive(Clone, Copy, Debug)]
pub enum Key {
    /// The end of a line.
    Enter,
    /// The choice above.
    Up,
    /// The choice below.
    Down,
    /// Interrupts.
    CtrlC,
    /// The end of the input.
    CtrlD,
}

/// A run on a terminal. Dropped before [`Terminal::wait`], it is killed.
pub struct Terminal {
    child: Child,
    keyboard: File,
    screen: Capture,
    /// How much of the screen was waited for.
    seen: usize,
    watchdog: Option<Watchdog>,
    args: Vec<String>,
    root: PathBuf,
}

impl Terminal {
    pub(super) fn start(prepared: &Command, root: PathBuf, columns: u16) -> Self {
        let size = Winsize { ws_row: 40, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        // A session with a controlling terminal takes unsafe code, or somebody else's program.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(prepared.get_program()).args(prepared.get_args()).env_clear();
        command.envs(prepared.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("TERM", "xterm-256color").current_dir(prepared.get_current_dir().unwrap());
        let end = || pty.slave.try_clone().unwrap();
        command.stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().expect("setsid (util-linux) starts");
        let args = prepared.get_args().map(|arg| arg.to_string_lossy().into_owned());
        Self {
            watchdog: Some(Watchdog::over(Pid::from_child(&child), WATCHDOG)),
            child,
            screen: Capture::of(File::from(pty.master.try_clone().unwrap())),
            keyboard: File::from(pty.master),
            seen: 0,
            args: args.collect(),
            root,
        }
    }

    /// Waits until a text is on the screen after all that was waited for before; panics when the program ends
    /// without it.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        let seen = self.seen;
        let screen = self.screen.wait_until(|screen| screen[seen..].contains(text));
        let Some(at) = screen[seen..].find(text) else {
            panic!("the program ended without {text:?}:\n{}", shown(&screen));
        };
        self.seen += at + text.len();
    }

    /// Types a text.
    pub fn type_text(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// Types a text and the end of its line.
    pub fn type_line(&mut self, line: &str) {
        self.type_text(line);
        self.press(Key::Enter);
    }

    /// Presses a key.
    pub fn press(&mut self, key: Key) {
        self.type_text(match key {
            Key::Enter => "\r",
            Key::Up => "\x1b[A",
            Key::Down => "\x1b[B",
            Key::CtrlC => "\x03",
            Key::CtrlD => "\x04",
        });
    }

    /// Sends a signal to the program.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end. What was on the screen, escapes and all, is in `stdout`.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        let status = self.child.wait().unwrap();
        let barked = self.watchdog.take().is_some_and(Watchdog::dismiss);
        let screen = self.screen.wait_until(|_| false);
        let output = Output {
            stdout: screen.replace("\r\n", "\n"),
            stderr: String::new(),
            status: status.code().or(status.signal().map(|n| -n)).unwrap(),
            args: std::mem::take(&mut self.args),
            root: std::mem::take(&mut self.root),
        };
        assert!(!barked, "killed after {WATCHDOG:?}:\n{output}");
        output
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Neither does anything to a child that was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a screen shows, without colours and the movements of the cursor.
pub fn shown(screen: &str) -> String {
    let escapes = regex::Regex::new(r"\x1b(\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[=>])").unwrap();
    escapes.replace_all(screen, "").replace("\r\n", "\n")
}

#[test]
fn a_terminal_shows_what_is_said() {
    let env = super::TestEnv::new();
    let mut terminal = env.llmops(["chat", "-m", "sim/echo"]).on_terminal(80);
    terminal.wait_for("there is no question");
    let output = terminal.wait().expect_status(2);
    assert!(shown(&output.stdout).starts_with("error: there is no question\nhint: "), "{output}");
}
