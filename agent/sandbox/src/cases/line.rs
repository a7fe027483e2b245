//! The other end of a connection or serial port, as a script has it.

use super::content::shown;
use super::format::Step;
use crate::host::HostError;

/// A script, and how far it is. It goes on where the plugin connects again.
#[derive(Debug)]
pub(super) struct Line {
    steps: Vec<Step>,
    /// The step that is next.
    next: usize,
    /// What was written and belongs to the step that is next.
    written: Vec<u8>,
    /// What waits to be read.
    incoming: Vec<u8>,
    ended: bool,
}

impl Line {
    pub(super) fn new(steps: &[Step]) -> Self {
        let (written, incoming) = (Vec::new(), Vec::new());
        Self { steps: steps.to_vec(), next: 0, written, incoming, ended: false }
    }

    /// Somebody connects.
    pub(super) fn open(&mut self) {
        self.incoming.clear();
        self.ended = false;
        self.advance();
    }

    /// Takes what was written.
    ///
    /// # Errors
    /// It is not what the script expects.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.written.extend_from_slice(bytes);
        self.advance();
        if self.written.is_empty() {
            return Ok(());
        }
        let Some(step) = self.steps.get(self.next) else {
            return Err(format!("{} was written behind the script's end", shown(&self.written)));
        };
        let expected = step.expect.as_ref().map_or_else(Vec::new, super::Content::bytes);
        if expected.starts_with(&self.written) {
            return Ok(());
        }
        Err(format!(
            "step {}: expected {}, got {}",
            self.next + 1,
            shown(&expected),
            shown(&self.written)
        ))
    }

    /// Takes every step whose turn it is.
    fn advance(&mut self) {
        while let Some(step) = self.steps.get(self.next).filter(|_| !self.ended) {
            if let Some(expected) = &step.expect {
                let expected = expected.bytes();
                if expected.is_empty() || !self.written.starts_with(&expected) {
                    return;
                }
                self.written.drain(..expected.len());
            }
            self.incoming.extend(step.reply.bytes());
            self.ended = step.end;
            self.next += 1;
        }
    }

    /// What there is to read.
    ///
    /// # Errors
    /// Not enough, and the other side has not hung up.
    pub(super) fn read(&mut self, min: usize, max: usize) -> Result<Vec<u8>, HostError> {
        if self.incoming.len() < min && !self.ended {
            let there = self.incoming.len();
            return Err(HostError::TimedOut(format!("{there} of {min} bytes came in time")));
        }
        let rest = self.incoming.split_off(self.incoming.len().min(max));
        Ok(std::mem::replace(&mut self.incoming, rest))
    }

    /// What of the script was never reached.
    pub(super) fn left(&self) -> Option<String> {
        let left = self.steps.len() - self.next;
        (left > 0).then(|| format!("{left} of {} steps were not reached", self.steps.len()))
    }
}
