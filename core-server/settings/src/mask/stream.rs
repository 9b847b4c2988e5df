//! Output that comes in parts: a secret may begin in one and end in another.

use std::collections::VecDeque;
use std::ops::Range;

use aho_corasick::Anchored;
use aho_corasick::automaton::{Automaton as _, StateID};
use aho_corasick::nfa::contiguous::NFA;

use super::MASK;

/// Masks bytes as they come. It holds back those that may be the beginning of a secret, at most as many as the
/// longest encoding of a secret has. What comes out does not depend on how the bytes are divided.
pub struct MaskStream<'a> {
    automaton: &'a NFA,
    /// Where the automaton is; none when it cannot search at all, which [`push`](Self::push) answers with silence.
    state: Option<StateID>,
    start: Option<StateID>,
    /// Bytes that are not written yet,
    held: VecDeque<u8>,
    /// and the place of the first of them.
    written: u64,
    /// Overlapping occurrences, those of one place together, as far as they are not written.
    secrets: VecDeque<Range<u64>>,
    /// No occurrence that is still to be found begins before this.
    settled: u64,
}

impl<'a> MaskStream<'a> {
    pub(super) fn new(automaton: &'a NFA) -> Self {
        let start = automaton.start_state(Anchored::No).ok();
        Self { automaton, state: start, start, held: VecDeque::new(), written: 0, secrets: VecDeque::new(), settled: 0 }
    }

    /// Takes the next bytes, and returns what can be shown by now.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut output = Vec::with_capacity(bytes.len());
        for byte in bytes {
            self.take(*byte);
            self.write_until(self.settled, &mut output);
        }
        output
    }

    /// The rest. Nothing comes after it.
    pub fn finish(mut self) -> Vec<u8> {
        let mut output = Vec::new();
        if self.state.is_some() {
            self.write_until(u64::MAX, &mut output);
        }
        output
    }

    /// How many bytes are held back.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    fn take(&mut self, byte: u8) {
        let Some(state) = self.state else { return };
        let state = self.automaton.next_state(Anchored::No, state, byte);
        self.state = Some(state);
        self.held.push_back(byte);
        let end = self.written + self.held.len() as u64;
        if self.automaton.is_match(state) {
            let lengths =
                (0..self.automaton.match_len(state)).map(|match_| self.automaton.pattern_len(self.automaton.match_pattern(state, match_)));
            self.found(end - lengths.max().unwrap_or(0) as u64..end);
        }
        // In its first state it has seen no beginning of a secret. Otherwise one may have begun as many bytes ago as
        // the longest has, less the one that is to come.
        self.settled = match self.state == self.start {
            true => end,
            false => self.settled.max((end + 1).saturating_sub(self.automaton.max_pattern_len() as u64)),
        };
    }

    /// Adds an occurrence that ends after all others.
    fn found(&mut self, mut secret: Range<u64>) {
        while let Some(last) = self.secrets.pop_back_if(|last| last.end > secret.start) {
            secret.start = secret.start.min(last.start);
        }
        self.secrets.push_back(secret);
    }

    fn write_until(&mut self, place: u64, output: &mut Vec<u8>) {
        while self.written < place {
            let Some(byte) = self.held.pop_front() else { break };
            while self.secrets.pop_front_if(|secret| secret.end <= self.written).is_some() {}
            match self.secrets.front() {
                Some(secret) if secret.start == self.written => output.extend_from_slice(MASK.as_bytes()),
                Some(secret) if secret.start < self.written => {}
                _ => output.push(byte),
            }
            self.written += 1;
        }
    }
}
