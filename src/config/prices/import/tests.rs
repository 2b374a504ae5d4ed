//! Files of prices, well written and not.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::price::Rates;
use crate::policy::price::Tier;

fn day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 23).unwrap()
}

fn import(text: &str) -> Result<Import, Vec<String>> {
    read(text.as_bytes(), Path::new("f"), day())
        .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

fn price(text: &str, target: &str) -> ModelPrice {
    let import = import(text).unwrap();
    let found = import.models.into_iter().find(|(listed, _)| listed.to_string() == target);
    found.unwrap_or_else(|| panic!("no {target}")).1
}

fn rates(input: &str, cached: Option<&str>, output: &str) -> Rates {
    Rates {
        input: input.parse().unwrap(),
        cached_input: cached.map(|rate| rate.parse().unwrap()),
        output: Some(output.parse().unwrap()),
        ..Rates::default()
    }
}

#[test]
fn litellm_prices_are_exact_and_in_all_their_forms() {
    let text = json!({
        "sample_spec": {"litellm_provider": "one of …", "input_cost_per_token": 0},
        "gemini/g": {
            "litellm_provider": "gemini", "max_input_tokens": 9, "max_output_tokens": 8,
            "input_cost_per_token": 3.000_000_000_000_000_4e-7, "output_cost_per_token": 1e-05,
            "cache_read_input_token_cost": 1.5e-07, "cache_creation_input_token_cost": 0.0,
            "input_cost_per_token_above_200k_tokens": 5e-7, "output_cost_per_token_above_200k_tokens": 2e-05,
            "input_cost_per_token_batches": 1e-7, "output_cost_per_token_batches": 5e-06,
            "output_cost_per_token_flex": 5e-06, "cache_creation_input_token_cost_above_1hr": 3e-6,
            "input_cost_per_token_above_200k_tokens_priority": 1e-6,
            "input_cost_per_token_above_200k_tokens_batches": 1.5e-7,
            "output_cost_per_token_above_200k_tokens_batches": 8e-06
        },
        "dall-e-3": {"litellm_provider": "openai", "mode": "image_generation", "output_cost_per_image": 0.04},
        "whisper-1": {"litellm_provider": "openai", "input_cost_per_second": 0.0001, "output_cost_per_second": 0.0},
        "d": {"litellm_provider": "deepseek", "input_cost_per_token": 1e-7},
        "deepseek/d": {"litellm_provider": "deepseek", "input_cost_per_token": 2e-7},
        "bedrock-x": {"litellm_provider": "bedrock", "input_cost_per_token": -1},
        "nothing": {"litellm_provider": "openai"}
    });
    let text = text.to_string();
    let imported = import(&text).unwrap();
    assert_eq!(imported.format, PriceFormat::Litellm);
    assert!(imported.version.starts_with("litellm-2026-11-23-") && imported.version.len() == 27);
    let skipped: Vec<_> = imported.skipped.iter().map(|s| (s.name.as_str(), s.reason)).collect();
    assert_eq!(
        skipped,
        [
            ("bedrock-x", NotTaken::Provider),
            ("dall-e-3", NotTaken::PerImage),
            ("deepseek/d", NotTaken::Twice),
            ("nothing", NotTaken::NoPrice),
            ("sample_spec", NotTaken::Placeholder),
            ("whisper-1", NotTaken::PerSecond),
        ]
    );
    let found = price(&text, "gemini/g");
    let hour = Some("3".parse().unwrap());
    assert_eq!(found.base, Rates { cache_write_1h: hour, ..rates("0.3", Some("0.15"), "10") });
    let large = Rates { cache_write_1h: hour, ..rates("0.5", Some("0.15"), "20") };
    let service = [("batch".to_owned(), rates("0.15", None, "8"))].into();
    assert_eq!(found.tiers, [Tier { above: 200_000, rates: large, service }], "priority has no base");
    assert_eq!(found.service.keys().collect::<Vec<_>>(), ["batch"], "flex has no price for input");
    assert_eq!(found.service["batch"], rates("0.1", None, "5"));
    assert_eq!((found.context_window, found.max_output_tokens), (Some(9), Some(8)));
    assert_eq!(found.base.cache_write, None, "0 beside a price for input is none");
    assert_eq!(price(&text, "deepseek/d").base.input, "0.2".parse().unwrap(), "the one with its provider");
}

#[test]
fn genai_prices_have_sizes_dates_and_hours() {
    let text = json!([
        {"id": "google", "models": [
            {"id": "g", "match": {"or": [{"equals": "g"}, {"equals": "g-1"}, {"starts_with": "g-"}]},
             "context_window": 9,
             "prices": {"input_mtok": {"base": 1.25, "tiers": [{"start": 200_000, "price": 2.5}]}, "output_mtok": 10}},
            {"id": "claude-x", "prices": {"input_mtok": 1}},
        ]},
        {"id": "deepseek", "models": [{"id": "d", "prices": [
            {"prices": {"input_mtok": 9}},
            {"constraint": {"start_date": "2026-08-17"}, "prices": {"input_mtok": 0.66, "output_mtok": 2}},
            {"constraint": {"start_date": "2026-12-01"}, "prices": {"input_mtok": 0.7, "output_mtok": 3}},
            {"constraint": {"start_time": "01:00:00Z", "end_time": "04:00:00Z"}, "prices": {"input_mtok": 1.32}},
        ]}]},
        {"id": "moonshotai", "models": [{"id": "k", "prices": {"input_mtok": 1}}]},
        {"id": "openai", "models": [{"id": "w", "prices": {"input_audio_hours": 1}}]},
    ]);
    let text = text.to_string();
    let tiered = price(&text, "gemini/g");
    assert_eq!(tiered.tiers[0].rates, rates("2.5", None, "10"));
    assert_eq!(tiered.aliases, ["g-1".into()]);
    let dated = price(&text, "deepseek/d");
    assert_eq!(dated.base, rates("0.66", None, "2"));
    assert_eq!(dated.effective_from.unwrap().to_string(), "2026-08-17");
    assert_eq!((dated.scheduled.len(), dated.scheduled[0].1), (1, rates("0.7", None, "3")));
    assert_eq!(dated.windows[0].to.to_string(), "04:00:00");
    let skipped: Vec<_> = import(&text).unwrap().skipped.into_iter().map(|s| s.name).collect();
    assert_eq!(skipped, ["google/claude-x", "moonshotai/k", "openai/w"]);
    let wrapped = format!(r#"{{"units": {{}}, "providers": {text}}}"#);
    assert_eq!(import(&wrapped).unwrap().models.len(), 2);
}

#[test]
fn models_dev_prices_have_sizes_in_two_forms() {
    let text = json!({
        "xai": {"id": "xai", "models": {"x": {
            "id": "x", "limit": {"context": 9, "output": 8},
            "cost": {"input": 2, "output": 6, "cache_read": 0.5, "context_over_200k": {"input": 4, "output": 12}}
        }}},
        "openai": {"models": {"o": {"cost": {
            "input": 5, "output": 30, "context_over_200k": {"input": 1},
            "tiers": [{"input": 10, "output": 45, "tier": {"type": "context", "size": 272_000}}]
        }}, "free": {}}},
        "302ai": {"models": {"y": {"cost": {"input": 2}}}},
    });
    let text = text.to_string();
    let tiered = price(&text, "xai/x");
    assert_eq!(tiered.base, rates("2", Some("0.5"), "6"));
    assert_eq!((tiered.tiers[0].above, tiered.tiers[0].rates), (200_000, rates("4", Some("0.5"), "12")));
    assert_eq!((tiered.context_window, tiered.max_output_tokens), (Some(9), Some(8)));
    let listed = price(&text, "openai/o");
    assert_eq!((listed.tiers.len(), listed.tiers[0].above), (1, 272_000));
    let skipped: Vec<_> = import(&text).unwrap().skipped;
    assert_eq!(skipped.len(), 2, "{skipped:?}");
}

#[test]
fn ones_own_prices_take_providers_by_any_name() {
    let text = "as_of: 2026-11-22\nunit: USD per 1,000,000 tokens\nmodels:\n\
        - {id: a, provider: google, input: '0.10', output: 1.84375, source_override: x}\n\
        - {id: k, provider: moonshotai, input: 1}\n\
        - {id: m, provider: mine, aliases: [n], input: 1, priority: {input: 2}, scheduled: [\
        {from: 2027-01-01, input: 3}], time_of_day_utc: [{from: '22:00', to: '06:00', input: 4}]}\n";
    let listed: Vec<String> =
        import(text).unwrap().models.iter().map(|(target, _)| target.to_string()).collect();
    assert_eq!(listed, ["gemini/a", "openrouter/moonshotai/k", "mine/m"]);
    assert_eq!(price(text, "gemini/a").base, rates("0.1", None, "1.84375"));
    let own = price(text, "mine/m");
    assert_eq!((own.service.len(), own.scheduled.len(), own.windows.len()), (1, 1, 1));
}

#[test]
fn what_is_left_out_of_models_taken_is_counted() {
    let litellm = json!({
        "openai/b": {"litellm_provider": "openai", "input_cost_per_token": 1e-6},
        "a": {"litellm_provider": "openai", "input_cost_per_token": 1e-6, "input_cost_per_image_token": 1e-6,
            "search_context_cost_per_query": {"search_context_size_low": 0.01}, "input_cost_per_token_ultrafast": 1e-6},
        "b": {"litellm_provider": "openai", "input_cost_per_token": 1e-6, "input_cost_per_image_token": 1e-6,
            "output_cost_per_image": 0.0, "search_context_cost_per_query": {"search_context_size_low": 0}},
        "priced by the image": {"litellm_provider": "openai", "output_cost_per_image": 0.04},
    });
    let genai = json!([{"id": "openai", "models": [
        {"id": "a", "prices": [{"prices": {"input_mtok": 1, "web_searches_kcount": 10}},
            {"constraint": {"start_date": "2026-01-01"}, "prices": {"input_mtok": 1, "web_searches_kcount": 9}}]},
        {"id": "b", "prices": {"input_mtok": 1, "input_image_mtok": {"base": 0, "tiers": [{"start": 9, "price": 2}]}}},
        {"id": "c", "prices": {"input_mtok": 1, "web_searches_kcount": 10}},
    ]}]);
    let models_dev = json!({"openai": {"models": {
        "a": {"cost": {"input": 1, "reasoning": 4, "image": 0,
            "tiers": [{"input": 2, "reasoning": 8, "tier": {"type": "context", "size": 9}}]}},
        "b": {"cost": {"input": 1, "context_over_200k": {"input": 2, "cached": 1}}},
        "c": {"cost": {"reasoning": 4}},
    }}});
    for (text, expected) in [
        // Of two names for one model only the one that is taken counts.
        (
            litellm,
            &[
                ("input_cost_per_image_token", 1),
                ("input_cost_per_token_ultrafast", 1),
                ("search_context_cost_per_query", 1),
            ][..],
        ),
        (genai, &[("web_searches_kcount", 2), ("input_image_mtok", 1)]),
        (models_dev, &[("cached", 1), ("reasoning", 1)]),
    ] {
        let ignored = import(&text.to_string()).unwrap().ignored;
        let found: Vec<(&str, usize)> = ignored.iter().map(|one| (one.field.as_str(), one.models)).collect();
        assert_eq!(found, expected);
    }
}

/// Lists with a mistake, and what is said of it.
const MISTAKES: &[(&str, &str)] = &[
    ("models: []", "f:1:9: the list of models is empty"),
    ("[]", "f:1:1: the list is empty"),
    ("", "f:1:1: the file is empty"),
    ("42", "f:1:1: not a price list of a known format"),
    ("{\"a\": 1", "f:1:1: the bracket that begins here is never closed"),
    ("unit: EUR\nmodels: [{id: a, provider: p, input: 1}]", "f:1:7: unknown unit `EUR`"),
    ("models: [{id: a, provider: p, input: -1}]", "f:1:38: `input`: `-1` is not a price: a price cannot be"),
    ("models: [{id: a, provider: p, input: x}]", "f:1:38: `input`: `x` is not a price: expected USD"),
    (
        "models: [{id: a, provider: p, input: 0.1234567}]",
        "f:1:38: `input`: `0.1234567` is not a price: at most",
    ),
    ("models: [{id: a, provider: p, input: 10000.5}]", "f:1:38: `input`: `10000.5` is not a price: more"),
    ("models: [{id: a, provider: p, input: [1]}]", "f:1:38: `input`: expected a price, found a list"),
    ("models: [{id: a, provider: p}]", "f:1:10: `input` is missing"),
    ("models: [{id: a, provider: p, inptu: 1, input: 1}]", "f:1:31: unknown key `inptu`"),
    (
        "models: [{id: a, provider: p, input: 1, input: 2}]",
        "f:1:41: `input` is here for the second time; the first is at f:1:31",
    ),
    (
        "models: [{id: a, provider: p, input: 1}, {id: a, provider: p, input: 2}]",
        "f:1:42: p/a is here for the second time; the first is at f:1:10",
    ),
    (
        "models: [{id: a, provider: p, input: 1}, {id: b, provider: p, aliases: [a], input: 2}]",
        "f:1:42: the alias p/a has another price at f:1:10",
    ),
    (
        "models: [{id: a, provider: p, input: 1, tiers: [{input_tokens_above: 2, input: 1}, {input_tokens_above: 1, input: 1}]}]",
        "f:1:84: a tier above 1 after a larger one; the other is at f:1:49",
    ),
    (
        "models: [{id: a, provider: p, input: 1, effective_from: 2026-01-01, scheduled: [{from: 2020-01-01, input: 2}]}]",
        "f:1:10: a scheduled price from 2020-01-01 on, but `effective_from` is 2026-01-01",
    ),
    (
        "models: [{id: a, provider: p, input: 1, time_of_day_utc: [{from: '22:00', to: '06:00', input: 1}, {from: '05:00', to: '07:00', input: 1}]}]",
        "f:1:99: this window overlaps the one at f:1:59",
    ),
    (
        "models: [{id: a, provider: p, input: 1, time_of_day_utc: [{from: '22:00', to: '22:00', input: 1}]}]",
        "f:1:59: an empty window",
    ),
    (
        "models: [{id: a, provider: p, input: 1, effective_from: 2026-02-30}]",
        "f:1:57: `effective_from`: expected a date",
    ),
    (
        "models: [{id: a, provider: p, input: 1, context_window: many}]",
        "f:1:57: `context_window`: expected a whole",
    ),
    (
        r#"{"a": {"litellm_provider": "openai", "input_cost_per_token": 0.025}}"#,
        "f:1:62: `input_cost_per_token`: `0.025` is not a price: more",
    ),
    (
        r#"{"a": {"litellm_provider": "openai", "input_cost_per_token": "1"}}"#,
        "f:1:62: `input_cost_per_token`: expected a price, found a text",
    ),
    (r#"{"a": {"litellm_provider": "openai"}, "b": 1}"#, "f:1:44: `b`: expected settings"),
    (r#"{"a": {"litellm_provider": "bedrock"}}"#, "f:1:1: there is no price in it that can be used here"),
    (
        r#"[{"id": "openai", "models": [{"id": "a", "prices": {"input_mtok": {"base": 1, "tiers": [{"start": 5, "price": 1}, {"start": 5, "price": 2}]}}}]}]"#,
        "f:1:125: `input_mtok`: a tier above 5 after one above 5",
    ),
    (
        r#"[{"id": "openai", "models": [{"id": "a", "prices": [{"constraint": {"start_date": "soon"}, "prices": {"input_mtok": 1}}]}]}]"#,
        "f:1:83: `start_date`: expected a date",
    ),
    (r#"{"openai": {"models": {"a": {"cost": {"input": -2}}}}}"#, "f:1:48: `input`: `-2` is not a price"),
];

#[test]
fn mistakes_are_told_with_their_places() {
    let mut wrong = Vec::new();
    for (text, expected) in MISTAKES {
        let said = import(text).unwrap_err();
        if !said[0].starts_with(expected) {
            wrong.push(format!("{text}\n{said:#?}\n{expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn all_mistakes_are_told_in_order() {
    let text = "models:\n- {id: a, provider: p, input: -1, output: x}\n- {id: b, input: 1}\nverison: 1\n";
    let lines: Vec<String> = import(text).unwrap_err().iter().map(|said| said[..4].to_owned()).collect();
    assert_eq!(lines, ["f:2:", "f:2:", "f:3:", "f:4:"]);
}

/// Pieces of files of prices, in any order.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\n",
    "  ",
    "- ",
    "\"models\"",
    "\"litellm_provider\"",
    "\"openai\"",
    "\"id\"",
    "\"prices\"",
    "\"input_mtok\"",
    "\"cost\"",
    "\"input\"",
    "\"input_cost_per_token\"",
    "\"tiers\"",
    "\"base\"",
    "\"constraint\"",
    "\"start_date\"",
    "\"start_time\"",
    "1e-7",
    "-1",
    "1e400",
    "null",
    "true",
    "2026-11-23",
    "models:",
    "unit:",
    "provider: p",
    "input: 1",
    "&a",
    "*a",
    "<<",
    "\"\\ud800\"",
    "'",
    "#",
    "|",
    "\t",
];

proptest! {
    #[test]
    fn no_text_panics(text in ".*") {
        let _ = import(&text);
    }

    #[test]
    fn no_file_panics(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..40)) {
        let _ = import(&pieces.concat());
    }

    #[test]
    fn a_cut_off_file_is_refused_or_whole(at in 0..400_usize) {
        let text = json!({"a": {"litellm_provider": "openai", "input_cost_per_token": 1e-7, "mode": "chat"},
            "b": {"litellm_provider": "openai", "input_cost_per_token": 1e-7, "mode": "chat"}}).to_string();
        let cut = &text[..at.min(text.len() - 1)];
        prop_assert!(import(cut).is_err());
    }

    #[test]
    fn prices_arrive_exactly(picos in 0..=10_000_000_000_u64) {
        let rate = crate::domain::money::Rate::from_picos(picos);
        let own = format!("models: [{{id: a, provider: openai, input: {rate}}}]");
        prop_assert_eq!(price(&own, "openai/a").base.input, rate);
        let per_token = json!({"a": {"litellm_provider": "openai", "input_cost_per_token": picos as f64 / 1e12}});
        prop_assert_eq!(price(&per_token.to_string(), "openai/a").base.input, rate);
    }
}

#[test]
fn service_tiers_may_have_rates_for_large_requests() {
    let text = "models:\n  - {id: m, provider: p, input: 1, output: 2, batch: {input: 0.5, output: 1}, tiers: \
        [{input_tokens_above: 100, input: 2, output: 4, batch: {input: 0.9, output: 1.9}}]}\n";
    let price = price(text, "p/m");
    assert_eq!(price.tiers[0].service["batch"], rates("0.9", None, "1.9"));
    let now = "2026-11-23T12:00:00Z".parse().unwrap();
    let terms = price.terms(101, Some("batch"), now).unwrap();
    assert_eq!((terms.rates, terms.doubts), (rates("0.9", None, "1.9"), vec![]));
    let lacks = text.replace(", batch: {input: 0.9, output: 1.9}", "");
    let terms = self::price(&lacks, "p/m").terms(101, Some("batch"), now).unwrap();
    assert_eq!((terms.rates, terms.doubts.len()), (rates("1", None, "2"), 1), "scaled, and an estimate");
}
