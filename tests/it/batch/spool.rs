//! Where the store is to keep no text, answers wait in it until their lines are in OUT, and not longer.

use super::held;
use crate::path::{SOON, Wired};
use crate::support::{Gate, Signal};

/// What each body begins with that was packed.
const PACKED: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// How many packed bodies there are in the files of the store, used or not.
fn packed(wired: &Wired) -> usize {
    let files = wired.env.files_below("data");
    assert!(!files.is_empty());
    files.iter().map(|(_, bytes)| bytes.windows(4).filter(|four| *four == PACKED).count()).sum()
}

#[test]
fn no_answer_stays_in_a_store_that_is_to_have_none() {
    let gate = Gate::new();
    let wired = held(&gate).config("store: {bodies: none}");
    wired.env.write("in.txt", "well\n".repeat(200) + &"wait\n".repeat(10));
    let args = ["batch", "in.txt", "-o", "out", "-j", "4"];
    let running = wired.llmops(args).spawn();
    assert!(gate.wait_until_reached_by(4, SOON));
    running.signal(Signal::KILL);
    let _ = running.wait();
    assert!(packed(&wired) > 0, "the test sees nothing");
    gate.release();
    let output = wired.llmops([&args[..], &["--resume"]].concat()).run().expect_status(0);
    assert_eq!((wired.requests(), wired.env.read("out").lines().count()), (214, 210), "{output}");
    assert_eq!(packed(&wired), 0, "{output}");
}

#[test]
fn an_answer_that_has_no_line_yet_is_not_bought_again() {
    for (bodies, form) in [("none", "simple"), ("none", "text"), ("masked", "openai"), ("none", "csv")] {
        let gate = Gate::new();
        let wired = held(&gate).config(&format!("store: {{bodies: {bodies}}}"));
        wired.env.write("in.txt", "slow\n".to_owned() + &"well\n".repeat(30));
        // In order, so that all others wait for the first.
        let args = ["batch", "in.txt", "-o", "out", "-j", "4", "--ordered", "--output-format", form];
        let running = wired.llmops(args).spawn();
        assert!(gate.wait_until_reached(SOON) && wired.upstream.wait_for_requests(31, SOON));
        while wired.calls().len() < 30 {}
        running.signal(Signal::KILL);
        let _ = running.wait();
        gate.release();
        let output = wired.llmops([&args[..], &["--resume"]].concat()).run().expect_status(0);
        let lines = wired.env.read("out").lines().count() - usize::from(form == "csv");
        assert_eq!((wired.requests(), lines), (32, 31), "{form}: {output}");
        assert_eq!(wired.env.read("out").matches("well").count(), 30, "{form}: {output}");
        assert_eq!(packed(&wired) > 0, bodies != "none", "{form}");
    }
}

#[test]
fn what_a_run_was_asked_to_do_is_compared_without_its_texts() {
    let wired = held(&Gate::new()).config("store: {bodies: none}");
    wired.env.write("in.txt", "well\n");
    wired.env.write("t.j2", "{{ prompt }}{# a private template #}");
    let secret = "sk-proj-abcdefghijklmnop";
    let args = ["batch", "in.txt", "-o", "out", "-t", "t.j2", "-s", secret];
    let _ = wired.llmops(args).run();
    let files = wired.env.files_below("data");
    for text in ["a private template", secret] {
        let found = |bytes: &[u8]| bytes.windows(text.len()).any(|some| some == text.as_bytes());
        assert!(!files.is_empty() && files.iter().all(|(_, bytes)| !found(bytes)), "{text}");
    }
    let listed = wired.llmops(["batch", "--list", "--format", "json"]).run().expect_status(0).json();
    assert!(listed[0]["inputs"][0] == "in.txt" && !listed.to_string().contains(secret), "{listed}");
}
