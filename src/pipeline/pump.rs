//! Pump: the rest of an answer, from the provider to the reader. The reader sees the end only when the
//! call is on the books. A reader that goes away, or a cancelled call, stops the provider at once.

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::AnswerEvent;
use super::run::{Ending, Live, Run, after, cancelled};
use crate::domain::event::{Delta, Event};
use crate::domain::failure::{Failure, FailureKind};

impl Run {
    pub(super) async fn pump(mut self: Box<Self>, live: Live, reader: mpsc::Sender<AnswerEvent>) {
        let ending = match self.play(live, &reader).await {
            Ending::Unfit(unfit) if self.holds_back() && unfit.violation.is_some() => {
                match self.ask_again(*unfit, &reader).await {
                    Ok(live) => self.play(live, &reader).await,
                    Err(failure) => Ending::Nothing(failure),
                }
            }
            ending => ending,
        };
        if matches!(ending, Ending::Whole(_)) {
            for delta in std::mem::take(&mut self.kept_back) {
                // The answer is whole, whoever reads it.
                let _ = self.forward(delta, &reader).await;
            }
        }
        self.conclude(ending, &reader).await;
    }

    /// Puts the call on the books and tells its reader how it ended; where nobody answered, with the fixed answer, if
    /// there is one.
    pub(super) async fn conclude(mut self: Box<Self>, ending: Ending, reader: &mpsc::Sender<AnswerEvent>) {
        let ending = match ending {
            Ending::Nothing(failure) if self.degrades(&failure) => {
                let (delta, ending) = self.degrade(failure);
                // It is the answer, whoever reads it.
                let _ = self.forward(delta, reader).await;
                ending
            }
            ending => ending,
        };
        let outcome = self.settle(ending).await;
        // A reader that has gone needs no end.
        let _ = reader.send(AnswerEvent::End(Box::new(outcome))).await;
    }

    /// One answer to its end, where the connection ends too.
    async fn play(&mut self, mut live: Live, reader: &mpsc::Sender<AnswerEvent>) -> Ending {
        loop {
            match self.next_event(&mut live, reader).await {
                Ok(Event::Alive) => {}
                Ok(Event::Delta(delta)) if self.holds_back() => self.kept_back.push(delta),
                Ok(Event::Delta(delta)) => {
                    if let Err(failure) = self.forward(delta, reader).await {
                        return Ending::Part(live.stream.so_far(), failure);
                    }
                }
                Ok(Event::Done(completion)) => return self.judge(completion),
                Err(failure) => return Ending::Part(live.stream.so_far(), failure),
            }
        }
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
