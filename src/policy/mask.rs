//! Known secrets in any text, masked before it is shown, exported or (where that is asked for) recorded.
//!
//! A pattern keeps what tells the sort of secret (`sk-ant-***`) and stars the rest. It is tried only where
//! its needle occurs and compiled when that first happens, so ordinary text costs a few searches and no
//! expression. Keys begin at a word boundary and are long: neither prose nor the base64 of an image has
//! them.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

/// What a token of a header looks like: long, or with a digit, a `=` or a change of case in it, as words of
/// prose do not.
macro_rules! token {
    () => {
        r"(?:[\w.~+/=-]*(?:[0-9=]|[a-z][A-Z])[\w.~+/=-]{4,}|[\w.~+/=-]{24,})"
    };
}

/// A sort of secret.
struct Pattern {
    /// One of these is in every text that has such a secret.
    needles: &'static [&'static str],
    /// What is kept is in its groups, before and behind the secret.
    regex: LazyLock<Option<Regex>>,
}

macro_rules! patterns {
    ($($($needle:literal)|+ => $regex:expr,)+) => {
        [$(Pattern { needles: &[$($needle),+], regex: LazyLock::new(|| Regex::new($regex).ok()) }),+]
    };
}

/// In the order in which they are tried. ASCII only (`-u`) wherever a class is not negated.
static PATTERNS: [Pattern; 25] = patterns! {
    "PRIVATE KEY-----" => r"(?-u)(-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY-----)[\w+/=\s\\:,.*-]*?(-----END [A-Z0-9 ]{0,30}PRIVATE KEY-----)",
    // One that was cut off.
    "PRIVATE KEY-----" => r"(?-u)(-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY-----)(?:(?:\s|\\[nr])+[A-Za-z0-9+/=]{16,})+",
    // OpenAI, Anthropic, OpenRouter, Langfuse …
    "sk-" => r"(?-u)\b(sk-(?:proj|svcacct|admin|test|None|ant|or|lf)-)[\w-]{16,}",
    "sk-" => r"(?-u)\b(sk-)[A-Za-z0-9]{20,}[\w-]*",
    // Groq
    "gsk_" => r"(?-u)\b(gsk_)[A-Za-z0-9]{20,}",
    "xai-" => r"(?-u)\b(xai-)[A-Za-z0-9]{20,}[\w-]*",
    "pplx-" => r"(?-u)\b(pplx-)[A-Za-z0-9]{20,}",
    // Together
    "tgp_v1_" => r"(?-u)\b(tgp_v1_)[\w-]{20,}",
    // Google
    "AIza" => r"(?-u)\b(AIza)[\w-]{30,}",
    // AWS
    "AKIA" | "ASIA" => r"(?-u)\b(AKIA|ASIA)[A-Z0-9]{16}\b",
    // GitHub
    "ghp_" | "gho_" | "ghu_" | "ghs_" | "ghr_" => r"(?-u)\b(gh[pousr]_)[A-Za-z0-9]{20,}",
    "github_pat_" => r"(?-u)\b(github_pat_)\w{20,}",
    // GitLab
    "glpat-" => r"(?-u)\b(glpat-)[\w-]{20,}",
    // Slack
    "xox" => r"(?-u)\b(xox[abeprs]-)[A-Za-z0-9-]{10,}",
    // Stripe
    "sk_live_" | "rk_live_" | "sk_test_" | "rk_test_" => r"(?-u)\b([sr]k_(?:live|test)_)[A-Za-z0-9]{10,}",
    // Hugging Face
    "hf_" => r"(?-u)\b(hf_)[A-Za-z0-9]{30,}",
    // Replicate
    "r8_" => r"(?-u)\b(r8_)[A-Za-z0-9]{30,}",
    "npm_" => r"(?-u)\b(npm_)[A-Za-z0-9]{30,}",
    // JSON web tokens
    "eyJ" => r"(?-u)\b(eyJ)[\w-]{8,}\.eyJ[\w-]{8,}(?:\.[\w-]*)?",
    "earer" | "EARER" => concat!(r"(?-u)\b((?i:bearer)\s+)", token!()),
    "uthorization" | "UTHORIZATION" => concat!(
        r#"(?-u)\b((?i:authorization)["'\\]*\s*[:=]\s*["'\\]*(?:[A-Za-z]{1,16}\s+)?)"#, token!()
    ),
    "pi-key" | "PI-KEY" | "pi-Key" | "PI-Key" => concat!(
        r#"(?-u)\b((?i:api-key)["'\\]*\s*[:=]\s*["'\\]*)"#, token!()
    ),
    "hooks.slack.com" => r"(?-u)\b(hooks\.slack\.com/services/)[\w/]{10,}",
    // scheme://user:PASSWORD@host
    "://" => r#"(://[^/\s:@"'<>]*:)[^/\s@"'<>]+(@)"#,
    // ?key=… of an address, as Google and Azure take it
    "key=" | "sig=" | "token=" => concat!(
        r"(?-u)([?&](?:api_key|key|sig|token|access_token)=)", r"[\w.~%+/-]{16,}"
    ),
};

