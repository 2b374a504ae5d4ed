//! Prices: the table that is compiled in, and what the user has imported over it.

mod entry;
mod import;
mod table;

use serde::Deserialize;

use super::ConfigError;
use super::env::Environment;
use crate::policy::price::PriceBook;
use entry::ModelEntry;

pub use import::{Ignored, Import, Skipped, read as read_prices};
pub use table::{Kept, keep_prices, reset_prices};

/// `prices.yaml`, as the build script turned it into JSON.
const EMBEDDED: &str = include_str!(concat!(env!("OUT_DIR"), "/prices.json"));

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceFile {
    version: String,
    models: Vec<ModelEntry>,
}

/// The compiled-in table. A test proves that it can be read; an unreadable one would be empty, and every
/// model unpriced.
pub fn embedded_prices() -> PriceBook {
    serde_json::from_str(EMBEDDED).map(PriceFile::into_book).unwrap_or_default()
}

/// The compiled-in table, with the user's own prices over it.
///
/// # Errors
/// When those are there and cannot be read: to go on without them would be to bill by prices that the user
/// has replaced.
pub fn prices(environment: &Environment) -> Result<PriceBook, ConfigError> {
    let mut book = embedded_prices();
    book.lay_over(table::own(environment)?);
    Ok(book)
}

impl PriceFile {
    fn into_book(self) -> PriceBook {
        let mut book = PriceBook::new(self.version.clone());
        for entry in self.models {
            let (target, price) = entry.into_price(&self.version);
            book.insert(target.provider, target.model, price);
        }
        book
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Rate;
    use crate::domain::name::Target;
    use crate::domain::price::Rates;

    fn book() -> PriceBook {
        serde_json::from_str(EMBEDDED).map(PriceFile::into_book).unwrap()
    }

    #[test]
    fn the_embedded_table_is_read_whole() {
        let table = include_str!("../prices.yaml");
        let lines = table.lines().filter(|line| line.starts_with("  - id:")).count();
        assert_eq!(book().models().count(), lines, "an id stands twice, or is not read");
        assert!(lines > 80);
    }

    #[test]
    fn the_embedded_table_is_in_the_format_that_users_import() {
        let text = include_bytes!("../prices.yaml");
        let day = chrono::NaiveDate::from_ymd_opt(2026, 11, 23).unwrap();
        let read = read_prices(text, std::path::Path::new("prices.yaml"), day).unwrap();
        let book = book();
        assert_eq!(read.models.len(), book.models().count());
        for (target, mut price) in read.models {
            let listed = book.find(&target).unwrap().price;
            price.version = book.version.clone();
            price.imported = None;
            assert_eq!(price, *listed, "{target}");
        }
    }

    #[test]
    fn decimals_arrive_exactly() {
        let target = Target { provider: "openrouter".into(), model: "qwen/qwen3.7-max".into() };
        let book = book();
        let rates = book.find(&target).unwrap().price.base;
        assert_eq!(rates.cache_write, Some(Rate::from_picos(1_843_750)));
        assert_eq!(rates.cached_input, Some(Rate::from_picos(295_000)));
    }

    #[test]
    fn scaled_tiers_stay_exact() {
        // service × tier / base must come out even for every class that all three list
        let classes = |rates: &Rates| {
            [Some(rates.input), rates.cached_input, rates.cache_write, rates.cache_write_1h, rates.output]
        };
        for (provider, model, price) in book().models() {
            for (tier, service) in
                price.tiers.iter().flat_map(|tier| price.service.values().map(move |s| (tier, s)))
            {
                let all = classes(service).into_iter().zip(classes(&tier.rates)).zip(classes(&price.base));
                for ((service, tier), base) in all {
                    if let (Some(service), Some(tier), Some(base)) = (service, tier, base) {
                        let remainder = service.times(tier.picos()) % u128::from(base.picos());
                        assert_eq!(remainder, 0, "{provider}/{model}");
                    }
                }
            }
        }
    }
}
