//! Recorded answers of real providers (`fixtures/openai`), each with a golden file of what becomes of it.
//! `UPDATE_GOLDEN=1` writes the golden files anew; read them before they are kept.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::domain::request::ChatRequest;

/// What a reader gets: everything up to the first event that is not a delta.
type Decoded = Vec<Result<Event, Failure>>;

fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Decoded {
    let mut decoder = StreamDecoder::default();
    let mut decoded: Decoded = pieces.into_iter().flat_map(|piece| decoder.feed(piece)).collect();
    decoded.extend(decoder.finish());
    let is_end = |event: &Result<Event, Failure>| !matches!(event, Ok(Event::Delta(_)));
    let length = decoded.iter().position(is_end).map_or(decoded.len(), |end| end + 1);
    decoded.truncate(length);
    decoded
}

/// Files of a folder of fixtures, by name.
fn fixtures(folder: &str, extension: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/openai").join(folder);
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_ours = |path: &PathBuf| path.to_str().is_some_and(|path| path.ends_with(&format!(".{extension}")));
    let mut paths: Vec<PathBuf> =
        paths.filter(is_ours).filter(|path| !path.to_str().unwrap().ends_with(".golden.json")).collect();
    paths.sort();
    assert!(paths.len() > 5, "the fixtures are gone");
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Compares with the golden file, or writes it.
#[expect(clippy::disallowed_methods, reason = "a test's own switch is no setting")]
fn check_golden(golden: &Path, seen: &Value) -> Option<String> {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(golden, format!("{seen:#}\n")).unwrap();
        return None;
    }
    let kept = fs::read_to_string(golden).unwrap_or_default();
    let same = serde_json::from_str::<Value>(&kept).is_ok_and(|kept| kept == *seen);
    (!same).then(|| format!("{} differs; seen:\n{seen:#}", golden.display()))
}

