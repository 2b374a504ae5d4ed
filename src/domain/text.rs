//! Text from elsewhere that is shown on a terminal: what files and servers say must not move the cursor, or
//! turn what follows around.

/// The text on one line, with blanks for whatever a terminal would obey instead of showing it.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if is_obeyed(c) { ' ' } else { c }).collect()
}

/// The text with its lines and tabs, and a mark for whatever else a terminal would obey.
pub fn printable(text: &str) -> String {
    let mark =
        |c: char| if is_obeyed(c) && !matches!(c, '\n' | '\t') { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().map(mark).collect()
}

/// Controls, and Unicode's invisible marks that break lines or change the direction of text.
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_the_cursor() {
        assert_eq!(plain("a\u{1b}[2Kb\r\nc\u{202e}d"), "a [2Kb  c d");
        assert_eq!(printable("a\u{1b}[2Kb\r\n\tc\u{202e}d"), "a\u{fffd}[2Kb\u{fffd}\n\tc\u{fffd}d");
        for text in ["Grüße, 世界 👩‍💻", ""] {
            assert_eq!((plain(text), printable(text)), (text.to_owned(), text.to_owned()));
        }
    }
}
