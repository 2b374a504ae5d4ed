//! `llmops config init` where there is nobody to ask.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::assert_refused;
use crate::path::{KEY, Wired};
use crate::support::{Reply, Run, TestEnv, assert_run, refused_url};

fn init(env: &TestEnv, args: &[&str]) -> Run {
    env.llmops([&["config", "init"], args].concat())
}

fn written(env: &TestEnv) -> String {
    fs::read_to_string(env.root().join("config/llmops/config.yaml")).unwrap()
}

#[test]
fn a_first_file_is_written_and_has_no_mistakes() {
    let env = TestEnv::new();
    assert_run!(init(&env, &["--provider", "openai"]).run().expect_status(0));
    let text = written(&env);
    insta::assert_snapshot!(text.lines().take(12).collect::<Vec<_>>().join("\n"));
    let _ = env.llmops(["config", "check"]).run().expect_status(0);
    let output = env.llmops(["config", "show", "model", "--format", "json"]).run().expect_status(0);
    assert_eq!(output.json()[0]["value"], "openai/gpt-5.6-luna");
}

#[test]
fn a_file_that_is_there_is_kept() {
    let env = TestEnv::new();
    env.write_config("model: sim/mine\n");
    assert_run!(assert_refused(init(&env, &["--provider", "sim"])));
    assert_eq!(written(&env), "model: sim/mine\n");
    let _ = init(&env, &["--provider", "sim", "--force", "-q"]).run().expect_status(0);
    assert!(written(&env).contains("\nmodel: \"sim/echo\"\n"));
    // Nothing is left beside it.
    assert_eq!(env.files_below("config").len(), 1);
    let _ = init(&env, &["--provider", "sim", "--config", "new/place.yaml"]).run().expect_status(0);
    assert!(env.path("new/place.yaml").exists());
}

#[test]
fn what_nobody_says_has_to_be_said() {
    let env = TestEnv::new();
    assert_run!(assert_refused(init(&env, &[])));
    assert_run!(assert_refused(init(&env, &["--provider", "opneai"])));
    assert_run!(assert_refused(init(&env, &["--provider", "ollama"])));
    assert_run!(assert_refused(init(&env, &["--provider", "openai", "--key-cmd", "pass 'x"])));
    assert_refused(init(&env, &["--provider", "ollama", "--model", ""]));
    // It speaks a protocol that is not there yet.
    assert_refused(init(&env, &["--provider", "anthropic"]));
    assert!(env.files_below("config").is_empty());
}

#[test]
fn a_key_is_tried_before_the_file_is_written() {
    let wired = Wired::always(Reply::raw(200, "application/json", r#"{"data": []}"#));
    fs::remove_dir_all(wired.env.root().join("config")).unwrap();
    let output = wired.llmops(["config", "init", "--provider", "openai"]).run().expect_status(0);
    assert_run!(output);
    let request = wired.upstream.received().remove(0);
    assert_eq!((&*request.method, &*request.path), ("GET", "/v1/models"));
    assert_eq!(request.header("authorization"), Some(&*format!("Bearer {KEY}")));
    assert!(!written(&wired.env).contains(KEY));
    assert!(!wired.env.db_path().exists(), "trying a key is no call");
}

#[test]
fn a_command_for_the_key_is_run_and_written() {
    let wired = Wired::always(Reply::raw(200, "application/json", r#"{"data": []}"#));
    let args = [
        "config",
        "init",
        "--force",
        "--provider",
        "openai",
        "--model",
        "m",
        "--key-cmd",
        "printf 'sk-cmd 1'",
    ];
    let _ = wired.llmops(args).env_remove("OPENAI_API_KEY").run().expect_status(0);
    assert_eq!(wired.upstream.received()[0].header("authorization"), Some("Bearer sk-cmd 1"));
    let text = written(&wired.env);
    assert!(text.contains("  \"openai\":\n    api_key_cmd: \"printf 'sk-cmd 1'\"\n"), "{text}");
    let _ = wired.llmops(["config", "check"]).run().expect_status(0);
}

#[test]
fn a_key_that_does_not_work_is_told() {
    let wired = Wired::always(Reply::error(401, "invalid_api_key"));
    let init = |run: Run| run.run().expect_status(1);
    let args = ["config", "init", "--force", "--provider", "openai"];
    assert_run!(init(wired.llmops(args)));
    assert_run!(init(wired.llmops(args).env("OPENAI_BASE_URL", refused_url())));
    let silent = Wired::always(Reply::hang());
    assert_run!(init(silent.llmops(args).env("LLMOPS_TIMEOUTS__TOTAL", "300ms")));
    let failing = [&args[..], &["--key-cmd", "false"]].concat();
    let unused = Wired::unused();
    assert_run!(init(unused.llmops(&failing).env_remove("OPENAI_API_KEY")));
    assert!(!written(&unused.env).contains("api_key_cmd"), "nothing was written");
    let untried = [&failing[..], &["--no-test"]].concat();
    let _ = unused.llmops(untried).env_remove("OPENAI_API_KEY").run().expect_status(0);
    assert!(written(&unused.env).contains("api_key_cmd"));
}

#[test]
fn a_link_stays_a_link() {
    let env = TestEnv::new();
    let real = env.write("dotfiles/llmops.yaml", "model: sim/mine\n");
    let path = env.write_config("");
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&real, &path).unwrap();
    let _ = init(&env, &["--provider", "sim", "--force"]).run().expect_status(0);
    assert!(path.is_symlink() && env.read("dotfiles/llmops.yaml").contains("sim/echo"));
    fs::set_permissions(&real, fs::Permissions::from_mode(0o600)).unwrap();
    let _ = init(&env, &["--provider", "sim", "--force"]).run().expect_status(0);
    assert_eq!(real.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    // One that leads nowhere yet is a file that somebody means to have there.
    fs::remove_file(&real).unwrap();
    assert_refused(init(&env, &["--provider", "sim"]));
    let _ = init(&env, &["--provider", "sim", "--force"]).run().expect_status(0);
    assert!(path.is_symlink() && real.exists());
}