fn check_all(differences: impl Iterator<Item = Option<String>>) {
    let differences: Vec<String> = differences.flatten().collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn event_json(event: &Result<Event, Failure>) -> Value {
    match event {
        Ok(Event::Delta(delta)) => json!({ "delta": delta }),
        Ok(Event::Alive) => json!("alive"),
        Ok(Event::Done(completion)) => json!({"done": completion.body, "usage": completion.usage}),
        Err(failure) => json!({"error": {
            "kind": failure.kind.as_str(), "status": failure.status, "code": failure.code, "message": failure.message,
        }}),
    }
}

#[test]
fn streams_become_the_events_on_record() {
    check_all(fixtures("stream", "sse").into_iter().map(|(path, stream)| {
        let events: Vec<Value> = decode([&stream[..]]).iter().map(event_json).collect();
        check_golden(&path.with_extension("events.json"), &events.into())
    }));
}

#[test]
fn where_a_stream_is_split_does_not_matter() {
    std::thread::scope(|scope| {
        for (path, stream) in fixtures("stream", "sse") {
            scope.spawn(move || {
                let whole = decode([&stream[..]]);
                for at in 0..=stream.len() {
                    let split = decode([&stream[..at], &stream[at..]]);
                    assert_eq!(split, whole, "{} split at byte {at}", path.display());
                }
                assert_eq!(decode(stream.chunks(1)), whole, "{} byte by byte", path.display());
            });
        }
    });
}

#[test]
fn line_ends_do_not_matter() {
    for (path, stream) in fixtures("stream", "sse") {
        let whole = decode([&stream[..]]);
        let lines: Vec<&[u8]> = stream.split(|byte| *byte == b'\n').collect();
        let lines: Vec<&[u8]> =
            lines.into_iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect();
        for end in ["\n", "\r\n", "\r"] {
            let rewritten = lines.join(end.as_bytes());
            let name = path.display();
            assert_eq!(decode([&rewritten[..]]), whole, "{name} with {end:?}");
            assert_eq!(decode(rewritten.chunks(1)), whole, "{name} with {end:?}, byte by byte");
            for at in (0..rewritten.len()).filter(|at| rewritten[*at] == b'\r') {
                let split = decode([&rewritten[..=at], &rewritten[at + 1..]]);
                assert_eq!(split, whole, "{name} with {end:?}, split after byte {at}");
            }
        }
    }
}

#[test]
fn whole_answers_become_what_is_on_record() {
    check_all(fixtures("response", "json").into_iter().map(|(path, body)| {
        let seen = match whole_body(&body, &Secrets::default()) {
            Ok([Event::Delta(delta), Event::Done(completion)]) => json!({
                "delta": delta,
                "text": completion.text(),
                "tool_calls": completion.tool_calls(),
                "finish_reason": completion.finish_reason(),
                "service_tier": completion.service_tier(),
                "usage": completion.usage,
            }),
            Ok(_) => panic!("{}: not a delta and the end", path.display()),
            Err(message) => json!({ "error": message }),
        };
        check_golden(&path.with_extension("golden.json"), &seen)
    }));
}

#[test]
fn an_answer_is_kept_as_it_came() {
    for (path, bytes) in fixtures("response", "json") {
        if let Ok([_, Event::Done(completion)]) = whole_body(&bytes, &Secrets::default()) {
            let body: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(completion.body.to_string(), body.to_string(), "{}", path.display());
        }
    }
}

#[test]
fn a_request_passes_through_untouched() {
    for (path, bytes) in fixtures("request", "json") {
        let body: Map<String, Value> = serde_json::from_slice(&bytes).unwrap();
        let text = serde_json::to_string(&body).unwrap();
        let request = ChatRequest::from_body(body).unwrap();
        assert_eq!(String::from_utf8(request.to_json()).unwrap(), text, "{}", path.display());
    }
}

/// JSON of the shapes and fields that answers have, with anything in them.
fn any_json() -> impl Strategy<Value = Value> {
    const FIELDS: &str = "choices|delta|message|index|content|text|refusal|reasoning|tool_calls|function|arguments|\
        id|name|role|finish_reason|logprobs|usage|prompt_tokens|completion_tokens|total_tokens|error|code|\
        prompt_tokens_details|completion_tokens_details|cached_tokens|reasoning_tokens|audio_tokens|object";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (0_u64..3).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(FIELDS, inner, 0..6).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// A chunk that is one as far as its first two levels go.
fn any_chunk() -> impl Strategy<Value = Value> {
    let choice = (any_json(), any_json(), any_json()).prop_map(|(index, delta, calls)| {
        let delta = if delta.is_object() { delta } else { json!({"content": delta, "tool_calls": calls}) };
        json!({"index": index, "delta": delta, "message": delta})
    });
    let choices = proptest::collection::vec(choice, 0..3);
    let chunk =
        (choices, any_json()).prop_map(|(choices, usage)| json!({"choices": choices, "usage": usage}));
    prop_oneof![any_json(), chunk]
}

proptest! {
    #[test]
    fn no_bytes_panic(pieces in proptest::collection::vec(any::<Vec<u8>>(), 0..8)) {
        decode(pieces.iter().map(Vec::as_slice));
        let _ = whole_body(&pieces.concat(), &Secrets::default());
    }

    #[test]
    fn no_chunks_panic(chunks in proptest::collection::vec(any_chunk(), 0..6), done: bool) {
        let end = done.then(|| "[DONE]".to_owned());
        let events: Vec<String> =
            chunks.iter().map(Value::to_string).chain(end).map(|data| format!("data: {data}\n\n")).collect();
        let stream = events.concat();
        let whole = decode([stream.as_bytes()]);
        prop_assert_eq!(decode(stream.as_bytes().chunks(7)), whole);
        for chunk in chunks {
            if let Ok([_, Event::Done(completion)]) = whole_body(chunk.to_string().as_bytes(), &Secrets::default()) {
                let _ = (completion.text(), completion.tool_calls(), completion.finish_reason());
            }
        }
    }
}

#[test]
fn an_answer_that_is_there_is_not_lost_with_its_reader() {
    let body = br#"{"choices": [{"message": {"content": "whole"}}], "usage": {"prompt_tokens": 9}}"#;
    let mut answer = WholeBody(whole_body(body, &Secrets::default()).unwrap().into_iter());
    assert!(matches!(answer.next().now_or_never(), Some(Some(Ok(Event::Delta(_))))));
    let completion = answer.so_far().unwrap();
    assert_eq!(completion.text(), "whole");
    assert_eq!(completion.usage.map(|usage| usage.input_tokens), Some(9));
}
