//! The arguments of the harness. Cargo adds `--bench` when it benchmarks and leaves it out
//! when it tests (`cargo test --all-targets`), so without it the defaults shrink to a quick
//! check that the harness works, whose figures mean nothing.

use crate::Outcome;

/// The text of `--help`.
pub const USAGE: &str = "\
cargo bench --bench spine -- [OPTIONS]

  --requests N  prompts per run               [20000]
  --jobs N      requests in flight            [64]
  --runs N      runs of each subject          [5]
  --starts N    runs of each start-up figure  [30]
  --chats N     runs of each single call      [200]
  --lines N     lines of the largest batch    [1000000]
  --no-peer     without the script in Python
  --beside FILE another build of the program, which takes turns with this one
  --only PART   one of startup, chat, load, memory";

/// What there is to measure, in order.
pub const PARTS: [&str; 4] = ["startup", "chat", "load", "memory"];

/// How much to measure.
pub struct Options {
    /// Prompts in the file that each subject sends.
    pub requests: u32,
    /// Requests in flight, as `-j` is given.
    pub jobs: u32,
    /// How often each subject of the load figure runs.
    pub runs: u32,
    /// How often each start-up command runs.
    pub starts: u32,
    /// How often each single call runs.
    pub chats: u32,
    /// How long the largest batch is.
    pub lines: u32,
    /// Whether the peer takes part.
    pub peer: bool,
    /// The one of [`PARTS`] that is asked for.
    pub only: Option<&'static str>,
    /// Another build of the program.
    pub beside: Option<String>,
}

impl Options {
    /// Reads the arguments; `None` when only the usage was asked for.
    pub fn parse(args: &[&str]) -> Outcome<Option<Self>> {
        let mut options = if args.contains(&"--bench") {
            Self {
                requests: 20_000,
                jobs: 64,
                runs: 5,
                starts: 30,
                chats: 200,
                lines: 1_000_000,
                peer: true,
                only: None,
                beside: None,
            }
        } else {
            let (requests, jobs, lines) = (200, 8, 1_000);
            Self {
                requests,
                jobs,
                runs: 1,
                starts: 2,
                chats: 2,
                lines,
                peer: false,
                only: None,
                beside: None,
            }
        };
        let mut words = args.iter().copied();
        while let Some(word) = words.next() {
            let target = match word {
                "--bench" => continue,
                "--help" | "-h" => return Ok(None),
                "--requests" => &mut options.requests,
                "--jobs" => &mut options.jobs,
                "--runs" => &mut options.runs,
                "--starts" => &mut options.starts,
                "--chats" => &mut options.chats,
                "--lines" => &mut options.lines,
                "--no-peer" => {
                    options.peer = false;
                    continue;
                }
                "--beside" => {
                    options.beside = Some(words.next().ok_or("--beside needs a file")?.to_owned());
                    continue;
                }
                "--only" => {
                    let part = words.next().and_then(|word| PARTS.into_iter().find(|part| *part == word));
                    options.only = Some(part.ok_or("--only needs one of startup, chat, load, memory")?);
                    continue;
                }
                other => return Err(format!("unknown argument `{other}`\n\n{USAGE}").into()),
            };
            let value = words.next().ok_or_else(|| format!("{word} needs a number"))?;
            *target = match value.parse() {
                Ok(number) if number > 0 => number,
                _ => {
                    return Err(format!("{word} needs a whole number above 0, not `{value}`").into());
                }
            };
        }
        Ok(Some(options))
    }
}
