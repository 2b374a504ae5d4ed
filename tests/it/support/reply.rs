//! What the test upstream answers: a description a handler builds, and its
//! rendering into the bytes of an HTTP/1.1 response. An answer becomes a whole
//! body or a stream of events, whichever the request asked for.

use serde_json::{Value, json};

use super::gate::Gate;
use super::upstream::Received;

/// One answer of the test upstream.
#[derive(Clone)]
pub struct Reply {
    kind: Kind,
    headers: Vec<(String, String)>,
    cut: Option<usize>,
    hold: Option<Hold>,
}

#[derive(Clone)]
enum Kind {
    Answer(Answer),
    Whole { status: u16, content_type: String, bytes: Vec<u8> },
    Stream(Vec<Vec<u8>>),
    Drop,
    Hang,
}

#[derive(Clone)]
struct Answer {
    text: String,
    model: Option<String>,
    usage: Option<Usage>,
    finish_reason: String,
}

#[derive(Clone, Copy)]
struct Usage {
    prompt: u64,
    completion: u64,
    cached: Option<u64>,
}

#[derive(Clone)]
struct Hold {
    gate: Gate,
    /// `None` holds the whole response, status line included.
    after_pieces: Option<usize>,
}

impl Reply {
    /// A chat completion which says `text`, with 10 prompt tokens and 5
    /// completion tokens; the model is the one the request named.
    pub fn answer(text: impl Into<String>) -> Self {
        Self::of(Kind::Answer(Answer {
            text: text.into(),
            model: None,
            usage: Some(Usage { prompt: 10, completion: 5, cached: None }),
            finish_reason: "stop".to_owned(),
        }))
    }

    /// An error in the API's form, streamed request or not.
    pub fn error(status: u16, code: &str) -> Self {
        let kind = match status {
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        };
        let body = json!({"error": {
            "message": format!("the test upstream answers {code}"),
            "type": kind,
            "param": null,
            "code": code,
        }});
        Self::raw(status, "application/json", body.to_string())
    }

    /// Any JSON body, with status 200.
    pub fn json(body: &Value) -> Self {
        Self::raw(200, "application/json", body.to_string())
    }

    /// Any whole body.
    pub fn raw(status: u16, content_type: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self::of(Kind::Whole { status, content_type: content_type.to_owned(), bytes: bytes.into() })
    }

    /// An event stream in exactly these pieces, one transfer chunk each; they
    /// need not be whole events, lines or characters.
    pub fn sse(pieces: Vec<Vec<u8>>) -> Self {
        Self::of(Kind::Stream(pieces))
    }

    /// Resets the connection before any byte of an answer.
    pub fn drop_connection() -> Self {
        Self::of(Kind::Drop)
    }

    /// Never answers: lasts until the client goes away or the upstream ends.
    pub fn hang() -> Self {
        Self::of(Kind::Hang)
    }

    fn of(kind: Kind) -> Self {
        Self { kind, headers: Vec::new(), cut: None, hold: None }
    }

    /// Token counts other than 10 and 5.
    #[must_use]
    pub fn usage(mut self, prompt: u64, completion: u64) -> Self {
        let answer = self.answer_mut();
        let cached = answer.usage.and_then(|usage| usage.cached);
        answer.usage = Some(Usage { prompt, completion, cached });
        self
    }

    /// No usage at all, as some compatible servers answer.
    #[must_use]
    pub fn without_usage(mut self) -> Self {
        self.answer_mut().usage = None;
        self
    }

    /// So many of the prompt tokens were cached ones.
    #[must_use]
    pub fn cached(mut self, tokens: u64) -> Self {
        let usage = self.answer_mut().usage.as_mut();
        usage.expect("cached() needs usage").cached = Some(tokens);
        self
    }

    /// The model that claims to have answered.
    #[must_use]
    pub fn model(mut self, model: &str) -> Self {
        self.answer_mut().model = Some(model.to_owned());
        self
    }

    /// A finish reason other than `stop`.
    #[must_use]
    pub fn finish_reason(mut self, reason: &str) -> Self {
        reason.clone_into(&mut self.answer_mut().finish_reason);
        self
    }

    /// One more response header, on any kind of reply.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Closes the connection after `count` events of a stream, without the
    /// terminating chunk; a whole body is cut in half whatever the count.
    #[must_use]
    pub fn cut_after_events(mut self, count: usize) -> Self {
        self.cut = Some(count);
        self
    }

    /// Holds the response, status line included, until the gate is released.
    #[must_use]
    pub fn gate(mut self, gate: &Gate) -> Self {
        self.hold = Some(Hold { gate: gate.clone(), after_pieces: None });
        self
    }

    /// Sends the head and `count` events, then holds the rest; of a whole body
    /// the second half is held whatever the count.
    #[must_use]
    pub fn gate_after_events(mut self, count: usize, gate: &Gate) -> Self {
        self.hold = Some(Hold { gate: gate.clone(), after_pieces: Some(count) });
        self
    }

    fn answer_mut(&mut self) -> &mut Answer {
        match &mut self.kind {
            Kind::Answer(answer) => answer,
            _ => panic!("only Reply::answer has usage, a model and a finish reason"),
        }
    }
}

/// A reply as it goes over the wire.
pub(super) enum Wire {
    /// Close with a reset, say nothing.
    Drop,
    /// Say nothing and stay.
    Hang,
    /// A response, possibly an interrupted one.
    Response(Response),
}

