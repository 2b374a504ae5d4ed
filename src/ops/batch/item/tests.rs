//! Lines and rows of every form, and what is said of those that are none.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn jsonl(line: &str) -> Result<Item, LineError> {
    parse(line.as_bytes(), LineFormat::Jsonl, false)
}

#[test]
fn every_form_of_line_is_a_request() {
    for line in [
        r#""hi""#,
        r#"{"prompt": "hi"}"#,
        r#"{"messages": [{"role": "user", "content": "hi"}]}"#,
        r#"{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": [{"role": "user", "content": "hi"}]}}"#,
    ] {
        assert_eq!(jsonl(line).unwrap().request.last_user_text(), "hi", "{line}");
    }
}

#[test]
fn a_line_says_whose_it_is() {
    let item = jsonl(r#"{"id": 7, "user": "ada", "tags": {"team": "x", "n": 1}, "model": "m", "prompt": "hi", "lang": "de"}"#).unwrap();
    assert_eq!((item.id.as_deref(), item.user.as_deref()), (Some("7"), Some("ada")));
    assert_eq!(item.tags.len(), 2);
    assert_eq!(item.request.model(), Some("m"));
    assert_eq!(Value::Object(item.variables), json!({"lang": "de"}));
}

#[test]
fn with_a_template_a_line_is_its_variables() {
    let templated = |line: &str| parse(line.as_bytes(), LineFormat::Jsonl, true);
    for line in [
        r#"{"id": 7, "title": "a", "body": "b", "n": [1]}"#,
        r#"{"id": 7, "title": "a", "prompt": "hi"}"#,
        r#"{"id": 7}"#,
    ] {
        let item = templated(line).unwrap();
        assert_eq!(Value::Object(item.variables), serde_json::from_str::<Value>(line).unwrap());
        assert_eq!(item.id.as_deref(), Some("7"));
    }
    let request = templated(r#"{"messages": [{"role": "user", "content": "hi"}], "x": 1}"#).unwrap();
    assert!(request.variables.is_empty() && request.request.body().contains_key("x"));
    assert_eq!(templated(r#"{"prompt": ""}"#), Err(LineError::Empty));
    assert!(templated(r#"{"body": {}}"#).is_err());
}

#[test]
fn request_fields_pass_and_ours_do_not() {
    let line = r#"{"id": "a", "user": "u", "tags": {}, "messages": [{"role": "user", "content": "hi"}], "temperature": 0, "x": [1]}"#;
    let body = Value::Object(jsonl(line).unwrap().request.body().clone());
    assert_eq!(body, json!({"messages": [{"role": "user", "content": "hi"}], "temperature": 0, "x": [1]}));
}

#[test]
fn what_is_known_of_the_user_keeps_its_types() {
    let attrs = json!({"plan": "pro", "seats": 5, "beta": true});
    let line = format!(r#"{{"messages": [{{"role": "user", "content": "hi"}}], "attrs": {attrs}}}"#);
    let item = jsonl(&line).unwrap();
    assert_eq!(Value::Object(item.attrs), attrs);
    assert!(!item.request.body().contains_key("attrs"));
    let columns = ["prompt", "attrs"].map(str::to_owned);
    for cell in ["plan=pro, seats=5, beta=true", &attrs.to_string()] {
        let item = Item::of_row(&columns, &["hi", cell], false).unwrap();
        assert_eq!(Value::Object(item.attrs), attrs, "{cell}");
    }
    assert!(Item::of_row(&columns, &["hi", "pro"], false).is_err());
    assert_eq!(jsonl(r#"{"prompt": "a", "attrs": null}"#).unwrap().attrs.len(), 0);
}

#[test]
fn a_row_is_an_item() {
    let columns = ["id", "user", "model", "tags", "prompt", "lang"].map(str::to_owned);
    let row = |cells: [&str; 6], templated| Item::of_row(&columns, &cells, templated);
    let item = row(["7", "ada", "m", "team=x, n=1", "hi", ""], false).unwrap();
    assert_eq!((item.id.as_deref(), item.user.as_deref()), (Some("7"), Some("ada")));
    assert_eq!((item.request.model(), item.tags.len()), (Some("m"), 2));
    assert_eq!(row(["", "", "", "{\"n\": 1}", "hi", ""], false).unwrap().tags["n"], "1");
    let item = row(["", "", "", "", "", ""], true).unwrap();
    assert_eq!(Value::Object(item.variables), json!({"lang": ""}));
    assert_eq!((item.id, item.request.model()), (None, None));
    assert_eq!(row([""; 6], false), Err(LineError::Empty));
    assert!(row(["", "", "", "team", "hi", ""], false).is_err());
}

#[test]
fn what_is_wrong_is_said() {
    for (line, said) in [
        ("{", "not valid JSON: EOF while parsing an object"),
        ("5", "expected a string or object, found a number"),
        ("{}", "expected `prompt`, `messages` or `body`"),
        (r#"{"prompt": 5}"#, "`prompt` must be a string"),
        (r#"{"prompt": " "}"#, "the prompt is empty"),
        (r#"{"prompt": "a", "messages": []}"#, "`prompt` and `messages` exclude each other"),
        (r#"{"messages": [{"content": "x"}]}"#, "`messages[0]` must be an object with a `role`"),
        (
            r#"{"prompt": "a", "attrs": {"k": null}}"#,
            "`attrs` must be an object of strings, numbers, true or false",
        ),
        (r#"{"prompt": "a", "tags": {"k": []}}"#, "`tags` must be an object of strings"),
        (
            r#"{"url": "/v1/embeddings", "body": {}}"#,
            "`url` is `/v1/embeddings`: only /v1/chat/completions is supported so far",
        ),
        (r#"{"method": "GET", "body": {}}"#, "`method` is `GET`: only POST is supported"),
        (r#"{"body": {"messages": [{"role": "user"}]}}"#, "a Batch API line needs a `custom_id`"),
    ] {
        assert_eq!(jsonl(line).unwrap_err().to_string(), said, "{line}");
    }
    assert_eq!(parse(b"ab\xff", LineFormat::Txt, false), Err(LineError::Utf8(3)));
}

proptest! {
    #[test]
    fn no_bytes_panic(line in any::<Vec<u8>>()) {
        let _ = parse(&line, LineFormat::Txt, false);
        let _ = parse(&line, LineFormat::Jsonl, false);
        let _ = parse(&line, LineFormat::Jsonl, true);
    }

    #[test]
    fn no_json_panics(key in "prompt|messages|body|id|user|tags|attrs|url|model", text in "[\\[\\]{}\":,a-z0-9 ]{0,30}") {
        let _ = jsonl(&format!(r#"{{"{key}": {text}}}"#));
    }
}
