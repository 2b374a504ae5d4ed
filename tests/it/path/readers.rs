//! Who reads standard output may leave at any time, also while the server is silent: the call is given up at once,
//! since nobody would get what it still costs.

use std::fs::File;
use std::io::Read;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use serde_json::{Value, json};

use super::{AT_ONCE, Closed, Piped, SOON, Wired, nanos, price, refusal};
use crate::support::{Gate, Reply};

/// A run whose standard output is a pipe or a socket.
fn spawn(wired: &Wired, args: &[&str], socket: bool) -> Piped {
    if !socket {
        return Piped::spawn(wired, args);
    }
    let (ours, theirs) = UnixStream::pair().unwrap();
    Piped::start(wired, args, Stdio::from(OwnedFd::from(theirs)), ours)
}

/// It ends quietly, and the server is told at once that it need not go on.
#[track_caller]
fn assert_given_up(wired: &Wired, what: &str, closed: Closed, hangups: usize) {
    assert!(wired.upstream.wait_for_hangups(hangups, AT_ONCE), "{what}: the server was not told");
    assert_eq!(closed.wait(), 0, "{what}");
    assert_eq!(wired.env.read("stderr"), "", "{what}");
    for call in wired.calls() {
        assert_eq!(call["status"], "cancelled", "{what}: {call}");
    }
}

#[test]
fn a_stream_that_has_fallen_silent_is_given_up() {
    for (format, socket) in [("text", false), ("text", true), ("jsonl", false)] {
        let gate = Gate::new();
        let wired = Wired::always(Reply::answer("one\ntwo three").gate_after_events(2, &gate));
        let mut piped = spawn(&wired, &["stream", "--format", format, "hi"], socket);
        assert!(piped.next_line().contains("one"));
        assert!(gate.wait_until_reached(SOON));
        assert_given_up(&wired, format, piped.close(), 1);
        let call = wired.call();
        let output = call["usage"]["output_tokens"].as_i64().unwrap();
        assert!(output > 0, "{call}");
        assert_eq!(
            (nanos(&call["cost_usd"]), &call["cost_status"]),
            (price(8, 0, output), &json!("partial"))
        );
    }
}

#[test]
fn a_call_that_has_not_begun_to_answer_is_given_up() {
    for (command, socket) in [("chat", false), ("chat", true), ("stream", false)] {
        let gate = Gate::new();
        let wired = Wired::always(Reply::answer("hello").gate(&gate));
        let piped = spawn(&wired, &[command, "hi"], socket);
        assert!(gate.wait_until_reached(SOON));
        assert_given_up(&wired, command, piped.close(), 1);
        if command == "chat" {
            let call = wired.call();
            assert_eq!((&call["cost_usd"], &call["cost_status"]), (&Value::Null, &json!("unknown")));
        }
    }
}

#[test]
fn a_batch_stops_and_gives_up_what_is_in_flight() {
    let gate = Gate::new();
    let held = gate.clone();
    let wired = Wired::to(move |request| match &*request.last_user_text() {
        "first" => Reply::answer("one"),
        _ => Reply::answer("hello").gate(&held),
    });
    wired.env.write("in.txt", "first\nsecond\nthird\nfourth\nfifth\n");
    let mut piped = spawn(&wired, &["batch", "in.txt", "-q", "-j", "2"], false);
    assert!(piped.next_line().contains("one"));
    assert!(gate.wait_until_reached_by(2, SOON));
    let closed = piped.close();
    assert!(wired.upstream.wait_for_hangups(2, AT_ONCE));
    assert_eq!(closed.wait(), 0);
    assert_eq!((wired.env.read("stderr").as_str(), wired.requests()), ("", 3));
    let statuses: Vec<Value> = wired.calls().iter().map(|call| call["status"].clone()).collect();
    assert_eq!(statuses, ["cancelled", "cancelled", "ok"]);
}

#[test]
fn a_wait_before_a_retry_is_given_up() {
    let wired = Wired::always(refusal(429, None).header("retry-after", "60"));
    let piped = spawn(&wired, &["chat", "-q", "hi"], false);
    assert!(wired.upstream.wait_for_requests(1, SOON));
    assert_eq!(piped.close().wait(), 0);
    assert_eq!(wired.env.read("stderr"), "");
    assert_eq!((wired.requests(), &wired.call()["status"]), (1, &json!("cancelled")));
}

#[test]
fn a_key_that_nobody_waits_for_is_not_waited_for() {
    let wired = Wired::unused();
    let fifo = wired.env.path("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    // Whoever opens the other end knows that the command runs.
    let wired = wired.config("providers: {openai: {api_key_env: NONE, api_key_cmd: [cat, fifo]}}");
    let piped = spawn(&wired, &["chat", "hi"], false);
    let _key = File::options().write(true).open(&fifo).unwrap();
    assert_eq!(piped.close().wait(), 0);
    assert_eq!(wired.env.read("stderr"), "");
}

#[test]
fn what_went_wrong_by_itself_is_told_whoever_reads() {
    let wired = Wired::unused();
    let piped = spawn(&wired, &["chat", "-m", "nobody/nothing", "hi"], false);
    assert_eq!(piped.close().wait(), 2);
    assert!(wired.env.read("stderr").starts_with("error: no model"), "{}", wired.env.read("stderr"));
}

#[test]
fn who_says_no_more_still_reads() {
    let gate = Gate::new();
    let wired = Wired::always(Reply::answer("hello").gate(&gate));
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let piped = Piped::start(&wired, &["chat", "hi"], Stdio::from(OwnedFd::from(theirs)), std::io::empty());
    ours.shutdown(Shutdown::Write).unwrap();
    assert!(gate.wait_until_reached(SOON));
    gate.release();
    let mut answer = String::new();
    ours.read_to_string(&mut answer).unwrap();
    assert_eq!((answer.as_str(), piped.close().wait()), ("hello\n", 0));
    assert_eq!(wired.call()["status"], "ok");
}

#[test]
fn a_file_has_no_reader_who_could_leave() {
    let wired = Wired::always(Reply::answer("hello"));
    for target in ["> out", "> /dev/null", ">&-", "< /dev/null >&0"] {
        let output = wired.llmops(["chat", "hi"]).after(&format!("exec {target}")).run();
        assert_eq!((output.status, &*output.stderr), (0, ""), "{target}: {output}");
    }
    assert_eq!(wired.env.read("out"), "hello\n");
    assert!(wired.calls().iter().all(|call| call["status"] == "ok"));
}