/// The bytes of one response and where it stops or waits.
pub(super) struct Response {
    pub head: Vec<u8>,
    pub pieces: Vec<Vec<u8>>,
    /// The terminating chunk of a stream; empty for a whole body.
    pub end: &'static [u8],
    /// Close instead of writing the piece of this number (the end counts as
    /// the last piece).
    pub cut: Option<usize>,
    /// Hold before the head.
    pub hold_head: Option<Gate>,
    /// Hold before the piece of this number.
    pub hold_piece: Option<(usize, Gate)>,
}

impl Reply {
    /// Renders the reply for the request it answers.
    pub(super) fn into_wire(self, request: &Received) -> Wire {
        let (status, content_type, pieces, streamed) = match self.kind {
            Kind::Drop => return Wire::Drop,
            Kind::Hang => return Wire::Hang,
            Kind::Whole { status, content_type, bytes } => (status, content_type, halves(bytes), false),
            Kind::Stream(pieces) => (200, "text/event-stream".to_owned(), pieces, true),
            Kind::Answer(answer) if request.wants_stream() => {
                let pieces = answer.events(request);
                (200, "text/event-stream".to_owned(), pieces, true)
            }
            Kind::Answer(answer) => {
                let body = answer.completion(request).to_string().into_bytes();
                (200, "application/json".to_owned(), halves(body), false)
            }
        };
        // A whole body has one place to stop at: its middle.
        let place = |count: usize| if streamed { count.min(pieces.len()) } else { 1 };
        let (hold_head, hold_piece) = match self.hold {
            None => (None, None),
            Some(hold) => match hold.after_pieces {
                None => (Some(hold.gate), None),
                Some(count) => (None, Some((place(count), hold.gate))),
            },
        };
        let length = (!streamed).then(|| pieces.iter().map(Vec::len).sum());
        Wire::Response(Response {
            head: head(status, &content_type, &self.headers, length),
            cut: self.cut.map(place),
            pieces: if streamed { chunks(pieces) } else { pieces },
            end: if streamed { b"0\r\n\r\n" } else { b"" },
            hold_head,
            hold_piece,
        })
    }
}

fn halves(mut bytes: Vec<u8>) -> Vec<Vec<u8>> {
    let rest = bytes.split_off(bytes.len() / 2);
    vec![bytes, rest]
}

fn chunks(pieces: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let chunk = |piece: Vec<u8>| {
        assert!(!piece.is_empty(), "an empty chunk would end the stream");
        let size = format!("{:x}\r\n", piece.len()).into_bytes();
        [size, piece, b"\r\n".to_vec()].concat()
    };
    pieces.into_iter().map(chunk).collect()
}

/// `length` is missing for a stream, which goes out in chunks.
fn head(status: u16, content_type: &str, headers: &[(String, String)], length: Option<usize>) -> Vec<u8> {
    let mut lines = vec![
        // The reason phrase may be empty, and clients must not read it.
        format!("HTTP/1.1 {status} "),
        format!("content-type: {content_type}"),
        match length {
            Some(length) => format!("content-length: {length}"),
            None => "transfer-encoding: chunked".to_owned(),
        },
    ];
    lines.extend(headers.iter().map(|(name, value)| format!("{name}: {value}")));
    format!("{}\r\n\r\n", lines.join("\r\n")).into_bytes()
}

impl Answer {
    fn completion(&self, request: &Received) -> Value {
        let mut body = self.envelope(request, "chat.completion");
        body["choices"] = json!([{
            "index": 0,
            "message": {"role": "assistant", "content": self.text, "refusal": null},
            "logprobs": null,
            "finish_reason": self.finish_reason,
        }]);
        if let Some(usage) = self.usage {
            body["usage"] = usage.json();
        }
        body
    }

    fn events(&self, request: &Received) -> Vec<Vec<u8>> {
        let mut deltas = vec![(json!({"role": "assistant", "content": ""}), Value::Null)];
        for text in slices(&self.text, 5) {
            deltas.push((json!({ "content": text }), Value::Null));
        }
        deltas.push((json!({}), json!(self.finish_reason)));
        let counted = request.wants_stream_usage();
        let mut events: Vec<Value> = deltas
            .into_iter()
            .map(|(delta, reason)| {
                let mut event = self.envelope(request, "chat.completion.chunk");
                event["choices"] = json!([{"index": 0, "delta": delta, "finish_reason": reason}]);
                // As the API does it: null in every chunk but the last.
                if counted {
                    event["usage"] = Value::Null;
                }
                event
            })
            .collect();
        if let Some(usage) = self.usage.filter(|_| counted) {
            let mut event = self.envelope(request, "chat.completion.chunk");
            event["choices"] = json!([]);
            event["usage"] = usage.json();
            events.push(event);
        }
        let lines = events.iter().map(Value::to_string);
        lines.chain(["[DONE]".to_owned()]).map(|data| format!("data: {data}\n\n").into_bytes()).collect()
    }

    fn envelope(&self, request: &Received, object: &str) -> Value {
        let asked = request.body["model"].as_str().unwrap_or("test-model");
        json!({
            "id": "chatcmpl-test",
            "object": object,
            "created": 1_767_225_600,
            "model": self.model.as_deref().unwrap_or(asked),
        })
    }
}

impl Usage {
    fn json(self) -> Value {
        let mut usage = json!({
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
        });
        if let Some(cached) = self.cached {
            usage["prompt_tokens_details"] = json!({ "cached_tokens": cached });
        }
        usage
    }
}

/// The text in slices of `size` characters.
fn slices(text: &str, size: usize) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    characters.chunks(size).map(|slice| slice.iter().collect()).collect()
}
