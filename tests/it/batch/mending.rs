//! Going on where something has to be mended first: files that are somebody else's, names that are no text, and what
//! the program says has to be done.

use super::parrot;
use crate::path::Wired;

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
