//! Pump: the rest of an answer, from the provider to the reader. The reader sees the end only when the
//! call is on the books. A reader that goes away, or a cancelled call, stops the provider at once.

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::AnswerEvent;
use super::run::{Ending, Live, Run, after, cancelled};
use crate::domain::event::{Delta, Event};
use crate::domain::failure::{Failure, FailureKind};

impl Run {
    pub(super) async fn pump(self, mut live: Live, reader: mpsc::Sender<AnswerEvent>) {
        let ending = loop {
            match self.next_event(&mut live, &reader).await {
                Ok(Event::Alive) => {}
                Ok(Event::Delta(delta)) => {
                    if let Err(failure) = self.forward(delta, &reader).await {
                        break Ending::Part(live.stream.so_far(), failure);
                    }
                }
                Ok(Event::Done(completion)) => break Ending::Whole(completion),
                Err(failure) => break Ending::Part(live.stream.so_far(), failure),
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
        let until = after(Instant::now(), self.parts.timeouts.idle).min(self.deadline());
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
