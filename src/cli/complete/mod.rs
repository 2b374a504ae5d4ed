//! Completion in the user's shell: a script calls the program at every Tab, with the words of the line, and
//! the program prints what the word at the cursor may become. What options there are comes from the
//! definition of the command line; what their values may be, from `values`.
//!
//! Nobody has asked for a message in the middle of a line: whatever goes wrong here, nothing is said, nothing
//! is written anywhere, and the answer comes at once or not at all.

mod bash;
mod values;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use clap::Command;
use clap_complete::Shell;
use clap_complete::env::Shells;

use super::exit;
use crate::config::Environment;
use values::Line;

/// Set by the scripts, to the shell's name.
const VARIABLE: &str = "LLMOPS_COMPLETE";

/// How the scripts call the program: wherever it is by then, and however it was called when they were made.
const PROGRAM: &str = "llmops";

/// A file that cannot be read in this time is not worth the wait.
const LIMIT: Duration = Duration::from_secs(1);

/// Loaded from a folder in `$fpath`, zsh's script is run by the first Tab, which wants its answer, too.
const ZSH_FIRST_TAB: &str = "\
if [[ ${funcstack[1]} = _llmops ]]; then
    _clap_dynamic_completer_llmops \"$@\"
fi
";

/// Answers a shell's script; none if nobody has asked.
pub(super) fn answer(definition: fn() -> Command) -> Option<ExitCode> {
    if !Environment::has(VARIABLE) {
        return None;
    }
    std::panic::set_hook(Box::new(|_| {}));
    let (send, answer) = mpsc::channel();
    std::thread::spawn(move || {
        send.send(candidates(definition(), &Environment::of_process(), std::env::args_os()))
    });
    let printed = match answer.recv_timeout(LIMIT) {
        Ok(Some(text)) => io::stdout().write_all(&text).is_ok(),
        _ => false,
    };
    Some(ExitCode::from(if printed { exit::DONE } else { exit::FAILED }))
}

/// `llmops -- llmops chat --mo`: what the last word may become, in the form the shell reads.
fn candidates(
    definition: Command,
    environment: &Environment,
    args: impl Iterator<Item = OsString>,
) -> Option<Vec<u8>> {
    let mut words: Vec<OsString> = args.skip_while(|word| word != "--").skip(1).collect();
    let folder = std::env::current_dir().ok();
    let shell = environment.get(VARIABLE)?;
    let prefix = (shell == "bash").then(|| bash::rejoin(&mut words));
    let mut definition = values::attach(definition, &Line::new(&words).into());
    let mut text = Vec::new();
    match prefix {
        Some(prefix) => {
            let last = words.len().checked_sub(1)?;
            let found = clap_complete::engine::complete(&mut definition, words, last, folder.as_deref());
            bash::write(&mut text, &prefix, &found.ok()?);
        }
        None if words.is_empty() => return None,
        None => {
            let shell = Shells::builtins();
            let shell = shell.completer(environment.get(VARIABLE)?)?;
            shell.write_complete(&mut definition, words, folder.as_deref(), &mut text).ok()?;
        }
    }
    Some(text)
}

/// The script that makes a shell ask.
pub(super) fn script(shell: Shell) -> String {
    if shell == Shell::Bash {
        return bash::SCRIPT.to_owned();
    }
    let mut text = Vec::new();
    if let Some(completer) = Shells::builtins().completer(&shell.to_string()) {
        // Writing into memory cannot fail.
        let _ = completer.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut text);
    }
    let text = String::from_utf8(text).unwrap_or_default();
    let text: Vec<&str> = text.trim().lines().map(str::trim_end).collect();
    let more = if shell == Shell::Zsh { ZSH_FIRST_TAB } else { "" };
    format!("{}\n{more}", text.join("\n"))
}
