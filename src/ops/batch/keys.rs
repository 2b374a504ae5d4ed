//! Which items have their lines in OUT: a set of [`Form::key`]s that a million lines do not make large.

use std::collections::HashSet;

use roaring::RoaringTreemap;

use super::form::Form;

/// A set of the keys of items. They come from a file, and may be any number.
#[derive(Debug)]
pub struct Keys(Kind);

#[derive(Debug)]
enum Kind {
    /// Places in the input stand close together.
    Places(RoaringTreemap),
    /// Hashes do not.
    Hashes(HashSet<u64>),
}

impl Default for Keys {
    /// One of places.
    fn default() -> Self {
        Self(Kind::Places(RoaringTreemap::new()))
    }
}

impl Keys {
    /// One for the keys of this form.
    pub fn of(form: Form) -> Self {
        if form.keys_are_places() { Self::default() } else { Self(Kind::Hashes(HashSet::new())) }
    }

    /// Adds a key. Returns whether it is new.
    pub fn insert(&mut self, key: u64) -> bool {
        match &mut self.0 {
            Kind::Places(keys) => keys.insert(key),
            Kind::Hashes(keys) => keys.insert(key),
        }
    }

    /// Takes a key away. Returns whether it was there.
    pub fn remove(&mut self, key: u64) -> bool {
        match &mut self.0 {
            Kind::Places(keys) => keys.remove(key),
            Kind::Hashes(keys) => keys.remove(&key),
        }
    }

    /// Whether it is there.
    pub fn contains(&self, key: u64) -> bool {
        match &self.0 {
            Kind::Places(keys) => keys.contains(key),
            Kind::Hashes(keys) => keys.contains(&key),
        }
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        match &self.0 {
            Kind::Places(keys) => keys.len(),
            Kind::Hashes(keys) => u64::try_from(keys.len()).unwrap_or(u64::MAX),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Keys that are met again, and those at the ends of what there is.
    fn keys() -> impl Strategy<Value = u64> {
        prop_oneof![0_u64..20, 65_530_u64..65_540, any::<u64>(), u64::MAX - 2..=u64::MAX]
    }

    proptest! {
        #[test]
        fn both_kinds_are_sets(steps in proptest::collection::vec((0..3_u8, keys()), 0..200)) {
            for form in [Form::Simple, Form::Openai] {
                let (mut set, mut model) = (Keys::of(form), BTreeSet::new());
                for (step, key) in &steps {
                    match step {
                        0 => prop_assert_eq!(set.insert(*key), model.insert(*key)),
                        1 => prop_assert_eq!(set.remove(*key), model.remove(key)),
                        _ => prop_assert_eq!(set.contains(*key), model.contains(key)),
                    }
                    prop_assert_eq!((set.len(), set.is_empty()), (model.len() as u64, model.is_empty()));
                }
            }
        }
    }

    #[test]
    fn places_of_a_large_file_take_little() {
        let mut keys = Keys::of(Form::Csv);
        assert!((0..1_000_000).all(|place| keys.insert(place)));
        let Kind::Places(places) = &keys.0 else { panic!("they are places") };
        assert!(places.serialized_size() < 200_000, "{}", places.serialized_size());
    }
}
