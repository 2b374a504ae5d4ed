//! The checker, checked: each kind of breach in a source of its own, and sound
//! sources that must pass.

use super::rules::{check, crates};
use super::scan::Source;

const MANIFEST: &str = "\
[dependencies]
chrono = \"0.4\"
tokio-util = { version = \"0.7\" }
serde.workspace = true
tokio = \"1\"
regex = \"1\"
[dev-dependencies]
insta = \"1\"
[profile.dev]
debug = true
";

fn breaches(files: &[(&str, &str)]) -> Vec<String> {
    let sources: Vec<Source> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
    check(&sources, &crates(MANIFEST))
}

#[track_caller]
fn assert_breaches(files: &[(&str, &str)], expected: &[&str]) {
    assert_eq!(breaches(files), expected);
}

#[track_caller]
fn assert_sound(files: &[(&str, &str)]) {
    assert_breaches(files, &[]);
}

#[test]
fn imports_from_below_and_from_within_are_sound() {
    assert_sound(&[
        ("src/lib.rs", "//! Docs.\n#![forbid(unsafe_code)]\npub mod store;\n/// Docs.\npub mod domain;"),
        ("src/main.rs", "use std::process::ExitCode;\nfn main() -> ExitCode { llmops::cli::main() }"),
        ("src/domain/mod.rs", "mod call;\npub use call::Call;\nuse std::{fmt, time::Duration};"),
        (
            "src/domain/call.rs",
            "use super::price;\npub(in crate::domain) enum Call { A }\nfn f() -> Call { Call::A }",
        ),
        ("src/store/mod.rs", "mod rows;\nuse crate::domain::{Call as C, call};\nuse rusqlite as sql;"),
        ("src/store/rows.rs", "use super::C;\nfn f() { self::g(); rusqlite::open(); std::fs::read(1); }"),
        ("src/ops/run.rs", "fn f() -> crate::domain::Call { crate::store::open::<crate::policy::P>() }"),
        ("src/cli/mod.rs", "fn f(console: u8) { println!(\"{}\", console::style(crate::ops::run::f())) }"),
    ]);
}

#[test]
fn a_path_in_an_expression_a_type_or_a_pattern_is_seen() {
    let text = "\
fn f() {
    let _ = crate::store::X;
}
fn g(x: Vec<Option<crate::store::X>>) {}
fn h(x: u8) { if let crate::store::X = x {} }
fn i<T>() -> <T as crate::store::X>::X {}
fn j(x: &dyn Fn() -> crate::store::X) { x.map(crate::store::X) }
";
    let up = "`domain` on floor 0 imports `crate::store::X";
    let expected = [
        format!("src/domain/a.rs:2: {up}` from floor 2"),
        format!("src/domain/a.rs:4: {up}` from floor 2"),
        format!("src/domain/a.rs:5: {up}` from floor 2"),
        format!("src/domain/a.rs:6: {up}::X` from floor 2"),
        format!("src/domain/a.rs:7: {up}` from floor 2"),
    ];
    assert_eq!(breaches(&[("src/domain/a.rs", text)]), expected);
}

#[test]
fn a_path_among_the_tokens_of_a_macro_is_seen() {
    let text = "\
fn f() {
    assert_eq!(1, { let x = [crate::cli::X]; x });
}
macro_rules! m { () => { $crate::ops::{run::X, Y} } }
#[serde(with = \"crate::render::stamp\")]
#[derive(Debug, clap::Parser)]
struct S;
";
    assert_breaches(
        &[("src/policy/a.rs", text)],
        &[
            "src/policy/a.rs:2: `policy` on floor 1 imports `crate::cli::X` from floor 6",
            "src/policy/a.rs:4: `policy` on floor 1 imports `crate::ops::Y` from floor 4",
            "src/policy/a.rs:4: `policy` on floor 1 imports `crate::ops::run::X` from floor 4",
            "src/policy/a.rs:5: `policy` on floor 1 imports `crate::render::stamp` from floor 5",
            "src/policy/a.rs:6: `clap::Parser` outside of cli",
        ],
    );
}

