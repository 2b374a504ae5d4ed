//! A real HTTP/1.1 server on the loopback which stands in for an
//! OpenAI-compatible API: black-box tests say what it answers and ask it
//! afterwards what it was sent. One thread a connection, connections are kept
//! alive, nothing sleeps.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::gate::Gate;
use super::reply::{Reply, Response, Wire};

type Handler = dyn Fn(&Received) -> Reply + Send + Sync;

/// One request as it came in.
#[derive(Clone, Debug)]
pub struct Received {
    /// `POST`, mostly.
    pub method: String,
    /// The request target: path and query, `/v1` included.
    pub path: String,
    /// Header names are in lower case.
    pub headers: BTreeMap<String, String>,
    /// The JSON body; null when empty, a string when it is no JSON.
    pub body: Value,
    /// How many earlier requests had an identical body: 0 for the first
    /// attempt, 1 for the first retry.
    pub seen: usize,
}

impl Received {
    /// A header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The text of the last message with the role `user`, empty if there is
    /// none; of content in parts, the text parts joined.
    pub fn last_user_text(&self) -> String {
        let messages = self.body["messages"].as_array();
        let mut users = messages.into_iter().flatten();
        let last = users.rfind(|message| message["role"] == "user");
        match last.map(|message| &message["content"]) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(parts)) => parts.iter().filter_map(|p| p["text"].as_str()).collect(),
            _ => String::new(),
        }
    }

    /// Whether the request asks for a stream of events.
    pub fn wants_stream(&self) -> bool {
        self.body["stream"] == true
    }

    /// Whether the stream is to end with an event about usage.
    pub fn wants_stream_usage(&self) -> bool {
        self.body["stream_options"]["include_usage"] == true
    }
}

/// When a request came in, and when its answer was over, or its client had gone away.
#[derive(Clone, Copy, Debug)]
pub struct Visit {
    pub came: Instant,
    pub left: Option<Instant>,
}

/// The running server. Dropping it hangs up on everybody and panics when it
/// was called although it must not be, or was not although it should.
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<usize>>,
    must_be_called: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    closing: AtomicBool,
}

#[derive(Default)]
struct State {
    received: Vec<Received>,
    visits: Vec<Visit>,
    /// How many requests had this body.
    bodies: HashMap<String, usize>,
    hangups: usize,
    in_flight: usize,
    max_in_flight: usize,
}

/// An address nobody listens on.
pub fn refused_url() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    format!("http://{address}/v1")
}

impl Upstream {
    /// Starts a server that answers every request as `handler` says.
    pub fn start(handler: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::launch(Arc::new(handler), true)
    }

    /// Starts a server that nobody may call.
    pub fn unused() -> Self {
        Self::launch(Arc::new(|_| Reply::error(500, "must_not_be_called")), false)
    }

    fn launch(handler: Arc<Handler>, must_be_called: bool) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let accepting = thread::spawn(move || accept(&listener, &theirs, &handler));
        Self { address, shared, accepting: Some(accepting), must_be_called }
    }

    /// `http://127.0.0.1:PORT/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Every request so far, in the order of arrival.
    pub fn received(&self) -> Vec<Received> {
        self.shared.state.lock().unwrap().received.clone()
    }

    /// When they came and were done with, in the order of arrival.
    pub fn visits(&self) -> Vec<Visit> {
        self.shared.state.lock().unwrap().visits.clone()
    }

    /// Waits until the requests so far have come to something; false after `timeout`.
    #[must_use]
    pub fn wait_for_visits(&self, timeout: Duration, done: impl Fn(&[Visit]) -> bool) -> bool {
        self.shared.wait(timeout, |state| done(&state.visits))
    }

    /// How many requests were at most being answered at one time. A client
    /// that gave up counts until the server notices.
    pub fn max_in_flight(&self) -> usize {
        self.shared.state.lock().unwrap().max_in_flight
    }

    /// How many requests have come in, and how many of them are being answered just now.
    pub fn load(&self) -> (usize, usize) {
        let state = self.shared.state.lock().unwrap();
        (state.received.len(), state.in_flight)
    }

    /// Waits until `count` requests have come in; false after `timeout`.
    #[must_use]
    pub fn wait_for_requests(&self, count: usize, timeout: Duration) -> bool {
        self.shared.wait(timeout, |state| state.received.len() >= count)
    }

    /// Waits until a client has gone away in the middle of an answer: while it
    /// was held or hanging, or while it was written.
    #[must_use]
    pub fn wait_for_hangup(&self, timeout: Duration) -> bool {
        self.wait_for_hangups(1, timeout)
    }

    /// Waits until `count` clients have gone away in the middle of an answer.
    #[must_use]
    pub fn wait_for_hangups(&self, count: usize, timeout: Duration) -> bool {
        self.shared.wait(timeout, |state| state.hangups >= count)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        // One connection more, to get the listener out of accept().
        let _ = TcpStream::connect(self.address);
        let panics = self.accepting.take().map_or(0, |thread| thread.join().unwrap_or(1));
        if thread::panicking() {
            return;
        }
        let calls = self.shared.state.lock().unwrap().received.len();
        assert_eq!(panics, 0, "the upstream's handler panicked, see above");
        if self.must_be_called {
            assert_ne!(calls, 0, "nobody called the upstream");
        } else {
            assert_eq!(calls, 0, "the upstream was not to be called");
        }
    }
}

impl Shared {
    fn wait(&self, timeout: Duration, done: impl Fn(&State) -> bool) -> bool {
        let state = self.state.lock().unwrap();
        let waited = self.changed.wait_timeout_while(state, timeout, |state| !done(state));
        !waited.unwrap().1.timed_out()
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
        changed
    }

