//! Templates: what they make of the question and their variables, and what is said
//! of one that cannot be used.

use serde_json::json;

use super::{assert_refused, echo};
use crate::path::Wired;
use crate::support::{Reply, TestEnv, assert_run};

#[test]
fn a_template_is_asked_with_its_variables() {
    let env = TestEnv::new();
    env.write("greet.j2", "Say hello to {{ who }}\nin {{ lang|upper }}.\n");
    for command in ["chat", "stream"] {
        let args = [command, "-t", "greet.j2", "--var", "who=Ada", "--var", "lang=en", "--var", "lang=de"];
        assert_eq!(echo(&env, &args).run().expect_status(0).stdout, "Say hello to Ada\nin DE.\n");
    }
}

#[test]
fn a_template_replaces_the_prompt_or_comes_behind_it() {
    let env = TestEnv::new();
    env.write("after.j2", "\u{feff}Sum it up in {{ lang }}.\r\n");
    env.write("around.j2", "<text>{{ prompt }}</text> {{ system }}");
    let ask = |args: &[&str], piped: &str| {
        let run = echo(&env, &[&["chat", "--var", "lang=de"], args].concat());
        run.stdin(piped).run().expect_status(0).stdout
    };
    assert_eq!(ask(&["-t", "after.j2"], "notes\n"), "notes\n\nSum it up in de.\n");
    assert_eq!(ask(&["-t", "after.j2", "now"], "notes\n"), "notes\n\nnow\n\nSum it up in de.\n");
    assert_eq!(ask(&["-t", "after.j2"], ""), "Sum it up in de.\n");
    assert_eq!(ask(&["-q", "-t", "around.j2", "-s", "Be brief.", "hi"], ""), "<text>hi</text> Be brief.\n");
}

#[test]
fn the_rendered_request_is_on_record() {
    let wired = Wired::always(Reply::answer("ok"));
    wired.env.write("t/greet.j2", "Hello {{ who }}");
    let _ = wired.llmops(["chat", "-t", "t/greet.j2", "--var", "who=Ada"]).run().expect_status(0);
    assert_eq!(wired.call()["request"]["messages"], json!([{"role": "user", "content": "Hello Ada"}]));
}

#[test]
fn a_variable_that_is_not_there_is_named() {
    let wired = Wired::unused();
    wired.env.write("t.j2", "Translate\ninto {{ lang }}: {{ prompt }}\n");
    assert_run!(assert_refused(wired.llmops(["chat", "-t", "t.j2", "hi"])));
    let output = assert_refused(wired.llmops(["chat", "-t", "t.j2", "--var", "lang=de"]));
    assert!(output.stderr.contains("`prompt` is not defined"), "{output}");
    let output = assert_refused(wired.llmops(["stream", "--dry-run", "-t", "t.j2", "hi"]));
    assert!(output.stderr.contains("--var lang="), "{output}");
    assert!(!wired.env.db_path().exists() || wired.calls().is_empty());
}

#[test]
fn a_template_that_is_none_is_refused() {
    let wired = Wired::unused();
    wired.env.write("syntax.j2", "one\n{% if %}\n");
    wired.env.write("empty.j2", "");
    wired.env.write("latin.j2", b"caf\xe9".as_slice());
    wired.env.write("large.j2", "x".repeat((1 << 20) + 1));
    wired.env.write("folder.j2/x", "x");
    wired.env.write(
        "endless.j2",
        "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}",
    );
    wired.env.write("deep.j2", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}");
    wired.env.write("long.j2", "{% for i in range(9) %}{{ 'x' * 9000000 }}{% endfor %}");
    wired.env.write("include.j2", "{% include '/etc/passwd' %}");
    wired.env.write("nothing.j2", "{# nothing #}\n");
    for (name, said) in [
        ("syntax.j2", "template `syntax.j2`, line 2: "),
        ("empty.j2", "empty.j2 is empty"),
        ("latin.j2", "latin.j2 is not valid UTF-8 at byte 4"),
        ("large.j2", "large.j2 is larger than 1 MiB"),
        ("folder.j2", "folder.j2 is a folder"),
        ("/dev/zero", "/dev/zero is a device"),
        ("endless.j2", "steps"),
        ("deep.j2", "recursion limit"),
        ("long.j2", "more than 16 MiB"),
        ("include.j2", "/etc/passwd"),
        ("nothing.j2", "it comes to no text"),
        ("nosuch", "no template `nosuch`: neither a file nor one of `templates`"),
        ("./nosuch", "cannot read ./nosuch: "),
    ] {
        let output = assert_refused(wired.llmops(["chat", "-t", name]));
        assert!(output.stderr.contains(said), "{name}: {output}");
        assert!(!output.stderr.contains("root:"), "{output}");
    }
}

#[test]
fn variables_need_a_template_that_uses_them() {
    let wired = Wired::always(Reply::answer("ok"));
    wired.env.write("t.j2", "Hello");
    let output = wired.llmops(["chat", "-t", "t.j2", "--var", "who=Ada"]).run().expect_status(0);
    assert_eq!(output.stderr, "note: template `t.j2` does not use --var who\n");
    for args in [
        &["chat", "hi", "--var", "a=b"][..],
        &["chat", "-t", "t.j2", "--var", "a"],
        &["chat", "-t", "t.j2", "--var", "prompt=x"],
    ] {
        let output = assert_refused(wired.llmops(args));
        assert!(output.stderr.contains("--var") || output.stderr.contains("--template"), "{output}");
    }
}
