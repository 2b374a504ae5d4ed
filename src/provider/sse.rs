//! Server-sent events, as the HTML standard defines them, fed in pieces that may end anywhere. Pure:
//! bytes go in, events come out.

/// The most one event may hold; a server that sends more without ending it is not talking sense.
const LONGEST_EVENT: usize = 16 << 20;

/// An event outgrew [`LONGEST_EVENT`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of more than {} MiB", LONGEST_EVENT >> 20)]
pub(super) struct TooLong;

/// Reads events' data; their names, ids and retry times mean nothing to the protocols spoken here.
#[derive(Debug, Default)]
pub(super) struct SseReader {
    line: Vec<u8>,
    data: Option<String>,
    after_cr: bool,
    begun: bool,
}

impl SseReader {
    /// Takes the next piece and returns the data of the events it completes.
    pub(super) fn feed(&mut self, mut piece: &[u8]) -> Result<Vec<String>, TooLong> {
        let mut events = Vec::new();
        if std::mem::take(&mut self.after_cr) && piece.first() == Some(&b'\n') {
            piece = &piece[1..];
        }
        while let Some(end) = piece.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.line.extend_from_slice(&piece[..end]);
            events.extend(self.end_line());
            let crlf = piece[end] == b'\r' && piece.get(end + 1) == Some(&b'\n');
            self.after_cr = piece[end] == b'\r' && end + 1 == piece.len();
            piece = &piece[end + 1 + usize::from(crlf)..];
        }
        self.line.extend_from_slice(piece);
        let held = self.line.len() + self.data.as_ref().map_or(0, String::len);
        if held > LONGEST_EVENT { Err(TooLong) } else { Ok(events) }
    }

    /// The event that the end of the stream completes. The standard drops it; some servers leave out the
    /// last empty line.
    pub(super) fn finish(&mut self) -> Option<String> {
        let last = if self.line.is_empty() { None } else { self.end_line() };
        last.or_else(|| self.data.take())
    }

    fn end_line(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        let line = if self.begun { &line[..] } else { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line) };
        self.begun = true;
        if line.is_empty() {
            return self.data.take();
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &b""[..]),
        };
        if field == b"data" {
            let text = String::from_utf8_lossy(value.strip_prefix(b" ").unwrap_or(value));
            match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(&text);
                }
                none => *none = Some(text.into_owned()),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let mut reader = SseReader::default();
        let mut events: Vec<String> =
            pieces.into_iter().flat_map(|piece| reader.feed(piece).unwrap()).collect();
        events.extend(reader.finish());
        events
    }

    #[test]
    fn comments_names_and_line_endings_do_not_matter() {
        let stream = "\u{feff}: hello\r\nevent: x\rdata: one\n\ndata:two\r\n\r\n: ping\n\ndata: a\ndata: b\n\nid: 7\n\ndata";
        assert_eq!(read([stream.as_bytes()]), ["one", "two", "a\nb", ""]);
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut reader = SseReader::default();
        let piece = vec![b'x'; 1 << 20];
        assert!((0..17).any(|_| reader.feed(&piece) == Err(TooLong)));
    }

    /// Lines as servers send them, with text of any script.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let line = prop_oneof![
            "data: ?[^\r\n]{0,12}",
            ": [a-z]{0,5}",
            "event: [a-z]{1,5}",
            Just(String::new()),
            Just(String::new())
        ];
        let end = prop_oneof![Just("\n"), Just("\r\n"), Just("\r")];
        proptest::collection::vec((line, end), 0..12)
            .prop_map(|lines| lines.into_iter().flat_map(|(line, end)| (line + end).into_bytes()).collect())
    }

    proptest! {
        #[test]
        fn where_a_stream_is_split_does_not_matter(stream in stream()) {
            let whole = read([&stream[..]]);
            for at in 0..=stream.len() {
                prop_assert_eq!(&read([&stream[..at], &stream[at..]]), &whole);
            }
            prop_assert_eq!(read(stream.chunks(1)), whole);
        }

        #[test]
        fn no_bytes_panic(pieces in proptest::collection::vec(any::<Vec<u8>>(), 0..8)) {
            read(pieces.iter().map(Vec::as_slice));
        }
    }
}
