//! Servers that stop in the middle of whatever they do, or never come to its end: every run ends in the time it was
//! given, says why, and has what it may have cost on record.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{KEY, Wired, chunk, error_line};
use crate::support::{Gate, Output, Reply, TestEnv};

/// Something that a server does with a connection whose request it has read.
type Deed = fn(&mut TcpStream) -> std::io::Result<()>;

const SSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n";

/// A server for anything, which stays on every connection until the client leaves; or one that does not even read.
fn server(reads: bool, deed: Deed) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    // The thread waits for more until the tests are over.
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                if !reads {
                    loop {
                        thread::park();
                    }
                }
                let told = matches!(stream.read(&mut [0; 8 << 10]), Ok(1..));
                if told && deed(&mut stream).is_ok() {
                    // It ends when the client does not want any more.
                    let _ = stream.read(&mut [0]);
                }
            });
        }
    });
    format!("127.0.0.1:{}/v1", address.port())
}

/// The same bytes again and again, slowly.
fn trickle(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    loop {
        stream.write_all(bytes)?;
        thread::sleep(Duration::from_millis(5));
    }
}

/// A run against such a server, which must end soon after the limits that it is given.
#[track_caller]
fn run(address: &str, timeouts: &str, args: &[&str], stdin: Vec<u8>) -> (TestEnv, Output) {
    let env = TestEnv::new();
    env.write_config(&format!("model: gpt-5.4-nano\ntimeouts: {{{timeouts}}}\n"));
    let began = Instant::now();
    let run = env.llmops(args).env("OPENAI_API_KEY", KEY).env("OPENAI_BASE_URL", address);
    let output = run.stdin(stdin).run().expect_status(1);
    assert!(began.elapsed() < Duration::from_secs(10), "after {:?}: {output}", began.elapsed());
    error_line(&output);
    (env, output)
}

/// The only call on record.
#[track_caller]
fn call(env: &TestEnv) -> Value {
    env.llmops(["calls", "show", "0", "--format", "json"]).run().expect_status(0).json()
}

const SHORT: &str = "first_delta: 200ms, idle: 30s";

/// Both commands end with a failure of this kind.
#[track_caller]
fn assert_ends(what: &str, kind: &str, deed: Deed) {
    for command in ["chat", "stream"] {
        let address = format!("http://{}", server(true, deed));
        let (env, output) = run(&address, SHORT, &[command, "--retries", "0", "hi"], Vec::new());
        let call = call(&env);
        let seen = (&call["status"], &call["error"]["kind"], output.stdout.as_str());
        assert_eq!(seen, (&json!("error"), &json!(kind), ""), "{what}: {output}");
    }
}

#[test]
fn an_answer_that_stops_before_its_first_text_is_given_up() {
    assert_ends("after the head of a whole body", "timeout", |stream| stream.write_all(WHOLE));
    assert_ends("after the head of a stream", "timeout", |stream| stream.write_all(SSE));
    assert_ends("in the status line", "timeout", |stream| stream.write_all(b"HTTP/1.1 20"));
    assert_ends("in a header", "timeout", |stream| stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-ty"));
    assert_ends("in an event", "timeout", |stream| {
        stream.write_all(SSE)?;
        stream.write_all(b"data: {\"choices\": [{\"delta\": {\"content\": \"he")
    });
}

#[test]
fn an_answer_that_only_trickles_is_given_up() {
    assert_ends("a byte of a whole body", "timeout", |stream| {
        stream.write_all(WHOLE)?;
        trickle(stream, b" ")
    });
    assert_ends("a byte of an event", "timeout", |stream| {
        stream.write_all(SSE)?;
        stream.write_all(b"data: ")?;
        trickle(stream, b" ")
    });
    assert_ends("a sign of life", "timeout", |stream| {
        stream.write_all(SSE)?;
        trickle(stream, b": ping\n\n")
    });
    assert_ends("headers, slowly", "timeout", |stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nx-long: ")?;
        trickle(stream, b"x")
    });
}

#[test]
fn headers_without_end_are_no_answer() {
    assert_ends("lines", "dropped", |stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
        loop {
            stream.write_all(&b"x-more: and more\r\n".repeat(100))?;
        }
    });
    assert_ends("one line", "dropped", |stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nx-long: ")?;
        loop {
            stream.write_all(&[b'x'; 4096])?;
        }
    });
}

#[test]
fn signs_of_life_after_the_first_text_do_not_put_off_the_end_of_the_call() {
    let address = server(true, |stream| {
        stream.write_all(SSE)?;
        stream.write_all(&chunk(&json!({"content": "hello"}), None))?;
        trickle(stream, b": ping\n\n")
    });
    let (env, output) =
        run(&format!("http://{address}"), "idle: 100ms, total: 400ms", &["stream", "hi"], Vec::new());
    assert!(output.stderr.contains("(the whole call)"), "{output}");
    let call = call(&env);
    assert_eq!((&call["status"], &call["error"]["kind"]), (&json!("partial"), &json!("timeout")));
    assert!(call["latency_ms"].as_u64().unwrap() >= 399, "{call}");
}

#[test]
fn who_takes_a_connection_and_reads_nothing_is_given_up() {
    // More than the sockets take, so that it cannot even be sent.
    let prompt = vec![b'x'; 16 << 20];
    let address = format!("http://{}", server(false, |_| Ok(())));
    let (env, _) = run(&address, SHORT, &["chat", "--retries", "0"], prompt);
    assert_eq!(call(&env)["error"]["kind"], "timeout");
}

#[test]
fn a_handshake_that_does_not_end_is_no_connection() {
    let address = format!("https://{}", server(true, |_| Ok(())));
    let (env, output) = run(&address, "connect: 200ms", &["chat", "--retries", "1", "hi"], Vec::new());
    assert!(output.stderr.contains("no connection within 200ms"), "{output}");
    let call = call(&env);
    assert_eq!((&call["error"]["kind"], &call["attempts"]), (&json!("connect"), &json!(2)));
    // Nothing can have been billed.
    assert_eq!((&call["cost_usd"], &call["cost_status"]), (&json!(0.0), &json!("exact")));
}

#[test]
fn a_refusal_counts_although_its_reasons_never_end() {
    let refusals: [(Deed, u64); 3] = [
        (|stream| stream.write_all(b"HTTP/1.1 401 No\r\ncontent-length: 1000\r\n\r\n{\"error\": "), 401),
        (|stream| stream.write_all(b"HTTP/1.1 429 No\r\nretry-after: 600\r\ncontent-length: 9\r\n\r\n"), 429),
        (
            |stream| {
                stream.write_all(b"HTTP/1.1 500 No\r\n\r\n")?;
                trickle(stream, b"x")
            },
            500,
        ),
    ];
    for (deed, status) in refusals {
        let address = format!("http://{}", server(true, deed));
        let (env, output) = run(&address, "", &["chat", "--retries", "0", "hi"], Vec::new());
        let error = call(&env)["error"].clone();
        assert_eq!(error["status"], status, "{error} {output}");
    }
}

#[test]
fn an_answer_is_over_with_its_end_mark_whatever_the_connection_does() {
    let gate = Gate::new();
    let mut pieces = super::events(&["hello"]);
    pieces.push(b"data: [DONE]\n\n".to_vec());
    let count = pieces.len();
    let wired = Wired::always(Reply::sse(pieces).gate_after_events(count, &gate));
    let output = wired.llmops(["stream", "hi"]).run().expect_status(0);
    assert_eq!(output.stdout, "hello\n");
    assert_eq!(wired.call()["status"], "ok");
}
