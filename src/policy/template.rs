//! Jinja templates: text and variables in, text out. A template reads no file, ends, and knows no variable
//! that it was not given.

use std::collections::BTreeSet;
use std::io;

use minijinja::{Environment, Error, ErrorKind, Template, UndefinedBehavior};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::domain::overrides::TemplateSource;
use crate::domain::request::ChatRequest;

/// Why a template gave no text, with the line in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template `{name}`{}: {reason}", .line.map(|line| format!(", line {line}")).unwrap_or_default())]
pub struct TemplateError {
    name: String,
    line: Option<usize>,
    reason: String,
    /// The variable that it lacks, if that is what it is.
    pub missing: Option<String>,
}

/// The most instructions a template may run: one that never ends would hold up everything else.
const FUEL: u64 = 1_000_000;

/// The longest text a template may come to, in bytes.
const LONGEST: usize = 16 << 20;

/// The longest `{{ … }}` or `{% … %}`, in bytes: the engine recurses over what is in one, and an expression of
/// a hundred thousand operators would overflow its stack.
const LONGEST_TAG: usize = 16 << 10;

/// The variable that a template finds the request's prompt in.
pub const PROMPT: &str = "prompt";

/// The variable that it finds the system message in.
pub const SYSTEM: &str = "system";

impl TemplateError {
    /// The same for whoever knows the template's name.
    pub fn in_it(&self) -> String {
        match self.line {
            Some(line) => format!("line {line}: {}", self.reason),
            None => self.reason.clone(),
        }
    }
}

/// Whether `source` is a template at all.
///
/// # Errors
/// When it is not, where and why.
pub fn check(name: &str, source: &str) -> Result<(), TemplateError> {
    compile(&environment(), name, source).map(drop)
}

/// Renders `source`; a variable that is not defined is an error.
pub fn render(name: &str, source: &str, variables: impl Serialize) -> Result<String, TemplateError> {
    let environment = environment();
    run(&environment, &compile(&environment, name, source)?, variables)
}

/// The variables that a template asks for.
pub fn variables(template: &TemplateSource) -> Result<BTreeSet<String>, TemplateError> {
    let environment = environment();
    let template = compile(&environment, &template.name, &template.text)?;
    Ok(template.undeclared_variables(false).into_iter().collect())
}

/// Puts what the template makes of the request and `variables` into the request: in the place of its prompt
/// where the template uses that, else behind it, as a question comes behind what is piped in. A prompt that
/// is blank is not there.
pub fn fill(
    template: &TemplateSource,
    variables: &Map<String, Value>,
    request: &mut ChatRequest,
) -> Result<(), TemplateError> {
    let environment = environment();
    let compiled = compile(&environment, &template.name, &template.text)?;
    let prompt = request.prompt().to_owned();
    let has_prompt = !prompt.trim().is_empty();
    let mut known = Map::new();
    known.extend(request.system().map(|system| (SYSTEM.to_owned(), system.into())));
    known.extend(variables.clone());
    known.extend(has_prompt.then(|| (PROMPT.to_owned(), prompt.as_str().into())));
    let text = run(&environment, &compiled, &known)?;
    let beside = has_prompt && !compiled.undeclared_variables(false).contains(PROMPT);
    let text = match (beside, text.trim()) {
        (true, "") => return Ok(()),
        (true, text) => format!("{}\n\n{text}", prompt.trim_end()),
        (false, "") => {
            let reason = "it comes to no text".to_owned();
            return Err(TemplateError { name: template.name.clone(), line: None, reason, missing: None });
        }
        (false, text) => text.to_owned(),
    };
    request.set_prompt(text);
    Ok(())
}

/// Without a loader: `include` and `import` find nothing.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_keep_trailing_newline(true);
    environment.set_fuel(Some(FUEL));
    // Tells where in the source an error is, to name the variable.
    environment.set_debug(true);
    environment
}

fn compile<'e, 's>(
    environment: &'e Environment<'s>,
    name: &'s str,
    source: &'s str,
) -> Result<Template<'e, 's>, TemplateError>
where
    's: 'e,
{
    if let Some(at) = overlong_tag(source) {
        let line = source[..at].matches('\n').count() + 1;
        let reason = format!("an expression is longer than {} KiB", LONGEST_TAG >> 10);
        return Err(TemplateError { name: name.to_owned(), line: Some(line), reason, missing: None });
    }
    environment.template_from_named_str(name, source).map_err(|error| TemplateError {
        name: name.to_owned(),
        line: error.line(),
        reason: reason(&error),
        missing: None,
    })
}

