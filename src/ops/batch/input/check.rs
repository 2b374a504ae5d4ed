//! The first reading: every file to its end before any call is made.

use std::collections::{BTreeMap, BTreeSet};

use super::duplicates::{Duplicates, Pair};
use super::error::{InputError, beside};
use super::feed::Reading;
use super::record::Record;
use super::source::{Reader, Source};
use super::tap::Fingerprint;
use crate::ops::batch::item::{Item, LineError, OWN_KEYS};
use crate::pipeline::CallContext;
use crate::policy::template::{self, PROMPT};

/// Unused keys that are remembered: nobody reads more, and lines may have any number.
const KEYS: usize = 100;

/// What a first reading found.
#[derive(Debug, Default)]
pub struct Checked {
    /// How many items there are, if all sources could be read.
    pub total: Option<u64>,
    /// The models that lines name, each with the first line that does; none where a line names none.
    pub models: BTreeMap<Option<String>, String>,
    /// Keys beside a `prompt` that nothing uses.
    pub unused: BTreeSet<String>,
    /// Whether every item is known to be a line of OpenAI's Batch API.
    pub batch_lines: bool,
    /// What the sources were, in order.
    pub sources: Vec<Fingerprint>,
}

/// Reads every file through, and stops at the first line that is not an item, or of which the template in
/// `context` makes no text. Ids that must not be there twice are compared behind that.
///
/// # Errors
/// Names the line.
pub fn check(sources: &[Source], reading: Reading, context: &CallContext) -> Result<Checked, InputError> {
    let template = context.overrides.template.as_ref();
    let mut check = Check {
        context,
        used: template.map(template::variables).transpose()?,
        reading,
        count: 0,
        batch_line: None,
        other_line: false,
        ids: Duplicates::new(),
        checked: Checked::default(),
    };
    for source in sources {
        let content = if source.is_rereadable() { Some(check.source(source)?) } else { None };
        let path = source.path().and_then(|path| std::path::absolute(path).ok());
        check.checked.sources.push(Fingerprint { name: source.name.clone(), path, content });
    }
    let Check { mut checked, count, ids, batch_line, other_line, .. } = check;
    if let Some(pair) = ids.first().map_err(InputError::Scratch)? {
        return Err(duplicate(sources, pair)?);
    }
    let all_read = sources.iter().all(Source::is_rereadable);
    if all_read && count == 0 && reading.limit != Some(0) {
        let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
        return Err(InputError::Empty(names.join(", ")));
    }
    checked.batch_lines = all_read && batch_line.is_some() && !other_line;
    checked.total = all_read.then_some(count);
    Ok(checked)
}

/// A check under way.
struct Check<'a> {
    context: &'a CallContext,
    /// The variables that the template uses.
    used: Option<BTreeSet<String>>,
    reading: Reading,
    count: u64,
    /// The first line of OpenAI's Batch API.
    batch_line: Option<String>,
    /// Whether there are items that are none.
    other_line: bool,
    ids: Duplicates,
    checked: Checked,
}

impl Check<'_> {
    /// Reads a source to its end, though no more items than are asked for.
    fn source(&mut self, source: &Source) -> Result<super::tap::Content, InputError> {
        let mut records = Reader::new(source, true);
        while self.reading.limit.is_none_or(|limit| self.count < limit) {
            let Some(record) = records.next() else { break };
            self.record(record?)?;
        }
        records.content()
    }

    fn record(&mut self, Record { place, item, .. }: Record) -> Result<(), InputError> {
        let item = match (item, &self.batch_line) {
            (Ok(item), _) => item,
            (Err(LineError::Url(url)), Some(first)) => {
                let earlier = beside(&place, first);
                return Err(InputError::MixedUrls { place, url, earlier });
            }
            (Err(reason), _) => return Err(InputError::Line { place, reason }),
        };
        if let Some(id) = item.id.as_ref().filter(|_| item.batch_line || self.reading.unique_ids) {
            self.ids.add(id, self.count).map_err(InputError::Scratch)?;
        }
        if !item.batch_line {
            self.other_line = true;
        } else if self.batch_line.is_none() {
            self.batch_line = Some(place.clone());
        }
        self.note(&item, &place);
        self.count += 1;
        if self.used.is_some() {
            let (mut request, context) = item.into_call(self.context.clone());
            let filled = context.fill(&mut request);
            filled.map_err(|reason| InputError::Line { place, reason: reason.into() })?;
        }
        Ok(())
    }

    /// Notes its model, and keys that nothing uses.
    fn note(&mut self, item: &Item, place: &str) {
        let Checked { unused, models, .. } = &mut self.checked;
        for key in item.variables.keys() {
            let is_used = match &self.used {
                Some(used) => used.contains(key) || OWN_KEYS.contains(&key.as_str()) || key == PROMPT,
                None => false,
            };
            if !is_used && unused.len() < KEYS && !unused.contains(key) {
                unused.insert(key.clone());
            }
        }
        models.entry(item.request.model().map(str::to_owned)).or_insert_with(|| place.to_owned());
    }
}

/// Reads again up to an item that has another's id, to say where both are.
fn duplicate(sources: &[Source], pair: Pair) -> Result<InputError, InputError> {
    let mut records =
        sources.iter().filter(|source| source.is_rereadable()).flat_map(|s| Reader::new(s, false));
    let gone = || InputError::Changed(sources.first().map(|source| source.name.clone()).unwrap_or_default());
    let skip = |index: u64| usize::try_from(index).unwrap_or(usize::MAX);
    let earlier = records.nth(skip(pair.earlier)).ok_or_else(gone)??;
    let later = records.nth(skip(pair.later - pair.earlier - 1)).ok_or_else(gone)??;
    let key = later.item.as_ref().map_or("id", Item::id_key);
    let earlier = beside(&later.place, &earlier.place);
    Ok(InputError::Duplicate { place: later.place, key, earlier })
}
