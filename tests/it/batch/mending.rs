//! Going on where something has to be mended first: files that are somebody else's, names that are no text, and what
//! the program says has to be done.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;

use super::{as_asked, by_index, parrot, texts};
use crate::path::{KEY, Wired};
use crate::support::Reply;

#[test]
fn a_file_without_a_last_newline_is_not_taken_for_a_torn_line() {
    for (form, foreign) in [
        ("simple", "my only copy"),
        ("simple", "{\"a\": 1}"),
        ("simple", "{\"index\":\"one\"}"),
        ("openai", "{\"id\": \"chatcmpl-1\", \"choices\": []}"),
        ("openai", "{\"notes\": [1, 2"),
        ("csv", "a,b"),
        ("csv", "2026 was a good year"),
        ("csv", "a,\"b\nc\n"),
        ("text", "my only copy"),
    ] {
        let wired = Wired::unused();
        wired.env.write("in.txt", "one\n");
        wired.env.write("only", foreign);
        for more in [&["--resume"][..], &["--resume", "--force"], &["--resume", "--no-log"]] {
            let args = [&["batch", "in.txt", "-o", "only", "--output-format", form], more].concat();
            let output = wired.llmops(args).run().expect_status(2);
            assert_eq!(wired.env.read("only"), foreign, "{form}: {output}");
            let said = if form == "text" {
                "cannot tell which answers are in only"
            } else {
                ": not a line of a batch's answers"
            };
            assert!(output.stderr.contains(said), "{output}");
        }
    }
}

#[test]
fn a_tail_behind_lines_of_ours_may_be_somebody_elses_too() {
    let wired = parrot();
    wired.env.write("in.txt", "one\ntwo\n");
    let args = ["batch", "in.txt", "-o", "out"];
    let _ = wired.llmops(args).run().expect_status(0);
    let with_note = wired.env.read("out") + "checked by ann";
    wired.env.write("out", &with_note);
    let output = wired.llmops([&args[..], &["--resume"]].concat()).run().expect_status(2);
    assert!(output.stderr.contains("out:3: not a line of a batch's answers"), "{output}");
    assert_eq!(wired.env.read("out"), with_note);
}

#[test]
fn names_that_are_no_text_can_be_gone_on_with() {
    let wired = parrot();
    let folder = OsStr::from_bytes(b"it's \xff here");
    let file = OsStr::from_bytes(b"in \xfe\\1.txt");
    fs::create_dir(wired.env.path(folder)).unwrap();
    fs::write(wired.env.path(folder).join(file), "one\ntwo\n").unwrap();
    let begin = |more: &[&str]| {
        let fixed: [&OsStr; 4] = ["batch".as_ref(), file, "-o".as_ref(), "out".as_ref()];
        let args = fixed.into_iter().map(OsString::from).chain(more.iter().map(OsString::from));
        wired.llmops(args).current_dir(folder).run()
    };
    let _ = begin(&["--limit", "1", "--max-tokens", "9", "--overwrite"]).expect_status(0);
    let output = begin(&["--resume"]).expect_status(2);
    assert!(output.stderr.contains("--max-tokens was 9 and is not set"), "{output}");
    fs::write(wired.env.path(folder).join(file), "one\ntwo\nthree\n").unwrap();
    let output = begin(&["--resume", "--max-tokens", "9"]).expect_status(2);
    assert!(output.stderr.contains("has changed"), "{output}");
}

