//! What a call used, in tokens, with one convention for every provider: the adapters normalise.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// Tokens by class. `input_tokens` is all input, cached and cache-written tokens included;
/// `output_tokens` is all output, reasoning included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// All input tokens.
    pub input_tokens: u64,
    /// Input tokens read from the provider's prompt cache; part of `input_tokens`.
    pub cached_input_tokens: u64,
    /// Input tokens written to the provider's prompt cache, for any lifetime; part of `input_tokens`.
    pub cache_write_tokens: u64,
    /// Of `cache_write_tokens`, those kept for an hour, which some providers bill at a rate of their own.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache_write_1h_tokens: u64,
    /// All output tokens.
    pub output_tokens: u64,
    /// Output tokens spent on reasoning; part of `output_tokens`.
    pub reasoning_tokens: u64,
    /// Input tokens of sound; part of `input_tokens`.
    #[serde(skip_serializing_if = "is_zero")]
    pub input_audio_tokens: u64,
    /// Output tokens of sound; part of `output_tokens`.
    #[serde(skip_serializing_if = "is_zero")]
    pub output_audio_tokens: u64,
}

impl Usage {
    /// No call uses four thousand million tokens: a server that says so must not overflow the books.
    pub const MOST: u64 = 1 << 32;
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        let add = |a: &mut u64, b: u64| *a = a.saturating_add(b);
        add(&mut self.input_tokens, other.input_tokens);
        add(&mut self.cached_input_tokens, other.cached_input_tokens);
        add(&mut self.cache_write_tokens, other.cache_write_tokens);
        add(&mut self.cache_write_1h_tokens, other.cache_write_1h_tokens);
        add(&mut self.output_tokens, other.output_tokens);
        add(&mut self.reasoning_tokens, other.reasoning_tokens);
        add(&mut self.input_audio_tokens, other.input_audio_tokens);
        add(&mut self.output_audio_tokens, other.output_audio_tokens);
    }
}
