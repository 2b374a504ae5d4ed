//! Rules as tables, and what must hold for any prompt.

use std::cell::Cell;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::domain::request::ChatRequest;
use crate::domain::route::{Bounds, Conditions, RouteTarget};

fn at_least(min: u64) -> Bounds {
    Bounds { min: Some(min), max: None }
}

fn at_most(max: u64) -> Bounds {
    Bounds { min: None, max: Some(max) }
}

fn rule(model: &str, when: Conditions) -> RuleSettings {
    RuleSettings { name: None, when, model: model.to_owned() }
}

fn routes(rules: Vec<RuleSettings>) -> Result<Routes, RouteError> {
    Routes::new(vec![RouteSettings { name: "default".into(), rules, ..RouteSettings::default() }])
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// Whether a rule takes a prompt, and why.
fn asked(when: Conditions, question: &Question<'_>) -> (bool, String) {
    let routes = routes(vec![rule("m", when)]).unwrap();
    let verdicts = routes.default().unwrap().router.explain(question);
    (verdicts[0].1.matched, verdicts[0].1.why.clone())
}

fn of_prompt(when: Conditions, prompt: &str) -> (bool, String) {
    let (request, attrs) = (ChatRequest::from_prompt(prompt), Map::new());
    asked(when, &Question::new(&request, None, &[], &attrs, || panic!("counted")))
}

#[test]
fn the_first_rule_that_holds_takes_it() {
    let rules = vec![
        rule("long", Conditions { chars: at_least(200), ..Conditions::default() }),
        rule("code", Conditions { keywords: words(&["code", "代码"]), ..Conditions::default() }),
        rule("short", Conditions { chars: at_most(20), ..Conditions::default() }),
    ];
    let routes = routes(rules).unwrap();
    let router = &routes.get(&"default".into()).unwrap().router;
    let (request, attrs) = (ChatRequest::from_prompt("写代码"), Map::new());
    let question = Question::new(&request, None, &[], &attrs, || panic!("counted"));
    assert_eq!(router.choose(&question).unwrap().model, "code");
    let said = router.explain(&question);
    let said: Vec<(bool, &str)> =
        said.iter().map(|(_, verdict)| (verdict.matched, verdict.why.as_str())).collect();
    assert_eq!(
        said,
        [
            (false, "the prompt has 3 characters, the rule asks for at least 200"),
            (true, "the keyword `代码` is in the prompt"),
            (false, "not asked: an earlier rule took it"),
        ]
    );
    assert!(!router.may_count());
    assert_eq!(routes.names().count(), 1);
    assert!(routes.get(&"other".into()).is_none());
}

#[test]
fn every_condition_says_why() {
    let regex = |text: &str| Conditions { regex: Some(text.to_owned()), ..Conditions::default() };
    let keywords = |list: &[&str]| Conditions { keywords: words(list), ..Conditions::default() };
    let chars = |chars| Conditions { chars, ..Conditions::default() };
    for (when, prompt, matched, why) in [
        (chars(at_most(3)), "four", false, "the prompt has 4 characters, the rule asks for at most 3"),
        (chars(at_least(1)), "中", true, "the prompt has 1 character"),
        (keywords(&["x"]), "y", false, "its keyword `x` is not in the prompt"),
        (keywords(&["x", "z"]), "y", false, "none of its 2 keywords is in the prompt"),
        (regex("(?i)FEHL(ER)?"), "ein Fehler", true, "`(?i)FEHL(ER)?` matches `Fehler`"),
        (regex(r"\p{Han}"), "abc", false, "`\\p{Han}` matches nothing in the prompt"),
        (
            Conditions { attachments: Some(true), ..Conditions::default() },
            "a",
            false,
            "there is nothing but text, the rule asks for an attachment",
        ),
        (
            Conditions { users: words(&["ada", "eve"]), ..Conditions::default() },
            "a",
            false,
            "it is for nobody, the rule asks for ada or eve",
        ),
    ] {
        assert_eq!(of_prompt(when, prompt), (matched, why.to_owned()));
    }
    let (_, why) = of_prompt(regex("x+"), &"x".repeat(100));
    assert_eq!(why, format!("`x+` matches `{}…`", "x".repeat(40)));
}

#[test]
fn labels_and_attributes_are_compared_as_text() {
    let request = ChatRequest::from_prompt("a");
    let tags = [("team", "red"), ("team", "blue")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let Value::Object(attrs) = json!({"plan": "pro", "seats": 5, "beta": true, "none": null}) else {
        panic!()
    };
    let question = Question::new(&request, Some("ada"), &tags, &attrs, || 0);
    let map = |key: &str, values: &[&str]| [(key.to_owned(), words(values))].into();
    for (key, values, matched, why) in [
        ("plan", &["pro", "max"][..], true, "the attribute `plan` is pro"),
        ("seats", &["5"], true, "the attribute `seats` is 5"),
        ("beta", &["true"], true, "the attribute `beta` is true"),
        ("beta", &["false"], false, "the attribute `beta` is true, the rule asks for false"),
        ("city", &["a", "b", "c"], false, "there is no attribute `city`, the rule asks for one of 3"),
    ] {
        let when = Conditions { attrs: map(key, values), ..Conditions::default() };
        assert_eq!(asked(when, &question), (matched, why.to_owned()));
    }
    for (value, matched) in [("blue", true), ("red", false)] {
        let when = Conditions { tags: map("team", &[value]), ..Conditions::default() };
        assert_eq!(asked(when, &question).0, matched, "the last tag of a key counts");
    }
    let when = Conditions { users: words(&["ada"]), ..Conditions::default() };
    assert_eq!(asked(when, &question), (true, "it is for ada".to_owned()));
}

#[test]
fn attributes_stay_what_they_were_written_as() {
    for (text, value) in [
        ("5", json!(5)),
        ("-0.5", json!(-0.5)),
        ("true", json!(true)),
        ("007", json!("007")),
        ("1.10", json!("1.10")),
        ("1e3", json!("1e3")),
        ("null", json!("null")),
        ("[1]", json!("[1]")),
        ("", json!("")),
    ] {
        assert_eq!(attr_value(text), value);
        assert_eq!(plain_text(&value), text);
    }
}

#[test]
fn whatever_is_not_text_is_an_attachment() {
    let text = json!({"type": "text", "text": "hi"});
    for (part, attached) in [
        (json!({"type": "image_url", "image_url": {"url": "u"}}), true),
        (json!({"type": "input_audio", "input_audio": {}}), true),
        (json!({"type": "file", "file": {}}), true),
        (json!({"type": "refusal", "refusal": "no"}), false),
        (text.clone(), false),
    ] {
        let request = ChatRequest::from_parts(vec![part, text.clone()]);
        let attrs = Map::new();
        let question = Question::new(&request, None, &[], &attrs, || 0);
        let when = Conditions { attachments: Some(attached), ..Conditions::default() };
        assert!(asked(when, &question).0, "{:?}", request.messages());
    }
}

#[test]
fn tokens_are_counted_once_and_only_where_nothing_else_decides() {
    let (request, attrs) = (ChatRequest::from_prompt("a few words"), Map::new());
    let bytes = request.to_json().len() as u64;
    let said = |bounds: Bounds, chars: Bounds| {
        let counted = Cell::new(0);
        let question = Question::new(&request, None, &[], &attrs, || {
            counted.set(counted.get() + 1);
            10
        });
        let when = Conditions { tokens: bounds, chars, ..Conditions::default() };
        let two = routes(vec![rule("a", when.clone()), rule("b", when)]).unwrap();
        let router = &two.default().unwrap().router;
        assert!(router.may_count());
        (router.choose(&question).is_some(), counted.get())
    };
    let any = Bounds::default();
    assert_eq!(said(at_least(bytes + 1), any), (false, 0));
    assert_eq!(said(at_most(bytes), any), (true, 0));
    assert_eq!(said(at_least(1), at_least(1_000)), (false, 0));
    assert_eq!(said(at_least(10), any), (true, 1));
    assert_eq!(said(at_most(9), any), (false, 1));
    assert_eq!(said(Bounds { min: Some(3), max: Some(bytes) }, any), (true, 1));
}

#[test]
fn what_makes_no_sense_is_told_in_a_line() {
    let when = |when: Conditions| routes(vec![rule("m", when)]).unwrap_err().to_string();
    let regex = |text: &str| when(Conditions { regex: Some(text.to_owned()), ..Conditions::default() });
    assert_eq!(
        when(Conditions::default()),
        "route `default`, rule 1: a rule without a condition would take everything"
    );
    assert!(regex("(a").ends_with("not a regular expression: unclosed group"), "{}", regex("(a"));
    assert!(regex(r"\w{5000}").ends_with("not a regular expression: it takes too much memory"));
    assert!(regex("").ends_with("the regular expression is empty"));
    for text in ["(?=a)", r"(a)\1", "[", "a{2,1}", "(?P<n>", r"\p{Nope}", "(?x)\n(\n"] {
        assert_eq!(regex(text).lines().count(), 1, "{text}");
    }
    let bounds = Bounds { min: Some(5), max: Some(4) };
    assert!(when(Conditions { chars: bounds, ..Conditions::default() }).ends_with("more than `max`, 4"));
    assert!(
        when(Conditions { keywords: words(&["*"]), ..Conditions::default() }).ends_with("a keyword is empty")
    );
    let nowhere = rule(" ", Conditions { attachments: Some(true), ..Conditions::default() });
    assert!(routes(vec![nowhere]).unwrap_err().to_string().ends_with("the model is empty"));
    let target = |weight| RouteTarget { model: "m".to_owned(), weight };
    let weights = |targets| Routes::new(vec![RouteSettings { targets, ..RouteSettings::default() }]);
    assert!(weights(vec![target(0), target(0)]).is_err());
    assert!(weights(vec![target(0), target(1)]).is_ok());
}

proptest! {
    #[test]
    fn what_is_explained_is_what_is_chosen(prompt in "[ab代 ]{0,12}", keywords in proptest::collection::vec("[ab代]{1,2}", 1..4), min in 0_u64..12) {
        let rules = vec![
            rule("words", Conditions { keywords, ..Conditions::default() }),
            rule("length", Conditions { chars: at_least(min), ..Conditions::default() }),
        ];
        let routes = routes(rules).unwrap();
        let router = &routes.default().unwrap().router;
        let (request, attrs) = (ChatRequest::from_prompt(prompt), Map::new());
        let question = Question::new(&request, None, &[], &attrs, || 0);
        let said = router.explain(&question);
        let winner = said.iter().find(|(_, verdict)| verdict.matched).map(|(rule, _)| *rule);
        prop_assert_eq!(winner, router.choose(&question));
        prop_assert!(said.iter().filter(|(_, verdict)| verdict.matched).count() <= 1);
    }
}