/// No secret is shorter, so that most values of a JSON document need not be searched.
const SHORTEST: usize = 12;

/// The text with its secrets masked.
pub fn mask(text: &str) -> Cow<'_, str> {
    let mut masked = Cow::Borrowed(text);
    if text.len() < SHORTEST {
        return masked;
    }
    for pattern in &PATTERNS {
        if !pattern.needles.iter().any(|needle| masked.contains(needle)) {
            continue;
        }
        let Some(regex) = &*pattern.regex else { continue };
        if let Cow::Owned(replaced) = regex.replace_all(&masked, "$1***$2") {
            masked = Cow::Owned(replaced);
        }
    }
    masked
}

/// Masks every string of a JSON value, but not the names of its fields. Returns whether there was a secret.
pub fn mask_json(value: &mut Value) -> bool {
    match value {
        Value::String(text) => match mask(text) {
            Cow::Owned(masked) if masked != *text => {
                *text = masked;
                true
            }
            _ => false,
        },
        Value::Array(values) => values.iter_mut().fold(false, |found, value| mask_json(value) | found),
        Value::Object(fields) => fields.values_mut().fold(false, |found, value| mask_json(value) | found),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const A20: &str = "aB3dE5fG7hJ9kL1mN3pQ";

    /// Secrets by what is left of them. `#` stands for twenty letters and digits.
    const SECRETS: [(&str, &str); 38] = [
        ("sk-##", "sk-***"),
        ("my key is sk-##.", "my key is sk-***."),
        ("sk-proj-#_#-#", "sk-proj-***"),
        ("sk-svcacct-#", "sk-svcacct-***"),
        ("sk-ant-api03-#-#_AA", "sk-ant-***"),
        ("sk-or-v1-##", "sk-or-***"),
        ("gsk_##", "gsk_***"),
        ("xai-##", "xai-***"),
        ("pplx-##", "pplx-***"),
        ("tgp_v1_##", "tgp_v1_***"),
        ("AIzaSy#-abcdefghijklm", "AIza***"),
        ("AKIAIOSFODNN7EXAMPLE", "AKIA***"),
        ("(ASIAIOSFODNN7EXAMPLE)", "(ASIA***)"),
        ("ghp_#", "ghp_***"),
        ("gho_#", "gho_***"),
        ("ghu_#", "ghu_***"),
        ("ghs_#", "ghs_***"),
        ("ghr_#", "ghr_***"),
        ("github_pat_#_#", "github_pat_***"),
        ("glpat-#", "glpat-***"),
        ("xoxb-123456789012-#", "xoxb-***"),
        ("sk_live_#", "sk_live_***"),
        ("rk_live_#", "rk_live_***"),
        ("HF_TOKEN=hf_##", "HF_TOKEN=hf_***"),
        ("r8_##", "r8_***"),
        ("npm_##", "npm_***"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc_DEF-123", "eyJ***"),
        ("Authorization: Bearer abcdef123456", "Authorization: Bearer ***"),
        ("authorization: Basic dXNlcjpwYXNz", "authorization: Basic ***"),
        (r#"{"Authorization": "Bearer #"}"#, r#"{"Authorization": "Bearer ***"}"#),
        ("a BEARER  # and more", "a BEARER  *** and more"),
        ("x-api-key: #", "x-api-key: ***"),
        ("postgres://me:s3cr3t!@db.local:5432/x", "postgres://me:***@db.local:5432/x"),
        ("redis://:пароль@cache", "redis://:***@cache"),
        ("https://g.example/v1?key=#&x=1", "https://g.example/v1?key=***&x=1"),
        ("https://hooks.slack.com/services/T0/B0/#", "https://hooks.slack.com/services/***"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n#\n#=\n-----END RSA PRIVATE KEY-----\nbye",
            "-----BEGIN RSA PRIVATE KEY-----***-----END RSA PRIVATE KEY-----\nbye",
        ),
        ("-----BEGIN PRIVATE KEY-----\\n#\\n#\nThat is all.", "-----BEGIN PRIVATE KEY-----***\nThat is all."),
    ];

    #[test]
    fn every_expression_compiles() {
        for pattern in &PATTERNS {
            assert!(pattern.regex.is_some(), "{:?}", pattern.needles);
        }
    }

    #[test]
    fn known_secrets_are_masked() {
        for (secret, left) in SECRETS {
            assert_eq!(mask(&secret.replace('#', A20)), left);
        }
    }

    #[test]
    fn everything_else_is_left_alone() {
        let base64: String = "iVBORw0KGgo/AKIAsk+/ASIA9xAIzagsk".repeat(20);
        for text in [
            "",
            "The risk-free-rate-of-the-twentieth-century was discussed.",
            "sk-learn-contrib-categorical-encoders and sk-fading-circle-container",
            "ask-me-anything-about-your-favourite-subject",
            "the bearer of bad news, a bearer responsibilities chart, Bearer authentication",
            "Authorization: required. authorization = none; Authorization: Basic authentication",
            "see https://example.com:8080/a@b, http://[::1]:80/, mailto:me@example.com, a://b",
            "at 12:30 me@example.com wrote",
            "<a href='http://h:80'>x@y</a>",
            "a file that begins with -----BEGIN PRIVATE KEY----- is a key",
            "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA\n-----END PUBLIC KEY-----",
            "hf_transformers, r8_register, npm_config, ghp_, AKIA, eyJ.eyJ",
            "019ab3c4-0000-7abc-8def-0123456789ab 3b1f8a7c9d2e4f6051728394a5b6c7d8e9f0a1b2",
            "sk-*** gsk_*** Bearer *** postgres://me:***@db",
            "?key=value&token=short",
            &base64,
            &format!("data:image/png;base64,{base64}=="),
        ] {
            assert_eq!(mask(text), text);
        }
    }

    #[test]
    fn json_is_masked_in_its_strings() {
        let key = format!("sk-proj-{A20}");
        let mut value = json!({"n": 1, &key: {"list": ["fine", format!("line\n{key}")]}});
        assert!(mask_json(&mut value));
        assert_eq!(value, json!({"n": 1, &key: {"list": ["fine", "line\nsk-proj-***"]}}));
        assert!(!mask_json(&mut value));
    }

    fn fragment() -> impl Strategy<Value = String> {
        let part = |(secret, _): (&str, &str)| secret.replace('#', A20);
        prop_oneof![
            2 => any::<String>(),
            3 => "[A-Za-z0-9 .:/@=_*\"\\-]{0,30}",
            3 => prop::sample::select(SECRETS.map(part).to_vec()),
            1 => prop::sample::select(vec!["sk-", "AKIA", "eyJ", "://", "Bearer ", "-----BEGIN PRIVATE KEY-----", "\n"])
                .prop_map(str::to_owned),
        ]
    }

    proptest! {
        #[test]
        fn masking_twice_is_masking_once(parts in prop::collection::vec(fragment(), 0..6)) {
            let text = parts.concat();
            let once = mask(&text).into_owned();
            prop_assert_eq!(mask(&once), once.as_str());
        }
    }
}