fn run(
    environment: &Environment<'_>,
    template: &Template<'_, '_>,
    variables: impl Serialize,
) -> Result<String, TemplateError> {
    let variables = minijinja::Value::from_serialize(variables);
    let mut text = Limited(Vec::new());
    let Err(error) = template.render_captured_to(&variables, &mut text) else {
        return Ok(String::from_utf8_lossy(&text.0).into_owned());
    };
    let is_known = |name: &str| {
        variables.get_attr(name).is_ok_and(|value| !value.is_undefined())
            || environment.globals().any(|(global, _)| global == name)
    };
    let missing = template.undeclared_variables(false).into_iter().filter(|name| !is_known(name)).collect();
    let (missing, reason) = match culprit(template.source(), &missing, &error) {
        Some(Culprit::Variable(name)) => (Some(name.clone()), format!("`{name}` is not defined")),
        Some(Culprit::Expression(expression)) => (None, format!("`{expression}` is not defined")),
        None => (None, reason(&error)),
    };
    Err(TemplateError { name: template.name().to_owned(), line: error.line(), reason, missing })
}

/// Where a tag begins that is longer than [`LONGEST_TAG`].
fn overlong_tag(source: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(found) = source[at..].find(['{']) {
        let start = at + found;
        let rest = &source.as_bytes()[start..];
        let length = match rest.get(1) {
            Some(b'{') => tag_length(rest, b'}'),
            Some(b'%') => tag_length(rest, b'%'),
            _ => 1,
        };
        if length > LONGEST_TAG {
            return Some(start);
        }
        at = source.floor_char_boundary(start + length);
    }
    None
}

