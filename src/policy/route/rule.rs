//! One rule: what it asks, cheap questions first, and what it says in return.

use regex::{Regex, RegexBuilder};

use super::error::RuleError;
use super::keyword::Keyword;
use super::question::Question;
use crate::domain::route::{Bounds, Conditions, RuleSettings};

/// A compiled regular expression takes no more memory than this, in bytes.
const LARGEST_REGEX: usize = 1 << 20;

/// The most characters of a match that are shown.
const SHOWN: usize = 40;

/// A rule that can be asked.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) settings: RuleSettings,
    keywords: Vec<Keyword>,
    regex: Option<Regex>,
}

/// A regular expression of a rule.
///
/// # Errors
/// Says what is wrong with it, in a line.
pub fn pattern(text: &str) -> Result<Regex, RuleError> {
    if text.is_empty() {
        return Err(RuleError::EmptyRegex);
    }
    RegexBuilder::new(text).size_limit(LARGEST_REGEX).build().map_err(|error| {
        RuleError::Regex(match error {
            regex::Error::CompiledTooBig(_) => "it takes too much memory".to_owned(),
            // The last line has the reason; those above show the place.
            other => {
                let text = other.to_string();
                let last = text.lines().last().unwrap_or_default().trim();
                last.strip_prefix("error: ").unwrap_or(last).to_owned()
            }
        })
    })
}

impl Rule {
    pub(super) fn new(settings: RuleSettings) -> Result<Self, RuleError> {
        let when = &settings.when;
        if settings.model.trim().is_empty() {
            return Err(RuleError::NoModel);
        }
        if *when == Conditions::default() {
            return Err(RuleError::NoCondition);
        }
        when.chars.check()?;
        when.tokens.check()?;
        let keywords = when.keywords.iter().map(|keyword| Keyword::new(keyword)).collect::<Result<_, _>>()?;
        let regex = when.regex.as_deref().map(pattern).transpose()?;
        Ok(Self { settings, keywords, regex })
    }

    pub(super) fn may_count(&self) -> bool {
        self.settings.when.tokens != Bounds::default()
    }

    /// What it found, a line for each condition; else what it did not find.
    pub(super) fn ask(&self, question: &Question<'_>) -> Result<Vec<String>, String> {
        let when = &self.settings.when;
        let mut found = Vec::new();
        if when.chars != Bounds::default() {
            let count = question.request.prompt().chars().count() as u64;
            found.push(when.chars.hold(count, "the prompt", "character")?);
        }
        if let Some(wanted) = when.attachments {
            found.push(attachments(question, wanted)?);
        }
        if !when.users.is_empty() {
            found.push(user(question, &when.users)?);
        }
        for (key, values) in &when.tags {
            found.push(value("tag", key, question.tag(key), values)?);
        }
        for (key, values) in &when.attrs {
            found.push(value("attribute", key, question.attr(key), values)?);
        }
        if !self.keywords.is_empty() {
            found.push(self.keyword(question)?);
        }
        if let Some(regex) = &self.regex {
            found.push(matches(regex, question.request.prompt())?);
        }
        if self.may_count() {
            found.push(tokens(question, when.tokens)?);
        }
        Ok(found)
    }

    fn keyword(&self, question: &Question<'_>) -> Result<String, String> {
        let text = question.folded();
        match (self.keywords.iter().find(|keyword| keyword.is_in(text)), self.keywords.as_slice()) {
            (Some(keyword), _) => Ok(format!("the keyword `{}` is in the prompt", keyword.as_str())),
            (None, [only]) => Err(format!("its keyword `{}` is not in the prompt", only.as_str())),
            (None, several) => Err(format!("none of its {} keywords is in the prompt", several.len())),
        }
    }
}

impl Bounds {
    /// Checks that some number is in the range.
    ///
    /// # Errors
    /// Says that none is.
    pub fn check(self) -> Result<(), RuleError> {
        match (self.min, self.max) {
            (Some(min), Some(max)) if min > max => Err(RuleError::Bounds { min, max }),
            _ => Ok(()),
        }
    }

    fn hold(self, count: u64, what: &str, unit: &str) -> Result<String, String> {
        let has = format!("{what} has {}", amount(count, unit));
        match (self.min, self.max) {
            (Some(min), _) if count < min => Err(format!("{has}, the rule asks for at least {min}")),
            (_, Some(max)) if count > max => Err(format!("{has}, the rule asks for at most {max}")),
            _ => Ok(has),
        }
    }
}

/// By the bytes of the request, as far as they decide it.
fn tokens(question: &Question<'_>, bounds: Bounds) -> Result<String, String> {
    const WHAT: &str = "the request";
    let most = question.tokens_at_most();
    let has = || format!("{WHAT} has at most {}", amount(most, "token"));
    match bounds {
        Bounds { min: Some(min), .. } if most < min => {
            Err(format!("{}, the rule asks for at least {min}", has()))
        }
        Bounds { min: None, max: Some(max) } if most <= max => Ok(has()),
        _ => bounds.hold(question.tokens(), WHAT, "token"),
    }
}

fn attachments(question: &Question<'_>, wanted: bool) -> Result<String, String> {
    match (question.has_attachments(), wanted) {
        (true, true) => Ok("there is an attachment".to_owned()),
        (false, false) => Ok("there is nothing but text".to_owned()),
        (true, false) => Err("there is an attachment, the rule asks for text alone".to_owned()),
        (false, true) => Err("there is nothing but text, the rule asks for an attachment".to_owned()),
    }
}

fn user(question: &Question<'_>, wanted: &[String]) -> Result<String, String> {
    match question.user {
        Some(user) if wanted.iter().any(|one| one == user) => Ok(format!("it is for {user}")),
        Some(user) => Err(format!("it is for {user}, the rule asks for {}", any_of(wanted))),
        None => Err(format!("it is for nobody, the rule asks for {}", any_of(wanted))),
    }
}

fn value(what: &str, key: &str, value: Option<String>, wanted: &[String]) -> Result<String, String> {
    match value {
        Some(value) if wanted.contains(&value) => Ok(format!("the {what} `{key}` is {value}")),
        Some(value) => Err(format!("the {what} `{key}` is {value}, the rule asks for {}", any_of(wanted))),
        None => Err(format!("there is no {what} `{key}`, the rule asks for {}", any_of(wanted))),
    }
}

fn matches(regex: &Regex, prompt: &str) -> Result<String, String> {
    let Some(found) = regex.find(prompt) else {
        return Err(format!("`{regex}` matches nothing in the prompt"));
    };
    let mut shown: String = found.as_str().chars().take(SHOWN).collect();
    if shown.len() < found.len() {
        shown.push('…');
    }
    Ok(format!("`{regex}` matches `{shown}`"))
}

/// `ada`, `ada or eve`, `one of 7`.
fn any_of(wanted: &[String]) -> String {
    match wanted {
        [one] => one.clone(),
        [one, other] => format!("{one} or {other}"),
        several => format!("one of {}", several.len()),
    }
}

fn amount(count: u64, unit: &str) -> String {
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}
