//! The test upstream, tested with bare sockets: what it claims to do to its
//! clients it must really do, or the tests built on it prove nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Gate, Reply, Upstream, refused_url};

const SOON: Duration = Duration::from_secs(10);

fn connect(upstream: &Upstream) -> TcpStream {
    let url = upstream.base_url();
    let address = url.trim_start_matches("http://").trim_end_matches("/v1");
    TcpStream::connect(address).unwrap()
}

fn send(stream: &mut TcpStream, body: &Value) {
    let body = body.to_string();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k";
    write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
}

fn request(stream: bool) -> Value {
    json!({
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
        "stream": stream,
        "stream_options": {"include_usage": stream},
    })
}

/// Reads until the text ends so, which leaves the connection open.
fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end.as_bytes()) {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("more of the answer");
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).unwrap()
}

fn read_to_end(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// The data of the events in a chunked body.
fn events(response: &str) -> Vec<Value> {
    let data = response.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter_map(|data| serde_json::from_str(data).ok()).collect()
}

#[test]
fn whole_answers_share_a_connection_and_are_counted() {
    let upstream = Upstream::start(|request| match request.seen {
        0 => Reply::error(429, "slow_down").header("retry-after", "7"),
        _ => Reply::answer(request.last_user_text()).usage(3, 4).cached(2),
    });
    let mut stream = connect(&upstream);
    send(&mut stream, &request(false));
    let refused = read_until(&mut stream, "}}");
    assert!(refused.starts_with("HTTP/1.1 429 \r\n"), "{refused}");
    assert!(refused.contains("\r\nretry-after: 7\r\n"), "{refused}");
    assert!(refused.contains(r#""code":"slow_down""#), "{refused}");

    send(&mut stream, &request(false));
    let answer = read_until(&mut stream, r#"{"cached_tokens":2}}}"#);
    assert!(answer.contains(r#""content":"hello""#), "{answer}");
    assert!(answer.contains(r#""total_tokens":7"#), "{answer}");
    let received = upstream.received();
    assert_eq!((received[0].seen, received[1].seen), (0, 1));
    assert_eq!(received[1].path, "/v1/chat/completions");
    assert_eq!(received[1].header("authorization"), Some("Bearer k"));
    assert_eq!(upstream.max_in_flight(), 1);
}

#[test]
fn an_answer_streams_when_asked_to() {
    let upstream = Upstream::start(|_| Reply::answer("größer als 7").finish_reason("length"));
    let mut stream = connect(&upstream);
    send(&mut stream, &request(true));
    let response = read_until(&mut stream, "data: [DONE]\n\n\r\n0\r\n\r\n");
    let events = events(&response);
    let deltas = events.iter().filter_map(|e| e["choices"][0]["delta"]["content"].as_str());
    assert_eq!(deltas.collect::<Vec<_>>(), ["", "größe", "r als", " 7"]);
    assert_eq!(events[4]["choices"][0]["finish_reason"], "length");
    assert_eq!(events[5]["choices"], json!([]));
    assert_eq!(events[5]["usage"]["prompt_tokens"], 10);
}

#[test]
fn streams_and_bodies_are_cut_in_the_middle() {
    let upstream = Upstream::start(|_| Reply::answer("hello world").cut_after_events(2));
    let mut stream = connect(&upstream);
    send(&mut stream, &request(true));
    let response = read_to_end(&mut stream);
    assert_eq!(events(&response).len(), 2);
    assert!(!response.ends_with("0\r\n\r\n"), "{response}");

    let mut stream = connect(&upstream);
    send(&mut stream, &request(false));
    let response = read_to_end(&mut stream);
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let (_, length) = head.split_once("content-length: ").unwrap();
    assert_eq!(body.len(), length.parse::<usize>().unwrap() / 2);
}

#[test]
fn a_dropped_connection_is_reset() {
    let upstream = Upstream::start(|_| Reply::drop_connection());
    let mut stream = connect(&upstream);
    send(&mut stream, &request(false));
    let error = stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_gate_holds_the_rest_of_a_stream_until_released() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Reply::answer("hello").gate_after_events(2, &held));
    let mut stream = connect(&upstream);
    send(&mut stream, &request(true));
    assert!(gate.wait_until_reached(SOON));
    let before = read_until(&mut stream, "\n\n\r\n") + &read_until(&mut stream, "\n\n\r\n");
    assert_eq!(events(&before).len(), 2);
    stream.set_nonblocking(true).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    stream.set_nonblocking(false).unwrap();
    gate.release();
    read_until(&mut stream, "[DONE]\n\n\r\n0\r\n\r\n");
    drop(stream);
    // The client left after its answer, which is no hang-up.
    assert!(!upstream.wait_for_hangup(Duration::ZERO));
}

#[test]
fn clients_that_go_away_while_held_are_noticed() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |request| {
        if request.wants_stream() { Reply::answer("hello").gate(&held) } else { Reply::hang() }
    });
    let mut streams = [connect(&upstream), connect(&upstream)];
    send(&mut streams[0], &request(true));
    send(&mut streams[1], &request(false));
    assert!(upstream.wait_for_requests(2, SOON));
    assert!(gate.wait_until_reached(SOON));
    assert_eq!(upstream.max_in_flight(), 2);
    drop(streams);
    assert!(upstream.wait_for_hangups(2, SOON));
}

#[test]
fn an_upstream_that_ends_lets_go_of_everybody() {
    let upstream = Upstream::start(|_| Reply::hang());
    let mut stream = connect(&upstream);
    send(&mut stream, &request(false));
    assert!(upstream.wait_for_requests(1, SOON));
    drop(upstream);
    assert_eq!(read_to_end(&mut stream), "");
}

#[test]
fn raw_pieces_arrive_as_they_are() {
    let pieces = vec![b"data: \xc3".to_vec(), b"\xa9\n\n".to_vec()];
    let upstream = Upstream::start(move |_| Reply::sse(pieces.clone()));
    let mut stream = connect(&upstream);
    send(&mut stream, &request(true));
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"0\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    let body = b"7\r\ndata: \xc3\r\n3\r\n\xa9\n\n\r\n0\r\n\r\n";
    assert!(bytes.ends_with(body), "{:?}", String::from_utf8_lossy(&bytes));
}

#[test]
fn nobody_listens_at_a_refused_address() {
    let url = refused_url();
    let address = url.trim_start_matches("http://").trim_end_matches("/v1");
    let error = TcpStream::connect(address).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    drop(Upstream::unused());
}

#[test]
#[should_panic(expected = "nobody called the upstream")]
fn an_upstream_insists_on_being_called() {
    drop(Upstream::start(|_| Reply::json(&Value::Null)));
}

#[test]
#[should_panic(expected = "was not to be called")]
fn an_unused_upstream_insists_on_being_left_alone() {
    let upstream = Upstream::unused();
    let mut stream = connect(&upstream);
    send(&mut stream, &request(false));
    read_until(&mut stream, "}}");
}