#[test]
fn the_command_of_a_run_with_names_that_are_no_text_is_one_for_bash() {
    let wired =
        Wired::to(|request| if request.seen == 0 { as_asked(request) } else { Reply::answer("mended") });
    let folder = OsStr::from_bytes(b"it's \xff here");
    let file = OsStr::from_bytes(b"in \xfe\\1.txt");
    fs::create_dir(wired.env.path(folder)).unwrap();
    fs::write(wired.env.path(folder).join(file), "500 server_error\ntwo\n").unwrap();
    let args: [&OsStr; 6] =
        ["batch".as_ref(), file, "-o".as_ref(), "out".as_ref(), "--retries".as_ref(), "0".as_ref()];
    let output = wired.llmops(args).current_dir(folder).run().expect_status(3);
    assert!(output.stderr.contains(r"to go on: llmops batch $'in \xfe\\1.txt' -o out"), "{output}");
    let listed = wired.llmops(["batch", "--list", "--format", "json"]).run().expect_status(0).json();
    assert_eq!(listed[0]["inputs"].as_array().unwrap().len(), 1, "{listed}");
    let command = listed[0]["resume_command"].as_str().unwrap();
    let run = wired.env.program("bash", ["-c", command]).env("OPENAI_API_KEY", KEY).current_dir("/");
    let output = run.env("OPENAI_BASE_URL", wired.upstream.base_url()).run().expect_status(0);
    let lines = by_index(&fs::read_to_string(wired.env.path(folder).join("out")).unwrap());
    assert_eq!((texts(&lines), wired.requests()), (vec!["mended", "two"], 3), "{command}: {output}");
}

/// The command that a run says goes on with it.
fn printed<'a>(stderr: &'a str, what: &str) -> Option<&'a str> {
    stderr.lines().find_map(|line| line.split_once(what).map(|(_, command)| command))
}

#[test]
fn a_printed_command_sends_again_what_ended_the_run() {
    let wired = Wired::to(as_asked);
    // One that would pass says nothing of the others.
    wired.env.write("in.txt", "500 server_error\n".to_owned() + &"400 invalid_value\n".repeat(60));
    let args = ["batch", "in.txt", "-o", "out", "-j", "1", "--retries", "0"];
    let output = wired.llmops(args).run().expect_status(1);
    let command = printed(&output.stderr, "to go on: ").unwrap();
    assert!(command.ends_with("--resume --retry-failed"), "{output}");
}

#[test]
fn a_printed_command_sends_what_was_left_alone() {
    let wired = Wired::to(as_asked);
    wired.env.write("in.txt", "500 server_error\n");
    let args = ["batch", "in.txt", "-o", "out", "--retries", "0", "--resume", "--no-resend"];
    let output = wired.llmops(args).run().expect_status(3);
    let command = printed(&output.stderr, "to go on: ").unwrap();
    assert_eq!(command, "llmops batch in.txt -o out --retries 0 --resume", "{output}");
    let listed = wired.llmops(["batch", "--list", "--format", "json"]).run().expect_status(0).json();
    assert_eq!(listed[0]["resume_command"], command, "{listed}");
}

#[test]
fn a_spent_cap_is_not_to_be_tried_again() {
    let wired = Wired::to(|request| Reply::answer(request.last_user_text()).usage(5, 5));
    wired.env.write("in.txt", "prompt\n".repeat(40));
    let args = ["batch", "in.txt", "-o", "out", "-j", "4", "--max-tokens", "5", "--max-cost", "0.0001"];
    let output = wired.llmops(args).run().expect_status(4);
    assert!(output.stderr.contains("hint: go on with --resume and a higher --max-cost\n"), "{output}");
    assert_eq!(printed(&output.stderr, "to go on"), None, "{output}");
}

#[test]
fn text_that_cannot_be_told_is_written_anew_for_nothing() {
    let wired = parrot();
    wired.env.write("in.txt", "one\ntwo\n");
    let args = ["batch", "in.txt", "-o", "out", "-j", "1", "--output-format", "text"];
    let _ = wired.llmops(args).run().expect_status(0);
    wired.env.write("out", "one\n");
    let resume = [&args[..], &["--resume"]].concat();
    let output = wired.llmops(&resume).run().expect_status(2);
    assert!(output.stderr.contains("hint: take the file away, and --resume writes it anew"), "{output}");
    fs::remove_file(wired.env.path("out")).unwrap();
    let output = wired.llmops(&resume).run().expect_status(0);
    assert_eq!((wired.env.read("out").as_str(), wired.requests()), ("one\ntwo\n", 2), "{output}");
}
