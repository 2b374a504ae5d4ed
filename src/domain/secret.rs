//! A key that cannot be shown by accident: `Debug` prints `***`, and there is neither `Display` nor `Serialize`.

use std::fmt;

use serde::Deserialize;

/// A provider's key, or whatever else must not be shown. Only the adapter that puts it on the wire calls
/// [`Secret::reveal`].
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a key.
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// A text in which the key is replaced by `***`. A key of a few characters is a placeholder such as
    /// `none`, and replacing it would garble the text.
    pub fn hide_in(&self, text: &str) -> String {
        const SHORTEST: usize = 8;
        if self.0.len() < SHORTEST { text.to_owned() } else { text.replace(&self.0, "***") }
    }

    /// Whether it can be nothing but a key: long, of letters and digits, and no address. `not-needed`, which
    /// servers without keys are given, is an ordinary word.
    pub fn looks_like_a_key(&self) -> bool {
        const SHORTEST: usize = 16;
        let has = |kind: fn(&char) -> bool| self.0.chars().any(|c| kind(&c));
        self.0.len() >= SHORTEST
            && has(char::is_ascii_digit)
            && has(char::is_ascii_alphabetic)
            && !self.0.contains("://")
    }

    /// The key itself, for the request to its provider.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_key() {
        assert_eq!(format!("{:?}", Some(Secret::new("sk-abc"))), "Some(***)");
    }
}