#[test]
fn super_is_counted_from_the_module_it_stands_in() {
    let text = "\
use super::super::cli::a;
mod inner {
    use super::super::super::cli::b;
    use super::super::fine;
    fn f() { super::super::super::pipeline::c() }
}
";
    assert_breaches(
        &[("src/store/rows.rs", text)],
        &[
            "src/store/rows.rs:1: `store` on floor 2 imports `crate::cli::a` from floor 6",
            "src/store/rows.rs:3: `store` on floor 2 imports `crate::cli::b` from floor 6",
            "src/store/rows.rs:5: `store` on floor 2 imports `crate::pipeline::c` from floor 3",
        ],
    );
}

#[test]
fn every_leaf_of_a_grouped_import_is_seen() {
    let text = "use crate::{\n    domain::A,\n    ops::{self, run::B as C},\n};\nuse {crate::cli};";
    assert_breaches(
        &[("src/pipeline/mod.rs", text)],
        &[
            "src/pipeline/mod.rs:3: `pipeline` on floor 3 imports `crate::ops::run::B` from floor 4",
            "src/pipeline/mod.rs:3: `pipeline` on floor 3 imports `crate::ops` from floor 4",
            "src/pipeline/mod.rs:5: `pipeline` on floor 3 imports `crate::cli` from floor 6",
        ],
    );
}

#[test]
fn siblings_above_the_ground_do_not_import_each_other() {
    assert_breaches(
        &[
            ("src/cache/mod.rs", "use crate::store::Db;"),
            ("src/render/mod.rs", "fn f() { crate::serve::g() }"),
        ],
        &[
            "src/cache/mod.rs:1: `cache` imports its sibling `crate::store::Db` on floor 2",
            "src/render/mod.rs:1: `render` imports its sibling `crate::serve::g` on floor 5",
        ],
    );
}

#[test]
fn the_crate_root_under_another_name_hides_nothing() {
    assert_breaches(
        &[("src/domain/a.rs", "use crate as root;\nfn f() { root::cli::x() }")],
        &[
            "src/domain/a.rs:1: the crate root itself, under which every floor lies",
            "src/domain/a.rs:2: `domain` on floor 0 imports `crate::cli::x` from floor 6",
        ],
    );
}

#[test]
fn a_circle_of_siblings_is_found_through_re_exports() {
    let parent = ("src/domain/mod.rs", "mod a;\nmod b;\nmod c;\npub use a::A;\npub struct Own;");
    let a = ("src/domain/a.rs", "use super::Own;\nuse super::b::B;\npub struct A;");
    let b = ("src/domain/b.rs", "pub struct B(super::c::C);");
    let c = ("src/domain/c.rs", "use crate::domain::A;");
    assert_breaches(
        &[parent, a, b, c],
        &["src/domain/a.rs:2: modules in a circle: domain::a -> domain::b -> domain::c -> domain::a"],
    );
    // Without the way back it is none, and a test may go it all the same.
    assert_sound(&[parent, a, b, ("src/domain/c.rs", "pub struct C;")]);
    let test = "#[cfg(test)]\nmod tests { use super::super::A; }";
    assert_sound(&[parent, a, b, ("src/domain/c.rs", test)]);
}

#[test]
fn a_directory_is_one_module_to_its_siblings() {
    assert_breaches(
        &[
            ("src/ops/mod.rs", "mod batch;\nmod stats;"),
            ("src/ops/batch/mod.rs", "mod rows;\nfn f() { rows::g() }"),
            ("src/ops/batch/rows.rs", "use super::f;\nuse crate::ops::stats::h;"),
            ("src/ops/stats.rs", "use super::batch::f;"),
        ],
        &["src/ops/batch/rows.rs:2: modules in a circle: ops::batch -> ops::stats -> ops::batch"],
    );
}