/// How long the tag is that begins here and ends with `closer` and `}`, outside of strings and brackets.
fn tag_length(tag: &[u8], closer: u8) -> usize {
    let (mut at, mut depth, mut quote) = (2, 0_usize, None);
    while let Some(byte) = tag.get(at) {
        match (quote, byte) {
            (Some(_), b'\\') => at += 1,
            (Some(open), byte) if open == byte => quote = None,
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, byte) if depth == 0 && *byte == closer && tag.get(at + 1) == Some(&b'}') => return at + 2,
            (None, b'(' | b'[' | b'{') => depth += 1,
            (None, b')' | b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    tag.len()
}

/// What is not defined.
enum Culprit {
    Variable(String),
    Expression(String),
}

/// Finds it: the engine says where it failed, but not over what.
fn culprit(source: &str, missing: &BTreeSet<String>, error: &Error) -> Option<Culprit> {
    if !matches!(error.kind(), ErrorKind::UndefinedError | ErrorKind::InvalidOperation) {
        return None;
    }
    let undefined = error.kind() == ErrorKind::UndefinedError;
    let place = error.range().and_then(|range| source.get(range)).unwrap_or_default();
    let line = error.line().and_then(|line| source.lines().nth(line.saturating_sub(1)));
    let named_in = |text: &str| {
        let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
        words.find(|word| missing.contains(*word)).map(|word| Culprit::Variable(word.to_owned()))
    };
    named_in(place)
        .or_else(|| line.filter(|_| undefined).and_then(named_in))
        .or_else(|| undefined.then(|| Culprit::Expression(place.to_owned())))
}

/// One line for a person.
fn reason(error: &Error) -> String {
    match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => format!("it takes more than {FUEL} steps"),
        (ErrorKind::WriteFailure, _) => format!("it comes to more than {} MiB", LONGEST >> 20),
        (_, Some(detail)) => detail.split_whitespace().collect::<Vec<_>>().join(" "),
        (kind, None) => kind.to_string(),
    }
}

/// A text that cannot grow for ever.
struct Limited(Vec<u8>);

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > LONGEST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use minijinja::context;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn source(text: &str) -> TemplateSource {
        TemplateSource { name: "t".into(), text: text.into() }
    }

    fn filled(text: &str, prompt: &str, variables: Value) -> Result<String, TemplateError> {
        let Value::Object(variables) = variables else { panic!("not an object") };
        let mut request = ChatRequest::from_prompt(prompt);
        request.set_system("Be brief.");
        fill(&source(text), &variables, &mut request).map(|()| request.prompt().to_owned())
    }

    #[test]
    fn a_missing_variable_is_named_with_its_line() {
        assert_eq!(render("t", "Hello {{ who }}", context! { who => "Ada" }).unwrap(), "Hello Ada");
        let error = render("t", "one\n{{ nobody }}", context! {}).unwrap_err().to_string();
        assert!(error.starts_with("template `t`, line 2:"), "{error}");
        for text in [
            "{{ lang }}",
            "{{ a ~ lang }}",
            "{{ lang|upper }}",
            "{{ lang.code }}",
            "{{ lang + 1 }}",
            "{% if lang %}{% endif %}",
            "{% for x in lang %}{% endfor %}",
            "{% set x = lang %}{{ x }}",
            "{% macro m() %}{{ lang }}{% endmacro %}{{ m() }}",
        ] {
            let error = filled(&format!("{{{{ a }}}}\n{text}"), "", json!({"a": 1})).unwrap_err();
            assert_eq!(error.to_string(), "template `t`, line 2: `lang` is not defined", "{text}");
            assert_eq!(error.missing.as_deref(), Some("lang"));
        }
        let error = filled("{{ range + a }}", "", json!({"a": 1})).unwrap_err();
        assert!(error.missing.is_none() && error.to_string().contains('+'), "{error}");
        let error = filled("{{ a.b }}", "", json!({"a": {}})).unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), &error.missing),
            ("template `t`, line 1: `a.b` is not defined", &None)
        );
    }

    #[test]
    fn a_template_is_the_prompt_or_comes_behind_it() {
        for (text, prompt, filled_in) in [
            ("Sum up: {{ prompt }}\n", "a text", "Sum up: a text"),
            ("Sum it up.\r\n", "a text\n", "a text\n\nSum it up."),
            ("Sum it up.", " \n", "Sum it up."),
            ("{% if x is defined %}x{% endif %}", "a text", "a text"),
            ("{{ system }} {{ lang }}", "", "Be brief. de"),
            ("{% set prompt = 'own' %}{{ prompt }}", "a text", "a text\n\nown"),
            ("{{ prompt is defined }}", "", "False"),
        ] {
            assert_eq!(filled(text, prompt, json!({"lang": "de"})).unwrap(), filled_in, "{text}");
        }
        assert_eq!(filled("{{ prompt }}", "", json!({})).unwrap_err().missing.as_deref(), Some("prompt"));
        let nothing = filled("{# nothing #}\n", "", json!({})).unwrap_err();
        assert_eq!(nothing.to_string(), "template `t`: it comes to no text");
    }

    #[test]
    fn no_template_gets_out_of_hand() {
        for (text, said) in [
            ("{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}", "steps"),
            ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recursion"),
            ("{% for i in range(9) %}{{ 'x' * 9000000 }}{% endfor %}", "more than 16 MiB"),
            ("{% include '/etc/passwd' %}", "/etc/passwd"),
            ("{% extends 'Cargo.toml' %}", "Cargo.toml"),
            ("{% if %}", "unexpected end of block"),
            (&format!("ä {{{{ {{'}}}}': '{{{{'}} {} }}}}", "+1".repeat(100_000)), "longer than 16 KiB"),
            (&format!("{{% if 1{} %}}", "|upper".repeat(100_000)), "longer than 16 KiB"),
            ("{{ nosuch() }}", "nosuch is unknown"),
        ] {
            let error = filled(text, "", json!({})).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn what_a_template_asks_for_is_known() {
        let names = variables(&source("{{ a }}{% for b in c %}{{ b }}{% endfor %}{{ prompt }}")).unwrap();
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["a", "c", "prompt"]);
        assert!(variables(&source("one\n{{")).unwrap_err().to_string().starts_with("template `t`, line 2"));
    }

    #[test]
    fn long_texts_between_short_tags_are_fine() {
        let text = format!("{{{{ {{'a': '}}}}'}}['a'] }}}}{}{{{{ a }}}}", "{ '\"x".repeat(20_000));
        assert_eq!(filled(&text, "", json!({"a": 1})).unwrap().len(), 2 + 5 * 20_000 + 1);
    }

    proptest! {
        #[test]
        fn no_template_panics(text in "([{}%# a-z|.()\\[\\]'\n~+]|\\{\\{|\\}\\}|\\{%|%\\}|for|in|if|prompt){0,40}") {
            let _ = filled(&text, "hi", json!({"a": [1, {"b": null}]}));
        }

        #[test]
        fn text_without_marks_is_itself(text in "[a-zA-Zäß中 \n.]{0,60}[a-z]", prompt in "[a-z ]{0,20}[a-z]") {
            prop_assert_eq!(filled(&text, "", json!({})).unwrap(), text.trim());
            prop_assert_eq!(filled(&text, &prompt, json!({})).unwrap(), format!("{prompt}\n\n{}", text.trim()));
        }
    }
}
