//! A simulator of a provider, inside the program: for trying things out offline, for tests, and for
//! failure drills. Same request, same answer; faults depend on the seed, the request and the attempt, so
//! that a retry can succeed. It counts tokens with a real tokenizer, as a provider would, and reports them.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{EventStream, Outgoing, Provider};
use crate::domain::event::{Completion, Delta, Event, text_of};
use crate::domain::failure::{Failure, FailureKind};
use crate::domain::request::ChatRequest;
use crate::domain::settings::{SimModel, SimProfile, SimSettings};
use crate::domain::usage::Usage;
use crate::policy::{template, tokens};

/// Characters of a piece of a streamed answer, which counts as a token where tokens have a speed.
const PIECE: usize = 4;

/// The simulator.
#[derive(Debug)]
pub(super) struct Sim {
    settings: SimSettings,
}

/// The ways in which it can fail, in the order in which their rates are added up.
enum Fault {
    RateLimit,
    Error,
    Timeout,
    Drop,
    Cut,
}

impl Sim {
    pub(super) fn new(settings: SimSettings) -> Self {
        Self { settings }
    }

    async fn answer(&self, outgoing: &Outgoing, attempt: u32) -> Result<Box<dyn EventStream>, Failure> {
        let model = self.settings.models.get(outgoing.model.as_str());
        let profile = model.map_or(self.settings.profile, |model| model.profile);
        let fault = self.fault(profile, &outgoing.body, attempt);
        sleep(profile.latency).await;
        match fault {
            Some(Fault::RateLimit) => Err(Failure {
                status: Some(429),
                code: Some("rate_limit_exceeded".into()),
                retry_after: Some(Duration::from_secs(1)),
                ..Failure::new(FailureKind::Http, "sim answered 429: simulated rate limit")
            }),
            Some(Fault::Error) => Err(Failure {
                status: Some(500),
                ..Failure::new(FailureKind::Http, "sim answered 500: simulated error")
            }),
            Some(Fault::Timeout) => std::future::pending().await,
            Some(Fault::Drop) => {
                Err(Failure::new(FailureKind::Dropped, "lost the connection to sim: simulated drop"))
            }
            cut => {
                let (answer, reason) = answer_text(model, outgoing)?;
                let completion = completion(outgoing, &answer, reason);
                Ok(Box::new(Playing::new(&answer, completion, profile, outgoing, cut.is_some())))
            }
        }
    }

    fn fault(&self, profile: SimProfile, body: &[u8], attempt: u32) -> Option<Fault> {
        let seed = self.settings.seed ^ hash(body) ^ u64::from(attempt).rotate_left(32);
        let mut dice = fastrand::Rng::with_seed(seed).f64();
        let faults = [
            (profile.rate_limit, Fault::RateLimit),
            (profile.error, Fault::Error),
            (profile.timeout, Fault::Timeout),
            (profile.drop, Fault::Drop),
            (profile.cut, Fault::Cut),
        ];
        faults.into_iter().find_map(|(rate, fault)| {
            dice -= rate;
            (dice < 0.0).then_some(fault)
        })
    }
}

impl Provider for Sim {
    fn open<'a>(
        &'a self,
        outgoing: &'a Outgoing,
        attempt: u32,
    ) -> BoxFuture<'a, Result<Box<dyn EventStream>, Failure>> {
        self.answer(outgoing, attempt).boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<(), Failure>> {
        ready(Ok(())).boxed()
    }
}

/// FNV-1a, which unlike the standard library's hashes is the same in every version.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The model's own answer, or an echo, no longer than the request allows; and why it ends there.
fn answer_text(model: Option<&SimModel>, outgoing: &Outgoing) -> Result<(String, &'static str), Failure> {
    let request = &outgoing.request;
    let name = outgoing.model.as_str();
    let text = match model.and_then(|model| model.answer.as_deref()) {
        None => request.last_user_text(),
        Some(source) => {
            template::render(&format!("sim.models.{name}.answer"), source, variables(request, name)).map_err(
                |error| Failure {
                    status: Some(400),
                    ..Failure::new(FailureKind::Http, format!("sim answered 400: {error}"))
                },
            )?
        }
    };
    let limit = request.output_limit().unwrap_or(u64::MAX);
    let prefix = tokens::prefix(name, &text, limit);
    let reason = if prefix.len() < text.len() { "length" } else { "stop" };
    Ok((prefix.to_owned(), reason))
}