#[test]
fn crates_stay_at_home() {
    assert_breaches(
        &[
            ("src/ops/a.rs", "use rusqlite::Connection;\nfn f() { ::zstd::encode() }"),
            ("src/serve/mod.rs", "use crate::store::Connection;\nuse reqwest;\nextern crate axum;"),
            ("src/store/mod.rs", "pub use rusqlite::Connection;"),
            ("src/lib.rs", "pub mod store;"),
            ("src/domain/mod.rs", "use regex::Regex;\nuse tokio_util::x;\nuse serde::Serialize;"),
        ],
        &[
            "src/domain/mod.rs:1: `regex::Regex` in domain, which makes do with std, serde, serde_json, chrono, jiff, uuid, thiserror",
            "src/domain/mod.rs:2: `tokio_util::x` in domain, which makes do with std, serde, serde_json, chrono, jiff, uuid, thiserror",
            "src/ops/a.rs:1: `rusqlite::Connection` outside of store",
            "src/ops/a.rs:2: `zstd::encode` outside of store",
            "src/serve/mod.rs:1: `rusqlite::Connection` outside of store",
            "src/serve/mod.rs:2: `reqwest` outside of provider",
        ],
    );
}

#[test]
fn the_lowest_floors_only_compute() {
    let text = "\
use std::{fs, io, time};
fn f() {
    time::Instant::now();
    let x: time::Duration = std::env::var();
    tokio::select! { x = y => fastrand::u8() }
}
#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use crate::cache::X;
}
";
    assert_breaches(
        &[("src/policy/a.rs", text)],
        &[
            "src/policy/a.rs:1: `std::fs` in policy, which only computes",
            "src/policy/a.rs:3: `std::time::Instant::now` in policy, which only computes",
            "src/policy/a.rs:4: `std::env::var` in policy, which only computes",
            "src/policy/a.rs:5: `tokio::select` in policy, which only computes",
            "src/policy/a.rs:11: `policy` on floor 1 imports `crate::cache::X` from floor 2",
        ],
    );
}

#[test]
fn what_hides_things_is_a_breach() {
    let text = "\
use crate::domain::*;
use super::*;
fn f() { vec![eprintln!()]; std::println!(); include!(\"x\"); }
#[path = \"y.rs\"]
mod y;
";
    let test_file = "use super::*;\nuse rusqlite::X;\nfn f() { print!() }";
    assert_breaches(
        &[
            ("src/ops/a.rs", text),
            ("src/ops/b.rs", "#[cfg(test)]\nmod tests;"),
            ("src/ops/b/tests.rs", test_file),
        ],
        &[
            "src/ops/a.rs:1: the glob import `crate::domain::*` (only `super::*` in a test module)",
            "src/ops/a.rs:2: the glob import `super::*` (only `super::*` in a test module)",
            "src/ops/a.rs:3: `eprintln!` outside cli",
            "src/ops/a.rs:3: `include!` hides source",
            "src/ops/a.rs:3: `println!` outside cli",
            "src/ops/a.rs:4: `#[path]` hides where a module lies",
            "src/ops/b/tests.rs:3: `print!` outside cli",
        ],
    );
}

#[test]
fn the_two_roots_stay_small() {
    let main = format!("use llmops::ops::x;\nfn main() {{ tokio::f() }}\n{}", "\n".repeat(24));
    assert_breaches(
        &[
            ("src/lib.rs", "mod a;\nmod b {}\nuse std::io;"),
            ("src/main.rs", &main),
            ("src/extra/a.rs", ""),
            ("src/cli/mod.rs", "fn"),
        ],
        &[
            "src/cli/mod.rs:1: does not parse: unexpected end of input, expected identifier",
            "src/extra/a.rs:1: the module `extra` has no floor",
            "src/lib.rs:2: lib.rs has only module declarations and docs",
            "src/lib.rs:3: lib.rs has only module declarations and docs",
            "src/main.rs:1: main.rs uses `llmops::ops::x`, not only `llmops::cli`",
            "src/main.rs:2: main.rs uses `tokio::f`, not only `llmops::cli`",
            "src/main.rs:26: main.rs has 26 lines, more than 25",
        ],
    );
}
