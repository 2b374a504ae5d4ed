//! Requests and answers as they lie in the store: zstd with a dictionary of what such bodies have in
//! common, which shrinks short ones to a fraction of what plain zstd gives. One compressor, in the
//! writer's thread: making one costs more than a body. What is kept of a body at all is decided here, too.

use std::io::{self, Read};
use std::sync::LazyLock;

use serde_json::Value;
use zstd::bulk::Compressor;
use zstd::dict::DecoderDictionary;
use zstd::stream::read::Decoder;

use crate::domain::call::Kept;
use crate::domain::settings::{Bodies, StoreSettings};
use crate::policy::mask::mask_json;

/// Trained on requests and answers by `cargo run --release --example train_dictionary`. Frames name the
/// dictionary they need, so a later one can be added beside it, and this one must stay.
const DICTIONARY: &[u8] = include_bytes!("bodies.dict");

/// Read once: reading it takes longer than unpacking a body.
static FOR_UNPACKING: LazyLock<DecoderDictionary<'static>> =
    LazyLock::new(|| DecoderDictionary::copy(DICTIONARY));

/// The level at which a body costs less than its row.
const LEVEL: i32 = 1;

/// Packs bodies; reads the dictionary when the first one comes.
pub(super) struct Packer {
    compressor: Option<Compressor<'static>>,
    bodies: Bodies,
    limit: u64,
}

/// The bodies of a call, packed. One that is not kept is empty.
pub(super) struct Packed {
    pub(super) request: Vec<u8>,
    pub(super) response: Option<Vec<u8>>,
    pub(super) kept: Kept,
}

impl Packer {
    pub(super) fn new(settings: &StoreSettings) -> Self {
        Self { compressor: None, bodies: settings.bodies, limit: settings.body_limit }
    }

    /// Packs what is to be kept. [`Kept::Masked`] is only what had a secret, and [`Kept::Cut`] outranks it.
    pub(super) fn pack(&mut self, request: &[u8], response: Option<&[u8]>) -> io::Result<Packed> {
        let mut kept = Kept::Full;
        let mut pack = |body: &[u8]| self.pack_body(body, &mut kept);
        let (request, response) = (pack(request)?, response.map(pack).transpose()?);
        Ok(Packed { request, response, kept })
    }

    fn pack_body(&mut self, body: &[u8], kept: &mut Kept) -> io::Result<Vec<u8>> {
        if self.bodies == Bodies::None {
            *kept = Kept::None;
            return Ok(Vec::new());
        }
        if u64::try_from(body.len()).unwrap_or(u64::MAX) > self.limit {
            *kept = Kept::Cut;
            return Ok(Vec::new());
        }
        let masked = if self.bodies == Bodies::Masked { masked(body) } else { None };
        if masked.is_some() && *kept == Kept::Full {
            *kept = Kept::Masked;
        }
        self.compress(masked.as_deref().unwrap_or(body))
    }

    /// Packs a body as it is, whatever is kept of others.
    pub(super) fn compress(&mut self, body: &[u8]) -> io::Result<Vec<u8>> {
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            none => none.insert(Compressor::with_dictionary(LEVEL, DICTIONARY)?),
        };
        compressor.compress(body)
    }
}

/// The body without its secrets, if it has any. Bodies are JSON; what is not has nothing to read either.
fn masked(body: &[u8]) -> Option<Vec<u8>> {
    let mut value: Value = serde_json::from_slice(body).ok()?;
    if mask_json(&mut value) { serde_json::to_vec(&value).ok() } else { None }
}

/// The body that was packed.
pub(super) fn unpack(packed: &[u8]) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if !packed.is_empty() {
        Decoder::with_prepared_dictionary(packed, &FOR_UNPACKING)?.read_to_end(&mut body)?;
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packer(bodies: Bodies, body_limit: u64) -> Packer {
        Packer::new(&StoreSettings { bodies, body_limit, ..StoreSettings::default() })
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(bodies in proptest::collection::vec(any::<Vec<u8>>(), 0..4)) {
            let mut packer = packer(Bodies::Full, 1 << 20);
            for body in bodies {
                let packed = packer.pack(&body, Some(&body)).unwrap();
                prop_assert_eq!(packed.kept, Kept::Full);
                prop_assert_eq!(unpack(&packed.request).unwrap(), body.clone());
                prop_assert_eq!(unpack(&packed.response.unwrap()).unwrap(), body);
            }
        }
    }

    #[test]
    fn what_was_kept_is_said() {
        const SECRET: &[u8] = br#"{"a": "sk-proj-abcdefghijklmnop", "b":1.50}"#;
        const PLAIN: &[u8] = br#"{ "a": 1.50 }"#;
        for (bodies, limit, request, kept, left) in [
            (Bodies::Full, 100, SECRET, Kept::Full, SECRET),
            (Bodies::Masked, 100, SECRET, Kept::Masked, br#"{"a":"sk-proj-***","b":1.5}"#),
            (Bodies::Masked, 100, PLAIN, Kept::Full, PLAIN),
            (Bodies::Masked, 20, SECRET, Kept::Cut, b""),
            (Bodies::None, 100, PLAIN, Kept::None, b""),
        ] {
            let packed = packer(bodies, limit).pack(request, Some(b"1")).unwrap();
            assert_eq!((packed.kept, unpack(&packed.request).unwrap().as_slice()), (kept, left));
            let response = unpack(&packed.response.unwrap()).unwrap();
            assert_eq!(response, if kept == Kept::None { b"".as_slice() } else { b"1" });
        }
    }
}
