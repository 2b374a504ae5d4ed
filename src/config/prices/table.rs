//! The user's own prices, kept beside the store. The file is written by this program and read at every start;
//! it is replaced whole, so that whoever reads it sees all of an import or nothing.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::entry::ModelEntry;
use crate::config::ConfigError;
use crate::config::env::Environment;
use crate::domain::name::Target;
use crate::policy::price::{Imported, ModelPrice};

/// The form of the file. A newer program may write another.
const FORM: u32 = 1;

/// The user's prices, by what they are for.
type Prices = BTreeMap<Target, ModelPrice>;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnFile {
    form: u32,
    /// What was imported, by its version.
    imports: BTreeMap<String, Source>,
    models: Vec<ModelEntry>,
}

/// No more than what tells the form, whatever else there is.
#[derive(Deserialize)]
struct Form {
    form: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    file: String,
    on: NaiveDate,
}

/// What an import did to the user's prices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Models that had no price of the user's.
    pub added: usize,
    /// Models whose price is another than before.
    pub changed: usize,
    /// Models whose price is the same.
    pub unchanged: usize,
    /// Models that have no price of the user's any more.
    pub removed: usize,
}

/// The user's own prices; none where nothing was imported, or there is no place to look.
pub(super) fn own(environment: &Environment) -> Result<Prices, ConfigError> {
    let Ok(path) = environment.prices_file() else { return Ok(Prices::new()) };
    load(&path)
}

fn load(path: &Path) -> Result<Prices, ConfigError> {
    let content = match fs::read(path) {
        Ok(content) => content,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Prices::new());
        }
        Err(error) => {
            return Err(ConfigError::Prices { path: path.to_owned(), reason: error.to_string() });
        }
    };
    let damaged = |reason: String| ConfigError::Prices { path: path.to_owned(), reason };
    if let Ok(Form { form }) = serde_json::from_slice(&content)
        && form > FORM
    {
        return Err(damaged("a newer version of llmops wrote it".into()));
    }
    let file: OwnFile =
        serde_json::from_slice(&content).map_err(|error| damaged(format!("it is damaged: {error}")))?;
    let mut prices = Prices::new();
    for entry in file.models {
        let (target, mut price) = entry.into_price("");
        let Some(source) = file.imports.get(&price.version) else {
            return Err(damaged(format!("it is damaged: where the price of {target} is from is missing")));
        };
        price.imported = Some(Imported { file: source.file.clone(), on: source.on, replaces: false });
        prices.insert(target, price);
    }
    Ok(prices)
}

/// Keeps prices beside those that the user has, or, to `replace` them, alone. A `rehearsal` changes nothing.
///
/// # Errors
/// When those that are there cannot be read, or the file cannot be written.
pub fn keep_prices(
    models: &[(Target, ModelPrice)],
    replace: bool,
    rehearsal: bool,
    environment: &Environment,
) -> Result<Kept, ConfigError> {
    let path = environment.prices_file()?;
    // Held to the end, so that of two imports at once none is lost.
    let _lock = if rehearsal { None } else { Some(lock(&path)?) };
    let before = match load(&path) {
        Err(ConfigError::Prices { .. }) if replace => Prices::new(),
        loaded => loaded?,
    };
    let mut after = if replace { Prices::new() } else { before.clone() };
    let mut kept = Kept::default();
    for (target, price) in models {
        match before.get(target) {
            None => kept.added += 1,
            Some(old) if same(old, price) => kept.unchanged += 1,
            Some(_) => kept.changed += 1,
        }
        after.insert(target.clone(), price.clone());
    }
    kept.removed = before.keys().filter(|target| !after.contains_key(*target)).count();
    if !rehearsal {
        write(&path, &after).map_err(|error| write_error(&path, &error))?;
    }
    Ok(kept)
}

/// Whether two prices are the same, wherever they are from.
fn same(one: &ModelPrice, other: &ModelPrice) -> bool {
    let alone = |price: &ModelPrice| ModelPrice { version: String::new(), imported: None, ..price.clone() };
    alone(one) == alone(other)
}

/// Forgets the user's prices, whatever is in their file. Says whether there was one.
///
/// # Errors
/// When it cannot be removed.
pub fn reset_prices(environment: &Environment) -> Result<bool, ConfigError> {
    let path = environment.prices_file()?;
    if path.symlink_metadata().is_err() {
        return Ok(false);
    }
    let _lock = lock(&path)?;
    match fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(write_error(&path, &error)),
        Ok(()) => Ok(true),
    }
}

fn write_error(path: &Path, error: &io::Error) -> ConfigError {
    ConfigError::Write { path: path.to_owned(), reason: error.to_string() }
}

/// Waits for whoever else changes the file. The lock is another file, since that one is replaced.
fn lock(path: &Path) -> Result<File, ConfigError> {
    let name = path.with_extension("lock");
    let locked = || {
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&name)?;
        file.lock()?;
        Ok(file)
    };
    locked().map_err(|error: io::Error| write_error(&name, &error))
}

fn write(path: &Path, prices: &Prices) -> io::Result<()> {
    let mut imports = BTreeMap::new();
    for price in prices.values() {
        if let Some(from) = &price.imported {
            imports.insert(price.version.clone(), Source { file: from.file.clone(), on: from.on });
        }
    }
    let models = prices.iter().map(|(target, price)| ModelEntry::of(target, price)).collect();
    let text = serde_json::to_vec(&OwnFile { form: FORM, imports, models })?;
    let new: PathBuf = path.with_extension("json.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    // The name, too.
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}
