//! Requests and answers as they lie in the store: zstd with a dictionary of what such bodies have in
//! common, which shrinks short ones to a fraction of what plain zstd gives. One compressor, in the
//! writer's thread: making one costs more than a body.

use std::io::{self, Read};

use zstd::bulk::Compressor;
use zstd::stream::read::Decoder;

/// Trained on requests and answers by `cargo run --release --example train_dictionary`. Frames name the
/// dictionary they need, so a later one can be added beside it, and this one must stay.
const DICTIONARY: &[u8] = include_bytes!("bodies.dict");

/// The level at which a body costs less than its row.
const LEVEL: i32 = 1;

/// Compresses bodies; reads the dictionary when the first one comes.
#[derive(Default)]
pub(super) struct Packer(Option<Compressor<'static>>);

impl Packer {
    pub(super) fn pack(&mut self, body: &[u8]) -> io::Result<Vec<u8>> {
        let compressor = match &mut self.0 {
            Some(compressor) => compressor,
            none => none.insert(Compressor::with_dictionary(LEVEL, DICTIONARY)?),
        };
        compressor.compress(body)
    }
}

/// The body that was packed.
pub(super) fn unpack(packed: &[u8]) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    Decoder::with_dictionary(packed, DICTIONARY)?.read_to_end(&mut body)?;
    Ok(body)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_packed_comes_back(bodies in proptest::collection::vec(any::<Vec<u8>>(), 0..4)) {
            let mut packer = Packer::default();
            for body in bodies {
                let packed = packer.pack(&body).unwrap();
                prop_assert_eq!(unpack(&packed).unwrap(), body);
            }
        }
    }
}