    /// Counts the request and puts it on record, at the place that is returned.
    fn enter(&self, mut request: Received) -> (Received, usize) {
        let body = request.body.to_string();
        let place = self.change(|state| {
            let same = state.bodies.entry(body).or_default();
            request.seen = *same;
            *same += 1;
            state.received.push(request.clone());
            state.visits.push(Visit { came: Instant::now(), left: None });
            state.in_flight += 1;
            state.max_in_flight = state.max_in_flight.max(state.in_flight);
            state.visits.len() - 1
        });
        (request, place)
    }

    /// A client that goes away because the server ends has not hung up.
    fn note_hangup(&self) {
        if !self.closing.load(Ordering::SeqCst) {
            self.change(|state| state.hangups += 1);
        }
    }
}

/// Accepts until the upstream closes; tells how many connections panicked.
fn accept(listener: &TcpListener, shared: &Arc<Shared>, handler: &Arc<Handler>) -> usize {
    // Weak, because the thread of a connection must be able to really close it.
    let mut connections: Vec<(Weak<TcpStream>, JoinHandle<()>)> = Vec::new();
    for stream in listener.incoming() {
        if shared.closing.load(Ordering::SeqCst) {
            break;
        }
        let Ok(stream) = stream.map(Arc::new) else {
            continue;
        };
        let weak = Arc::downgrade(&stream);
        let (shared, handler) = (Arc::clone(shared), Arc::clone(handler));
        let thread = thread::spawn(move || converse(&stream, &shared, &*handler));
        connections.push((weak, thread));
    }
    for stream in connections.iter().filter_map(|(weak, _)| weak.upgrade()) {
        let _ = stream.shutdown(Shutdown::Both);
    }
    let ends = connections.into_iter().map(|(_, thread)| thread.join());
    ends.filter(Result::is_err).count()
}

/// Answers the requests of one connection until either side ends it.
fn converse(stream: &Arc<TcpStream>, shared: &Arc<Shared>, handler: &Handler) {
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(&**stream);
    while let Some(request) = read_request(&mut reader) {
        let (request, place) = shared.enter(request);
        let mut exchange = Exchange { stream, shared, entered: Some(place) };
        let last = request.header("connection") == Some("close");
        let next = exchange.answer(handler(&request), &request);
        drop(exchange);
        match next {
            Ok(Next::Continue) if !last => continue,
            Ok(Next::Reset) => return,
            Ok(_) => {}
            Err(_) => shared.note_hangup(),
        }
        break;
    }
    // Merely dropping the stream would not do while a watcher has a clone.
    let _ = stream.shutdown(Shutdown::Both);
}

/// How a connection goes on after an answer.
enum Next {
    Continue,
    Close,
    Reset,
}

/// One request that is being answered.
struct Exchange<'a> {
    stream: &'a TcpStream,
    shared: &'a Arc<Shared>,
    /// Its place on record, until it is over.
    entered: Option<usize>,
}

impl Exchange<'_> {
    /// An error means that the client went away.
    fn answer(&mut self, reply: Reply, request: &Received) -> io::Result<Next> {
        match reply.into_wire(request) {
            Wire::Response(response) => self.send(&response),
            Wire::Hang => self.hold(&Gate::new()).map(|()| Next::Close),
            Wire::Drop => {
                self.leave();
                // Closing without lingering sends a reset instead of an end.
                rustix::net::sockopt::set_socket_linger(self.stream, Some(Duration::ZERO))?;
                Ok(Next::Reset)
            }
        }
    }

    fn send(&mut self, response: &Response) -> io::Result<Next> {
        if let Some(gate) = &response.hold_head {
            self.hold(gate)?;
        }
        self.write(&response.head)?;
        for number in 0..=response.pieces.len() {
            if response.cut == Some(number) {
                self.leave();
                return Ok(Next::Close);
            }
            if let Some((_, gate)) = response.hold_piece.as_ref().filter(|(at, _)| *at == number) {
                self.hold(gate)?;
            }
            // After the last piece the client may call again at once, so this
            // request is over before that piece is written.
            if number + 1 >= response.pieces.len() {
                self.leave();
            }
            self.write(response.pieces.get(number).map_or(response.end, Vec::as_slice))?;
        }
        Ok(Next::Continue)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Waits at the gate. A client says nothing while it waits for its answer,
    /// so a read that returns means that it has gone.
    fn hold(&mut self, gate: &Gate) -> io::Result<()> {
        let gone = Arc::new(AtomicBool::new(false));
        let watched = self.stream.try_clone()?;
        let (theirs, at) = (Arc::clone(&gone), gate.clone());
        thread::spawn(move || {
            if !matches!(watched.peek(&mut [0]), Ok(1..)) {
                at.abandon(&theirs);
            }
        });
        if gate.hold(&gone) {
            return Ok(());
        }
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    fn leave(&mut self) {
        if let Some(place) = self.entered.take() {
            self.shared.change(|state| {
                state.in_flight -= 1;
                state.visits[place].left = Some(Instant::now());
            });
        }
    }
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The next request of a connection; none if the client has no more.
fn read_request(reader: &mut impl BufRead) -> Option<Received> {
    let start = read_line(reader)?;
    let mut words = start.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let line = read_line(reader)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(Some(0), |length| length.parse().ok())?;
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes).ok()?;
    let body = if bytes.is_empty() {
        Value::Null
    } else {
        let text = String::from_utf8_lossy(&bytes);
        serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.into_owned()))
    };
    Some(Received { method, path, headers, body, seen: 0 })
}

fn read_line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    let read = reader.read_line(&mut line).ok()?;
    (read > 0).then(|| line.trim_end().to_owned())
}
