//! `routes:` in config files: what may be written, and what is told of mistakes.

use super::example;
use crate::support::{TestEnv, assert_run};

/// What is said of a file with one route, whose settings these are.
#[track_caller]
fn refused(settings: &str) -> String {
    let env = TestEnv::new();
    env.write("c.yaml", format!("routes:\n  r:\n    {}\n", settings.replace('\n', "\n    ")));
    let output =
        env.llmops(["--config", "c.yaml", "chat", "-n", "-m", "sim/echo", "hi"]).run().expect_status(2);
    assert_eq!(output.stdout, "", "{output}");
    output.stderr.strip_prefix("error: c.yaml:").unwrap_or_else(|| panic!("{output}")).to_owned()
}

#[test]
fn mistakes_are_told_with_their_place() {
    let rule = |when: &str| format!("rules:\n  - when: {when}\n    model: sim/echo");
    let mut said = Vec::new();
    for settings in [
        rule("{}"),
        rule(""),
        rule("{chars: {}}"),
        rule("{chars: {min: 5, max: 4}}"),
        rule("{chars: {least: 4}}"),
        rule("{tokens: {min: -1}}"),
        rule("{keywords: []}"),
        rule("{keywords: [code, ' ']}"),
        rule("{keywords: '*'}"),
        rule("{keywords: {a: b}}"),
        rule("{regex: '(a'}"),
        rule("{regex: ''}"),
        rule("{regex: '\\w{9999}'}"),
        rule("{keyword: [code]}"),
        rule("{attachments: some}"),
        rule("{tags: {team: []}}"),
        rule("{tags: [team]}"),
        "rules:\n  - when: {user: ada}".to_owned(),
        "rules:\n  - model: sim/echo".to_owned(),
        "rules:\n  - {when: {user: ada}, model: ''}".to_owned(),
        "rules: {}".to_owned(),
        "targets: sim/echo".to_owned(),
        "targets: [{weight: 1}]".to_owned(),
        "targets: [{model: a, weight: -1}]".to_owned(),
        "targets: [{model: a, weight: 0}, {model: b, weight: 0}]".to_owned(),
        "targets: [[a]]".to_owned(),
        "targets: ['']".to_owned(),
        "fallback: {a: b}".to_owned(),
        "balance: random".to_owned(),
        "balance: least-busy".to_owned(),
        "deadline: 0s".to_owned(),
        "deadline: soon".to_owned(),
        "degrade: 5".to_owned(),
        "target: [a]".to_owned(),
    ] {
        said.push(format!("{settings}\n=> {}", refused(&settings)));
    }
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn short_forms_are_the_long_ones() {
    let env = TestEnv::new();
    let route = |targets: &str, rest: &str| {
        env.write(
            "c.yaml",
            format!(
                "sim: {{models: {{a: {{}}, b: {{}}}}}}\nroutes: {{default: {{targets: {targets}{rest}}}}}\n"
            ),
        );
        env.llmops(["--config", "c.yaml", "config", "route", "-n", "--format", "json", "hi"])
            .run()
            .expect_status(0)
            .json()
    };
    let long = route("[{model: sim/a}, {model: sim/b}]", ", fallback: [sim/echo], balance: order");
    assert_eq!(route("[sim/a, sim/b]", ", fallback: sim/echo"), long);
    assert_eq!((&long["model"], &long["balance"]), (&"sim/a".into(), &"order".into()));
    assert_eq!(route("[{model: sim/a, weight: 0}, sim/b]", "")["balance"], "weight");
    assert_eq!(route("[{model: sim/a, weight: 2}, sim/b]", ", balance: fastest")["balance"], "fastest");
}

#[test]
fn a_projects_file_may_have_routes_and_replaces_lists_of_the_users() {
    let env = TestEnv::new();
    env.write_config("routes: {default: {targets: [sim/echo], fallback: [sim/echo]}}\n");
    env.write("llmops.yaml", "sim: {models: {own: {}}}\nroutes: {default: {targets: [sim/own]}}\n");
    let said = env.llmops(["config", "route", "-n", "--format", "json", "hi"]).run().expect_status(0).json();
    assert_eq!((&said["model"], &said["fallback"][0]), (&"sim/own".into(), &"sim/echo".into()));
    let _ = env.llmops(["config", "check"]).run().expect_status(0);
}

#[test]
fn models_that_nobody_has_are_found_by_the_check() {
    let env = TestEnv::new();
    env.write(
        "c.yaml",
        "routes:\n  r:\n    rules:\n      - when: {user: ada}\n        model: sim/ehco\n    \
         targets: [{model: gpt-5.6-lunar}, sim/echo]\n    fallback: nobody-has-this\n",
    );
    assert_run!(env.llmops(["--config", "c.yaml", "config", "check"]).run());
}

#[test]
fn what_is_set_can_be_shown_and_the_schema_knows_it() {
    let env = TestEnv::new();
    env.write("c.yaml", example());
    assert_run!(env.llmops(["--config", "c.yaml", "config", "show", "routes"]).run());
    let schema = env.llmops(["config", "schema"]).run().expect_status(0).stdout;
    for word in ["least_busy", "keywords", "attachments", "degrade", "fallback"] {
        assert!(schema.contains(&format!("\"{word}\"")), "{word}");
    }
}
