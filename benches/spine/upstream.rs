//! The endpoint that answers: a process of its own, so that its CPU is in nobody's figures,
//! with no latency, so that the client is what is measured. It prints its port, answers every
//! chat completion with the same bytes, and counts, so that the harness can tell that each
//! request of a subject did arrive, once. It ends when its standard input does, and so never
//! outlives the harness.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::env;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{self, Child, Command, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::task::LocalSet;

use crate::Outcome;
use crate::measure::cpu_time;

/// The answer to everything: a short completion with its usage, as endpoints send it.
const COMPLETION: &str = concat!(
    r#"{"id":"chatcmpl-Bq7ZkT0f3xW9aLr2mN4vYc8e","object":"chat.completion","created":1760000000,"#,
    r#""model":"gpt-5.4-nano","choices":[{"index":0,"message":{"role":"assistant","content":"#,
    r#""A short answer: it depends, and mostly on what was asked.","refusal":null},"#,
    r#""logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":19,"completion_tokens":14,"#,
    r#""total_tokens":33,"prompt_tokens_details":{"cached_tokens":0},"#,
    r#""completion_tokens_details":{"reasoning_tokens":0}},"system_fingerprint":null}"#,
);

/// What arrived since the upstream began.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub struct Count {
    /// Chat completions.
    pub requests: u32,
    /// Requests for anything else, answered with 404.
    pub others: u32,
    /// The bytes of all bodies of chat completions.
    pub bytes: u32,
    /// Connections that carried at least one chat completion.
    pub connections: u32,
    /// User and system time of the upstream itself.
    pub cpu: Duration,
}

impl Count {
    /// What came between an earlier count and this one.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            requests: self.requests - earlier.requests,
            others: self.others - earlier.others,
            bytes: self.bytes.wrapping_sub(earlier.bytes),
            connections: self.connections - earlier.connections,
            cpu: self.cpu.saturating_sub(earlier.cpu),
        }
    }
}

/// The state of the server, which runs on one thread.
#[derive(Default)]
struct State {
    /// What arrived so far.
    count: Cell<Count>,
    /// The body of the latest chat completion.
    last: RefCell<Bytes>,
}

/// The server process: prints its port, then answers until its standard input ends.
pub fn serve() -> Outcome<()> {
    thread::spawn(|| {
        // An error ends the wait just as the end of the input does.
        let _ended = io::copy(&mut io::stdin(), &mut io::sink());
        process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(LocalSet::new().run_until(accept()))
}

/// Takes connections for ever.
async fn accept() -> Outcome<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("{}", listener.local_addr()?.port());
    let state = Rc::new(State::default());
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let state = Rc::clone(&state);
        tokio::task::spawn_local(async move {
            let fresh = Cell::new(true);
            let service = service_fn(|request| answer(&state, &fresh, request));
            // A client that goes away in the middle is seen in the count, not here.
            let _closed = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

/// Answers one request; `fresh` is whether its connection has carried none before.
async fn answer(
    state: &State,
    fresh: &Cell<bool>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let mut count = state.count.get();
    let (status, answer) = match (&head.method, head.uri.path()) {
        (&Method::POST, "/v1/chat/completions") => {
            count.requests += 1;
            count.connections += u32::from(fresh.replace(false));
            count.bytes = count.bytes.wrapping_add(u32::try_from(body.len()).unwrap_or(u32::MAX));
            state.last.replace(body);
            (StatusCode::OK, Bytes::from_static(COMPLETION.as_bytes()))
        }
        (&Method::GET, "/count") => (StatusCode::OK, counted(count)),
        (&Method::GET, "/last") => (StatusCode::OK, state.last.borrow().clone()),
        _ => {
            count.others += 1;
            (StatusCode::NOT_FOUND, Bytes::from_static(br#"{"error":{"message":"no such path"}}"#))
        }
    };
    state.count.set(count);
    let mut response = Response::new(Full::new(answer));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// The count as JSON, with the CPU time up to now.
fn counted(mut count: Count) -> Bytes {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok();
    count.cpu = usage.and_then(|usage| cpu_time(&usage).ok()).unwrap_or_default();
    serde_json::to_vec(&count).unwrap_or_default().into()
}

/// The harness's hold on the server process.
pub struct Upstream {
    /// The process, whose standard input stays open for as long as it is wanted.
    child: Child,
    /// Where it listens, on the loopback interface.
    port: u16,
}

impl Upstream {
    /// Starts the server and waits for its port.
    pub fn start() -> Outcome<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.arg("upstream").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let port = line.trim().parse().map_err(|_| "the upstream did not say its port")?;
        Ok(Self { child, port })
    }

    /// The address for clients.
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    /// What arrived since the start.
    pub fn count(&self) -> Outcome<Count> {
        Ok(serde_json::from_str(&self.get("/count")?)?)
    }

    /// The body of the latest chat completion.
    pub fn last_body(&self) -> Outcome<String> {
        self.get("/last")
    }

    /// A GET by hand: the harness has no runtime, and needs none for this.
    fn get(&self, path: &str) -> Outcome<String> {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut response = String::new();
        socket.read_to_string(&mut response)?;
        let (_, body) = response.split_once("\r\n\r\n").ok_or("the upstream did not answer")?;
        Ok(body.to_owned())
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // Nothing is left to do about a process that cannot be waited for.
        let _ended = self.child.wait();
    }
}
