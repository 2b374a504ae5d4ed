//! Pump: the rest of an answer, from the provider to the reader. The reader sees the end only when the
//! call is on the books. A reader that goes away, or a cancelled call, stops the provider at once.

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::AnswerEvent;
use super::dispatch::{Run, cancelled};
use super::record::Ending;
use crate::domain::event::{Completion, Delta, Event};
use crate::domain::failure::{Failure, FailureKind};
use crate::provider::EventStream;

/// An answer of which the first event is there.
pub(super) struct Live {
    pub(super) first: Option<Event>,
    pub(super) stream: EventStream,
}

impl Run {
    pub(super) async fn pump(self, mut live: Live, reader: mpsc::Sender<AnswerEvent>) {
        let mut seen = Seen::default();
        let ending = loop {
            match self.next_event(&mut live, &reader).await {
                Ok(Event::Delta(delta)) => {
                    seen.add(&delta);
                    if let Err(failure) = self.forward(delta, &reader).await {
                        break Ending::Part(seen, failure);
                    }
                }
                Ok(Event::Done(completion)) => break Ending::Whole(completion),
                Err(failure) => break Ending::Part(seen, failure),
            }
        };
        // The connection ends here, before the record is written.
        drop(live);
        let outcome = self.settle(ending).await;
        // A reader that has gone needs no end.
        let _ = reader.send(AnswerEvent::End(Box::new(outcome))).await;
    }

    async fn next_event(
        &self,
        live: &mut Live,
        reader: &mpsc::Sender<AnswerEvent>,
    ) -> Result<Event, Failure> {
        if let Some(first) = live.first.take() {
            return Ok(first);
        }
        let until = (Instant::now() + self.parts.timeouts.idle).min(self.deadline());
        tokio::select! {
            biased;
            () = self.context.cancel.cancelled() => Err(cancelled()),
            () = reader.closed() => Err(cancelled()),
            next = timeout_at(until, live.stream.next()) => match next {
                Ok(Some(event)) => event,
                Ok(None) => Err(Failure::new(FailureKind::Stream, format!("{} broke off", self.plan.target))),
                Err(_) => Err(self.timed_out("no further piece")),
            },
        }
    }

    /// Waits as long as the reader does: its slowness is not the provider's silence.
    async fn forward(&self, delta: Delta, reader: &mpsc::Sender<AnswerEvent>) -> Result<(), Failure> {
        tokio::select! {
            biased;
            () = self.context.cancel.cancelled() => Err(cancelled()),
            sent = reader.send(AnswerEvent::Delta(delta)) => sent.map_err(|_| cancelled()),
        }
    }
}

/// What was seen of an answer, for when it does not end.
#[derive(Debug, Default)]
pub(super) struct Seen {
    text: String,
    reasoning: String,
    tool_calls: Vec<Value>,
}

impl Seen {
    fn add(&mut self, delta: &Delta) {
        self.text.push_str(&delta.text);
        self.reasoning.push_str(&delta.reasoning);
        self.tool_calls.extend(delta.tool_calls.iter().cloned());
    }

    /// All of it as one text, for counting.
    pub(super) fn all_text(&self) -> String {
        let calls: Vec<String> = self.tool_calls.iter().map(|call| call["function"].to_string()).collect();
        [&self.reasoning, &self.text, &calls.concat()].map(String::as_str).concat()
    }

    /// The beginning of a `chat.completion`.
    pub(super) fn into_completion(self, model: &str) -> Completion {
        let mut message = json!({"role": "assistant", "content": self.text});
        if !self.reasoning.is_empty() {
            message["reasoning_content"] = self.reasoning.into();
        }
        if !self.tool_calls.is_empty() {
            message["tool_calls"] = self.tool_calls.into();
        }
        let choice = json!({"index": 0, "message": message, "finish_reason": null});
        Completion {
            body: json!({"object": "chat.completion", "model": model, "choices": [choice]}),
            usage: None,
        }
    }
}
