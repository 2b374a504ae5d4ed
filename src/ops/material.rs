//! What a question is made of beside its words: templates, schemas, attached files. All of it is read here,
//! with limits, so that nothing endless or unreadable gets into a request.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::domain::overrides::TemplateSource;
use crate::domain::request::text_part;
use crate::policy::model::most_alike;
use crate::policy::schema::{AnswerSchema, SchemaError};

/// Why something cannot be part of a question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MaterialError {
    /// It cannot be read.
    #[error("cannot read {name}: {reason}")]
    Read {
        /// The file.
        name: String,
        /// What the system said.
        reason: String,
    },
    /// It has no content of its own.
    #[error("{name} is a {what}")]
    NotAFile {
        /// The path.
        name: String,
        /// What it is.
        what: &'static str,
    },
    /// There is nothing in it.
    #[error("{0} is empty")]
    Empty(String),
    /// More than a request should carry.
    #[error("{name} is larger than {limit} MiB")]
    TooLarge {
        /// The file.
        name: String,
        /// The most there may be.
        limit: u64,
    },
    /// Text is wanted.
    #[error("{name} is not valid UTF-8 at byte {at}")]
    Utf8 {
        /// The file.
        name: String,
        /// Where, from 1.
        at: usize,
    },
    /// Neither text nor an image that models take.
    #[error("{name} is {kind}, which cannot be attached")]
    Kind {
        /// The file.
        name: String,
        /// What its content is.
        kind: String,
    },
    /// Neither a template's name nor a file.
    #[error("no template `{name}`: neither a file nor one of `templates` in the config")]
    NoTemplate {
        /// What was asked for.
        name: String,
        /// The names most like it, best first.
        nearest: Vec<String>,
    },
    /// A schema that is none.
    #[error("{name}{}: {reason}", place(reason))]
    Schema {
        /// The file.
        name: String,
        /// What is wrong with it.
        reason: SchemaError,
    },
}

/// The largest template or schema, in MiB.
const LARGEST_TEXT: u64 = 1;

/// The largest file that is attached, in MiB.
const LARGEST_ATTACHMENT: u64 = 20;

/// The images that providers take.
const IMAGES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/// Finds a template: the one of that name in the config, else the file. With a `/` it is always a file.
pub fn template(named: &str, templates: &BTreeMap<String, String>) -> Result<TemplateSource, MaterialError> {
    let source = |text: &str| {
        // As Jinja has it, a line ends with LF whatever the system.
        TemplateSource { name: named.to_owned(), text: text.replace("\r\n", "\n") }
    };
    if let Some(text) = templates.get(named).filter(|_| !named.contains('/')) {
        return Ok(source(text));
    }
    if !named.contains('/') && !Path::new(named).exists() {
        let nearest = most_alike(named, templates.keys().map(String::as_str));
        return Err(MaterialError::NoTemplate { name: named.to_owned(), nearest });
    }
    Ok(source(&text_file(Path::new(named))?))
}

/// Reads a schema; the provider is told its file's name.
pub fn schema(path: &Path) -> Result<AnswerSchema, MaterialError> {
    let name = path.file_stem().map_or_else(|| "answer".into(), |stem| stem.to_string_lossy());
    AnswerSchema::compile(&name, &text_file(path)?)
        .map_err(|reason| MaterialError::Schema { name: path.display().to_string(), reason })
}

/// Makes a part of a message of a file: an image, or its text with its name in front. What it is, its
/// content says.
pub fn attachment(path: &Path) -> Result<Value, MaterialError> {
    let bytes = read(path, LARGEST_ATTACHMENT)?;
    let kind = infer::get(&bytes).map(|kind| kind.mime_type());
    if let Some(image) = kind.filter(|kind| IMAGES.contains(kind)) {
        let url = format!("data:{image};base64,{}", STANDARD.encode(&bytes));
        return Ok(json!({"type": "image_url", "image_url": {"url": url}}));
    }
    let name = path.display().to_string();
    // A signature of two letters is no proof where the rest is text.
    match (utf8(&name, &bytes), kind) {
        (_, Some(kind @ "application/pdf")) | (Err(_), Some(kind)) => {
            Err(MaterialError::Kind { name, kind: kind.to_owned() })
        }
        (Ok(text), _) if text.contains('\0') => {
            Err(MaterialError::Kind { name, kind: kind.unwrap_or("binary").to_owned() })
        }
        (Ok(text), _) => Ok(text_part(format!("{name}:\n{}\n", text.trim_end_matches(['\r', '\n'])))),
        (Err(error), None) => Err(error),
    }
}

fn text_file(path: &Path) -> Result<String, MaterialError> {
    let bytes = read(path, LARGEST_TEXT)?;
    utf8(&path.display().to_string(), &bytes).map(str::to_owned)
}

/// Text without a byte order mark.
fn utf8<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a str, MaterialError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| MaterialError::Utf8 { name: name.to_owned(), at: error.valid_up_to() + 1 })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Reads a file or a pipe of at most so many MiB.
fn read(path: &Path, limit: u64) -> Result<Vec<u8>, MaterialError> {
    let name = path.display().to_string();
    let failed = |error: io::Error| MaterialError::Read { name: name.clone(), reason: error.to_string() };
    let kind = path.metadata().map_err(failed)?.file_type();
    let not_a_file = |what| Err(MaterialError::NotAFile { name: name.clone(), what });
    if kind.is_dir() {
        return not_a_file("folder");
    }
    // Pipes are what `<(…)` of a shell gives.
    if kind.is_char_device() || kind.is_block_device() {
        return not_a_file("device");
    }
    let mut bytes = Vec::new();
    let most = limit << 20;
    File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes)).map_err(failed)?;
    match bytes.len() as u64 {
        0 => Err(MaterialError::Empty(name)),
        length if length > most => Err(MaterialError::TooLarge { name, limit }),
        _ => Ok(bytes),
    }
}

/// `:3:7` of what is wrong in a text.
fn place(reason: &SchemaError) -> String {
    match reason {
        SchemaError::Json { line, column, .. } => format!(":{line}:{column}"),
        SchemaError::Invalid(_) | SchemaError::Reference(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_the_config_is_found_first_and_a_slash_means_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("summarise");
        std::fs::write(&path, "\u{feff}of the file\r\n").unwrap();
        let path = path.to_str().unwrap();
        let templates =
            [("summarise".to_owned(), "of the config".to_owned()), (path.to_owned(), "x".to_owned())];
        let templates = BTreeMap::from(templates);
        assert_eq!(template("summarise", &templates).unwrap().text, "of the config");
        assert_eq!(template(path, &templates).unwrap().text, "of the file\n");
        let MaterialError::NoTemplate { nearest, .. } = template("sumarise", &templates).unwrap_err() else {
            panic!("found");
        };
        assert_eq!(nearest, ["summarise"]);
        assert!(matches!(template("./summarise", &templates), Err(MaterialError::Read { .. })));
    }
}