fn variables(request: &ChatRequest, model: &str) -> Value {
    let system = request.messages().iter().find(|message| message["role"] == "system");
    json!({
        "prompt": request.last_user_text(),
        "system": system.map(|message| text_of(&message["content"])).unwrap_or_default(),
        "messages": request.messages(),
        "model": model,
    })
}

fn completion(outgoing: &Outgoing, answer: &str, finish_reason: &str) -> Completion {
    let (request, model) = (&outgoing.request, outgoing.model.as_str());
    let usage = Usage {
        input_tokens: tokens::count_input(model, request),
        output_tokens: tokens::count_text(model, answer) * request.answers(),
        ..Usage::default()
    };
    let choices = (0..request.answers()).map(|index| {
        let message = json!({"role": "assistant", "content": answer});
        json!({"index": index, "message": message, "finish_reason": finish_reason})
    });
    let body = json!({
        "id": format!("sim-{:016x}", hash(&outgoing.body)),
        "object": "chat.completion",
        "model": model,
        "choices": choices.collect::<Vec<_>>(),
        "usage": {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.input_tokens + usage.output_tokens,
        },
    });
    Completion::from_body(body, Some(usage))
}

/// An answer on its way, at the profile's speed: in pieces if it is streamed, else as one. A cut answer
/// ends half way.
struct Playing {
    pieces: VecDeque<String>,
    played: String,
    pause: Duration,
    model: String,
    end: Option<Result<Completion, Failure>>,
}

impl Playing {
    fn new(
        answer: &str,
        completion: Completion,
        profile: SimProfile,
        outgoing: &Outgoing,
        cut: bool,
    ) -> Self {
        let letters: Vec<char> = answer.chars().collect();
        let mut pieces: VecDeque<String> =
            letters.chunks(PIECE).map(|piece| piece.iter().collect()).collect();
        let token = if profile.tps > 0.0 { 1.0 / profile.tps } else { 0.0 };
        let mut pause = token;
        if !outgoing.streamed {
            pause = token * pieces.len() as f64;
            pieces = VecDeque::from([answer.to_owned()]);
        }
        let broken = Failure::new(FailureKind::Stream, "sim ended its stream before the answer was finished");
        if cut {
            pieces.truncate(pieces.len() / 2);
        }
        Self {
            pieces,
            played: String::new(),
            pause: Duration::try_from_secs_f64(pause).unwrap_or_default(),
            model: outgoing.model.to_string(),
            end: Some(if cut { Err(broken) } else { Ok(completion) }),
        }
    }

    async fn play(&mut self) -> Option<Result<Event, Failure>> {
        if self.pieces.is_empty() {
            return Some(self.end.take()?.map(|completion| Event::Done(Box::new(completion))));
        }
        if !self.pause.is_zero() {
            sleep(self.pause).await;
        }
        let text = self.pieces.pop_front()?;
        self.played.push_str(&text);
        Some(Ok(Event::Delta(Delta { text, ..Delta::default() })))
    }
}

impl EventStream for Playing {
    fn next(&mut self) -> BoxFuture<'_, Option<Result<Event, Failure>>> {
        self.play().boxed()
    }

    fn so_far(&mut self) -> Option<Completion> {
        let message = json!({"role": "assistant", "content": std::mem::take(&mut self.played)});
        let choice = json!({"index": 0, "message": message, "finish_reason": null});
        let body = json!({"object": "chat.completion", "model": self.model, "choices": [choice]});
        Some(Completion::from_body(body, None))
    }
}
