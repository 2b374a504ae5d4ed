//! Plain data that every floor shares: requests, events, calls, money. No I/O, no clock, no policy:
//! a type here knows how to be built, checked, compared and written down, and nothing else.

pub mod account;
pub mod batch;
pub mod budget;
pub mod call;
pub mod event;
pub mod failure;
pub mod filter;
pub mod money;
pub mod name;
pub mod overrides;
pub mod price;
pub mod request;
pub mod route;
pub mod secret;
pub mod settings;
pub mod text;
pub mod usage;
pub(crate) mod words;
pub mod zone;
