//! Text from elsewhere that is shown on a terminal.

/// The text on one line, with blanks for whatever would move the cursor or turn the text around.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_mark(c) { ' ' } else { c }).collect()
}

/// Unicode's invisible marks that change the direction of text or break lines.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_the_cursor() {
        assert_eq!(plain("a\u{1b}[2Kb\r\nc\u{202e}d"), "a [2Kb  c d");
        assert_eq!(plain("Grüße, 世界 👩‍💻"), "Grüße, 世界 👩‍💻");
    }
}
