//! `llmops chat` and `llmops stream` as a user meets them: what is printed and
//! where, what counts as the question, what is said when something is wrong,
//! and the simulator that stands in for a provider.

use serde_json::{Value, json};

use crate::path::{KEY, SOON, Wired};
use crate::support::{Gate, Output, Reply, Run, TestEnv, Upstream, assert_run, refused_url};

/// The fields of an answer, in their order.
const FIELDS: [&str; 14] = [
    "call_id",
    "model",
    "provider",
    "text",
    "tool_calls",
    "finish_reason",
    "usage",
    "cost_usd",
    "cost_status",
    "latency_ms",
    "first_token_ms",
    "cache",
    "attempts",
    "fallback_from",
];

/// The fields of its usage.
const USAGE: [&str; 5] =
    ["input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"];

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// `llmops COMMAND -m sim/echo ARGS` in an empty home.
fn echo(env: &TestEnv, args: &[&str]) -> Run {
    env.llmops([&args[..1], &["-m", "sim/echo"], &args[1..]].concat())
}

/// An answer that asks for two tools.
fn tools() -> Reply {
    let call = |id: &str, city: &str| {
        let arguments = json!({ "city": city }).to_string();
        json!({"id": id, "type": "function", "function": {"name": "get_weather", "arguments": arguments}})
    };
    let message = json!({"role": "assistant", "content": null, "tool_calls": [call("c1", "Oslo"), call("c2", "Zürich")]});
    Reply::json(&json!({
        "object": "chat.completion",
        "model": "gpt-5.4-nano",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29},
    }))
}

/// One line of error, with whatever hint; nothing on stdout; exit status 2.
#[track_caller]
fn assert_refused(run: Run) -> Output {
    let output = run.run().expect_status(2);
    assert_eq!(output.stdout, "", "of\n{output}");
    let errors = output.stderr.lines().filter(|line| line.starts_with("error: ")).count();
    assert_eq!(errors, 1, "of\n{output}");
    output
}

#[test]
fn the_answer_is_all_that_is_printed() {
    let wired = Wired::always(Reply::answer("Because of Rayleigh scattering."));
    let output = wired.llmops(["chat", "Why is the sky blue?"]).run().expect_status(0);
    assert_eq!(output.stdout, "Because of Rayleigh scattering.\n");
    assert_eq!(output.stderr, "");
    let streamed = wired.llmops(["stream", "Why is the sky blue?"]).run().expect_status(0);
    assert_eq!((streamed.stdout, streamed.stderr), (output.stdout, output.stderr));
}

#[test]
fn an_answer_as_json_has_these_fields() {
    let wired = Wired::always(Reply::answer("yes").usage(1000, 40).cached(800));
    let answer = wired.llmops(["chat", "--format", "json", "ok?"]).run().expect_status(0).json();
    assert_eq!(keys(&answer), FIELDS);
    assert_eq!(keys(&answer["usage"]), USAGE);
    let id = answer["call_id"].as_str().unwrap();
    assert_eq!(id.len(), 36, "{id}");
    assert!(answer["latency_ms"].as_u64() >= answer["first_token_ms"].as_u64(), "{answer}");
    let mut rest = answer.clone();
    for varying in ["call_id", "latency_ms", "first_token_ms"] {
        rest.as_object_mut().unwrap().remove(varying);
    }
    assert_eq!(
        rest,
        json!({
            "model": "gpt-5.4-nano", "provider": "openai", "text": "yes", "tool_calls": [], "finish_reason": "stop",
            "usage": {"input_tokens": 1000, "cached_input_tokens": 800, "cache_write_tokens": 0, "output_tokens": 40,
                "reasoning_tokens": 0},
            "cost_usd": 0.000_106, "cost_status": "exact", "cache": "none", "attempts": 1, "fallback_from": null,
        })
    );
}

#[test]
fn the_simulator_says_that_it_is_one() {
    let env = TestEnv::new();
    let answer = echo(&env, &["chat", "hi there", "--format", "json"]).run().expect_status(0).json();
    assert_eq!(keys(&answer), FIELDS);
    assert_eq!(
        (&answer["provider"], &answer["model"], &answer["text"]),
        (&json!("sim"), &json!("echo"), &json!("hi there"))
    );
    assert_eq!((&answer["cost_usd"], &answer["cost_status"]), (&json!(0.0), &json!("exact")));
    assert_eq!((&answer["usage"]["input_tokens"], &answer["usage"]["output_tokens"]), (&json!(9), &json!(2)));
}

#[test]
fn a_stream_is_printed_as_it_comes() {
    let gate = Gate::new();
    let held = gate.clone();
    // Two events: the role, and the first five letters.
    let wired = Wired::to(move |_| Reply::answer("one\ntwo\nthree").gate_after_events(2, &held));
    let mut running = wired.llmops(["stream", "count"]).spawn();
    assert_eq!(running.next_line().as_deref(), Some("one"));
    assert!(gate.wait_until_reached(SOON));
    gate.release();
    let output = running.wait().expect_status(0);
    assert_eq!(output.stdout, "one\ntwo\nthree\n");
}

#[test]
fn a_stream_as_json_is_an_event_a_line() {
    let wired = Wired::always(Reply::answer("Grüezi mitenand").usage(12, 6));
    let output = wired.llmops(["stream", "--format", "jsonl", "hello"]).run().expect_status(0);
    let events = output.jsonl();
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["delta", "delta", "delta", "usage", "done"]);
    let text: String = events.iter().filter_map(|event| event["text"].as_str()).take(3).collect();
    assert_eq!(text, "Grüezi mitenand");
    assert_eq!(keys(&events[3]), [&["type"], &USAGE[..]].concat());
    assert_eq!((&events[3]["input_tokens"], &events[3]["output_tokens"]), (&json!(12), &json!(6)));
    assert_eq!(keys(&events[4]), [&["type"], &FIELDS[..]].concat());
    assert_eq!(
        (&events[4]["text"], &events[4]["cost_usd"]),
        (&json!("Grüezi mitenand"), &json!(0.000_009_9))
    );
}

#[test]
fn a_stream_as_json_that_fails_ends_with_an_error() {
    let wired = Wired::always(Reply::error(400, "bad"));
    let output = wired.llmops(["stream", "--format", "jsonl", "hello"]).run().expect_status(1);
    let events = output.jsonl();
    assert_eq!(events.len(), 1, "{output}");
    assert_eq!((&events[0]["type"], &events[0]["error"]["kind"]), (&json!("error"), &json!("bad_request")));
    assert_eq!(
        (&events[0]["error"]["status"], &events[0]["error"]["retryable"]),
        (&json!(400), &json!(false))
    );
}

#[test]
fn tool_calls_are_printed_as_json() {
    let wired = Wired::always(tools());
    for command in ["chat", "stream"] {
        let calls = wired.llmops([command, "weather?"]).run().expect_status(0).jsonl();
        assert_eq!(calls.len(), 2);
        assert_eq!(calls[1]["function"]["arguments"], r#"{"city":"Zürich"}"#);
    }
    let answer = wired.llmops(["chat", "weather?", "--format", "json"]).run().expect_status(0).json();
    assert_eq!((&answer["text"], &answer["finish_reason"]), (&Value::Null, &json!("tool_calls")));
    assert_eq!(answer["tool_calls"][0]["id"], "c1");
}

#[test]
fn tool_calls_of_a_stream_are_put_together() {
    let stream = include_bytes!("../../fixtures/openai/stream/tool_calls.sse");
    let wired = Wired::always(Reply::sse(vec![stream.to_vec()]));
    let calls = wired.llmops(["stream", "where is it?"]).run().expect_status(0).jsonl();
    let named = |call: &Value| (call["function"]["name"].clone(), call["function"]["arguments"].clone());
    let expected = [
        (json!("find_order"), json!(r#"{"order_id": "A-10042"}"#)),
        (json!("get_weather"), json!(r#"{"city": "Zürich", "unit": "c"}"#)),
    ];
    assert_eq!(calls.iter().map(named).collect::<Vec<_>>(), expected);
}

#[test]
fn a_refusal_is_an_answer() {
    let stream = include_bytes!("../../fixtures/openai/stream/refusal.sse");
    let wired = Wired::always(Reply::sse(vec![stream.to_vec()]));
    let output = wired.llmops(["stream", "how?"]).run().expect_status(0);
    assert_eq!(output.stdout, "I'm sorry, I can't help with that.\n");
}

#[test]
fn what_is_piped_comes_before_the_question() {
    let env = TestEnv::new();
    let output =
        echo(&env, &["chat", "Summarise it."]).stdin("line one\nline two\n\n").run().expect_status(0);
    assert_eq!(output.stdout, "line one\nline two\n\nSummarise it.\n");
}

#[test]
fn what_is_piped_alone_is_the_question() {
    let env = TestEnv::new();
    for command in ["chat", "stream"] {
        let output = echo(&env, &[command]).stdin("为什么天空是蓝色的？\n").run().expect_status(0);
        assert_eq!(output.stdout, "为什么天空是蓝色的？\n");
    }
    let output = echo(&env, &["chat", "only this"]).stdin(" \n\t\n").run().expect_status(0);
    assert_eq!(output.stdout, "only this\n");
}

#[test]
fn standard_input_is_left_alone_with_n() {
    let env = TestEnv::new();
    let output = echo(&env, &["chat", "-n", "question"]).stdin("not read").run().expect_status(0);
    assert_eq!(output.stdout, "question\n");
    // Answered while standard input is still open, so nobody waited for its end.
    let mut running = echo(&env, &["stream", "--no-stdin", "question"]).open_stdin().spawn();
    assert_eq!(running.next_line().as_deref(), Some("question"));
    assert_eq!(running.wait().status, 0);
}

#[test]
fn whoever_waits_for_standard_input_is_told() {
    let env = TestEnv::new();
    let mut running = echo(&env, &["chat", "question"]).open_stdin().spawn();
    assert_eq!(running.wait_for_stderr("standard input"), "reading standard input (-n leaves it alone)");
    running.close_stdin();
    assert_eq!(running.wait().expect_status(0).stdout, "question\n");
}

#[test]
fn without_a_question_nothing_is_asked() {
    let wired = Wired::unused();
    assert_run!(assert_refused(wired.llmops(["chat"])));
    for run in [
        wired.llmops(["stream"]),
        wired.llmops(["chat", ""]),
        wired.llmops(["chat", "  \n"]),
        wired.llmops(["chat"]).stdin(" \n"),
        wired.llmops(["chat", "-n"]).stdin("not read"),
    ] {
        assert_refused(run);
    }
}

#[test]
fn standard_input_that_is_no_text_is_refused() {
    let wired = Wired::unused();
    assert_run!(assert_refused(wired.llmops(["chat", "what is this?"]).stdin(b"PNG\x89\xff\x00".to_vec())));
}

#[test]
fn v_tells_how_a_call_went() {
    let wired = Wired::at_first(Reply::error(500, "oops"));
    let output = wired.llmops(["chat", "-v", "hi"]).run().expect_status(0);
    assert_eq!(output.stdout, "hello\n");
    let details: Vec<&str> = output.stderr.lines().collect();
    assert_eq!(details.len(), 2, "{output}");
    assert!(details[0].contains("answered 500") && details[0].contains("trying again in"), "{output}");
    assert_run!(echo(&TestEnv::new(), &["stream", "-v", "hi"]).run());
}

#[test]
fn q_leaves_only_errors() {
    let wired = Wired::at_first(Reply::error(429, "slow_down").header("retry-after-ms", "1"));
    let output = wired.llmops(["chat", "-q", "hi"]).run().expect_status(0);
    assert_eq!(output.stderr, "");
    let failing = Wired::always(Reply::error(400, "bad"));
    let output = failing.llmops(["chat", "-q", "hi"]).run().expect_status(1);
    assert!(output.stderr.starts_with("error: "), "{output}");
    assert_refused(failing.llmops(["chat", "-q", "-v", "hi"]));
}

#[test]
fn colours_are_for_terminals_and_on_demand() {
    let env = TestEnv::new();
    let coloured = |run: Run| run.run().stderr.contains('\x1b');
    assert!(!coloured(env.llmops(["chat"])));
    assert!(!coloured(env.llmops(["chat", "--color", "auto"])));
    assert!(coloured(env.llmops(["chat", "--color", "always"])));
    assert!(!coloured(env.llmops(["chat", "--color", "never"])));
    assert!(!coloured(env.llmops(["chat"]).env("NO_COLOR", "1")));
    let listed = |when: &str| env.llmops(["calls", "--color", when]).run().expect_status(0).stdout;
    let _ = echo(&env, &["chat", "hi"]).run().expect_status(0);
    assert!(listed("always").contains('\x1b'));
    assert!(!listed("never").contains('\x1b') && !listed("auto").contains('\x1b'));
}

#[test]
fn what_a_server_says_cannot_reach_the_terminal() {
    let message = "no\u{1b}[2J\u{1b}]0;owned\u{7} such\nmodel\u{202e}";
    let body = json!({"error": {"message": message, "type": "invalid_request_error"}});
    let wired = Wired::always(Reply::raw(404, "application/json", body.to_string()));
    let output = wired.llmops(["chat", "hi"]).run().expect_status(1);
    let control = |c: char| c.is_control() && c != '\n';
    assert!(!output.stderr.contains(control), "{:?}", output.stderr);
    assert_eq!(output.stderr.lines().filter(|line| !line.starts_with("hint: ")).count(), 1, "{output}");
}

#[test]
fn without_any_key_a_hint_tells_what_to_do() {
    let env = TestEnv::new();
    assert_run!(assert_refused(env.llmops(["chat", "hi"])));
    assert!(!env.db_path().exists() || env.llmops(["calls", "--format", "json"]).run().json() == json!([]));
}

#[test]
fn a_model_whose_key_is_missing_names_the_variable() {
    assert_run!(assert_refused(TestEnv::new().llmops(["chat", "-m", "gpt-5.4-nano", "hi"])));
    assert_run!(assert_refused(TestEnv::new().llmops(["stream", "-m", "groq/llama-3.1-8b-instant", "hi"])));
}

#[test]
fn an_unknown_model_gets_the_nearest_names() {
    let wired = Wired::unused();
    assert_run!(assert_refused(wired.llmops(["chat", "-m", "gpt-5-mni", "hi"])));
    assert_run!(assert_refused(wired.llmops(["chat", "-m", "sim/ehco", "hi"])));
    assert_run!(assert_refused(wired.llmops(["chat", "-m", "entirely-unheard-of", "hi"])));
    assert_refused(wired.llmops(["chat", "-m", "nobody/gpt-5.4-nano", "hi"]));
    assert_refused(wired.llmops(["chat", "-m", "", "hi"]));
    assert_refused(wired.llmops(["chat", "-m", "openai/", "hi"]));
}

#[test]
fn a_model_of_several_providers_is_asked_back() {
    let wired = Wired::unused().config("sim: {models: {gpt-5.4-nano: {answer: simulated}}}");
    assert_run!(assert_refused(wired.llmops(["chat", "-m", "gpt-5.4-nano", "hi"])));
    let output = wired.llmops(["chat", "-m", "sim/gpt-5.4-nano", "hi"]).run().expect_status(0);
    assert_eq!(output.stdout, "simulated\n");
}

#[test]
fn the_part_before_a_slash_is_a_provider_unless_another_lists_the_whole() {
    let wired = Wired::always(Reply::answer("ok"));
    let asked = |model: &str| {
        let run = wired.llmops(["chat", "-m", model, "hi", "--format", "json"]);
        let answer = run.env("GROQ_API_KEY", "k").env("GROQ_BASE_URL", wired.upstream.base_url()).run();
        let answer = answer.expect_status(0).json();
        (answer["provider"].as_str().unwrap().to_owned(), answer["model"].as_str().unwrap().to_owned())
    };
    let at = |provider: &str, model: &str| (provider.to_owned(), model.to_owned());
    assert_eq!(asked("openai/gpt-5.4-nano"), at("openai", "gpt-5.4-nano"));
    assert_eq!(asked("openai/gpt-oss-120b"), at("groq", "openai/gpt-oss-120b"));
    assert_eq!(asked("groq/openai/gpt-oss-120b"), at("groq", "openai/gpt-oss-120b"));
    assert_eq!(asked("openai/not-listed-yet"), at("openai", "not-listed-yet"));
}

#[test]
fn a_provider_that_is_not_there_yet_says_so() {
    let wired = Wired::unused();
    let with_keys = |run: Run| run.env("ANTHROPIC_API_KEY", "k").env("AZURE_API_KEY", "k");
    assert_run!(assert_refused(with_keys(wired.llmops(["chat", "-m", "claude-opus-5", "hi"]))));
    let azure = assert_refused(with_keys(wired.llmops(["chat", "-m", "azure/gpt-5.4-nano", "hi"])));
    assert!(azure.stderr.starts_with("error: provider `azure` is not supported yet\nhint: "), "{azure}");
    // There is no such maker at OpenRouter.
    assert!(!azure.stderr.contains("openrouter/azure"), "{azure}");
}

#[test]
fn a_server_that_cannot_be_reached_is_named() {
    let env = TestEnv::new();
    let run = env.llmops(["chat", "-m", "gpt-5.4-nano", "--retries", "0", "hi"]);
    assert_run!(run.env("OPENAI_API_KEY", KEY).env("OPENAI_BASE_URL", refused_url()).run().expect_status(1));
}

#[test]
fn an_address_that_is_none_is_refused() {
    let env = TestEnv::new();
    for address in ["not an address", "ftp://example.com", "http://"] {
        let run = env.llmops(["chat", "-m", "gpt-5.4-nano", "--retries", "0", "hi"]);
        let output = assert_refused(run.env("OPENAI_API_KEY", KEY).env("OPENAI_BASE_URL", address));
        assert!(output.stderr.contains("base_url") && output.stderr.contains("\nhint: "), "{output}");
    }
    // A key that cannot stand in a header is no reason to show it.
    let run = env.llmops(["chat", "-m", "gpt-5.4-nano", "hi"]).env("OPENAI_API_KEY", "sk-broken\nsecret");
    assert!(!assert_refused(run).stderr.contains("secret"));
}

#[test]
fn a_server_that_talks_nonsense_is_quoted() {
    let page =
        "<!DOCTYPE html>\n<html><head><title>Welcome to nginx!</title></head><body>It works</body></html>";
    let wired = Wired::always(Reply::raw(200, "text/html", page));
    assert_run!(wired.llmops(["chat", "--retries", "0", "hi"]).run().expect_status(1));
    assert_run!(wired.llmops(["stream", "--retries", "0", "hi"]).run().expect_status(1));
    let wired = Wired::always(Reply::raw(200, "application/json", ""));
    assert_run!(wired.llmops(["chat", "--retries", "0", "hi"]).run().expect_status(1));
    let stream = Reply::sse(vec![b"data: upstream request timeout\n\n".to_vec()]);
    let wired = Wired::always(stream);
    assert_run!(wired.llmops(["stream", "--retries", "0", "hi"]).run().expect_status(1));
}

#[test]
fn an_error_inside_a_200_is_shown() {
    for name in ["error_in_200", "no_choices"] {
        let path = format!("{}/fixtures/openai/response/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let wired = Wired::always(Reply::raw(200, "application/json", std::fs::read(path).unwrap()));
        assert_run!(wired.llmops(["chat", "--retries", "0", "hi"]).run().expect_status(1));
    }
}

#[test]
fn a_refused_key_or_request_is_explained() {
    let wired = Wired::always(Reply::error(401, "invalid_api_key"));
    let output = wired.llmops(["chat", "hi"]).run().expect_status(1);
    assert!(output.stderr.starts_with("error: ") && output.stderr.contains("\nhint: "), "{output}");
    assert!(output.stderr.contains("answered 401: the test upstream answers invalid_api_key"), "{output}");
    let wired = Wired::always(Reply::error(400, "context_length_exceeded"));
    assert_run!(wired.llmops(["chat", "hi"]).run().expect_status(1));
    assert_eq!(wired.requests(), 1);
}

#[test]
fn options_that_make_no_sense_are_refused_before_a_call() {
    let wired = Wired::unused();
    for args in [
        &["--param", "no-value"][..],
        &["--param", "=5"],
        &["--param", "model=gpt-5"],
        &["--param", "messages=[]"],
        &["--param", "stream=true"],
        &["--tag", "untagged"],
        &["--timeout", "soon"],
        &["--timeout", "0s"],
        &["--timeout", "10"],
        &["--temperature", "hot"],
        &["--temperature", "nan"],
        &["--temperature", "inf"],
        &["--max-tokens", "-1"],
        &["--max-tokens", "many"],
        &["--retries", "-1"],
        &["--format", "xml"],
        &["--color", "sometimes"],
        &["--no-such-option"],
    ] {
        let output = assert_refused(wired.llmops([&["chat", "hi"], args].concat()));
        assert!(output.stderr.contains(args[0]), "{output}");
    }
}

#[test]
fn bad_values_are_quoted() {
    let wired = Wired::unused();
    assert_run!(assert_refused(wired.llmops(["chat", "hi", "--param", "no-value"])));
    assert_run!(assert_refused(wired.llmops(["chat", "hi", "--param", "model=gpt-5"])));
    assert_run!(assert_refused(wired.llmops(["chat", "hi", "--timeout", "10"])));
    assert_run!(assert_refused(wired.llmops(["chat", "hi", "--temperature", "hot"])));
}

#[test]
fn bad_arguments_are_a_line_of_error_and_a_line_of_hint() {
    let env = TestEnv::new();
    for (args, said) in [
        (
            &["chat", "--no-stdn"][..],
            "error: unexpected argument '--no-stdn' found\nhint: a similar argument exists: '--no-stdin'\n",
        ),
        (
            &["chat", "a", "b"],
            "error: unexpected argument 'b' found\nhint: `llmops chat --help` tells more\n",
        ),
        (
            &["batch"],
            "error: the following required arguments were not provided: <FILE>...\nhint: `llmops batch --help` tells more\n",
        ),
        (
            &["chat", "-q", "-v"],
            "error: the argument '--quiet' cannot be used with '--verbose...'\nhint: `llmops chat --help` tells more\n",
        ),
        (&["chta"], "error: unrecognized subcommand 'chta'\nhint: a similar subcommand exists: 'chat'\n"),
        (
            &["chat", "--format", "xml"],
            "error: invalid value 'xml' for '--format <FORMAT>'\nhint: possible values: text, json\n",
        ),
        (
            &["chat", "--retries", "-1"],
            "error: invalid value '-1' for '--retries <N>': -1 is not in 0..=4294967295\nhint: --help tells more\n",
        ),
    ] {
        assert_eq!(assert_refused(env.llmops(args)).stderr, said);
    }
}

#[test]
fn options_become_fields_of_the_request() {
    let wired = Wired::always(Reply::answer("ok"));
    let options = [
        "--system",
        "Be brief.",
        "--temperature",
        "0.25",
        "--max-tokens",
        "64",
        "--user",
        "u-17",
        "--tag",
        "team=support",
        "--param",
        "seed=7",
        "--param",
        "reasoning_effort=low",
        "--param",
        r#"stop=["\n"]"#,
        "--param",
        "metadata={\"a\": {\"b\": null}}",
    ];
    let _ = wired.llmops([&["chat", "hi"], &options[..]].concat()).run().expect_status(0);
    let body = wired.upstream.received().remove(0).body;
    assert_eq!(
        body,
        json!({
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
            "model": "gpt-5.4-nano", "max_completion_tokens": 64, "temperature": 0.25, "seed": 7, "reasoning_effort": "low",
            "stop": ["\n"], "metadata": {"a": {"b": null}},
        })
    );
    let call = wired.call();
    assert_eq!((&call["user"], &call["tags"]), (&json!("u-17"), &json!({"team": "support"})));
}

#[test]
fn a_dry_run_counts_and_calls_nobody() {
    let wired = Wired::unused();
    for command in ["chat", "stream"] {
        let output = wired.llmops([command, "--dry-run", "hello world"]).run().expect_status(0);
        if command == "chat" {
            assert_run!(output);
        }
    }
    let rows =
        wired.llmops(["chat", "--dry-run", "--format", "json", "hello world"]).run().expect_status(0).json();
    assert_eq!(
        rows,
        json!([{
            "model": "gpt-5.4-nano", "provider": "openai", "requests": 1, "input_tokens": 9, "estimated": false, "max_output_tokens": 128_000,
            "low_cost_usd": 0.000_001_8, "high_cost_usd": 0.160_001_8,
        }])
    );
    assert!(!wired.env.db_path().exists(), "nothing was spent, so nothing is on record");
}

#[test]
fn a_dry_run_keeps_to_the_limit_and_knows_what_it_does_not_know() {
    let wired = Wired::unused();
    let quote = |args: &[&str]| {
        let args = [&["chat", "--dry-run", "--format", "json", "hello world"], args].concat();
        wired.llmops(args).run().expect_status(0).json()[0].clone()
    };
    let limited = quote(&["--max-tokens", "100"]);
    assert_eq!(
        (&limited["max_output_tokens"], &limited["high_cost_usd"]),
        (&json!(100), &json!(0.000_126_8))
    );
    let unpriced = quote(&["-m", "openai/not-listed-yet"]);
    let nulls = ["max_output_tokens", "low_cost_usd", "high_cost_usd"].map(|field| unpriced[field].clone());
    assert_eq!(nulls, [Value::Null, Value::Null, Value::Null]);
}

#[test]
fn a_dry_run_of_a_stream_is_a_line_of_json() {
    let output =
        Wired::unused().llmops(["stream", "--dry-run", "--format", "jsonl", "hi"]).run().expect_status(0);
    assert_eq!(output.jsonl()[0]["requests"], 1);
}

#[test]
fn the_same_question_gets_the_same_simulated_answer() {
    let env = TestEnv::new();
    let ask = |question: &str| {
        let run = echo(&env, &["chat", question, "--retries", "0"]).env("LLMOPS_SIM", "error=0.5,seed=11");
        let output = run.run();
        (output.status, output.stdout)
    };
    let questions = ["one", "two", "three", "four", "five", "six"];
    let first = questions.map(ask);
    assert_eq!(questions.map(ask), first);
    let statuses: Vec<i32> = first.iter().map(|(status, _)| *status).collect();
    assert!(statuses.contains(&0) && statuses.contains(&1), "{statuses:?}");
}

#[test]
fn every_fault_can_be_simulated() {
    let env = TestEnv::new();
    for (fault, kind) in [
        ("rate_limit", "rate_limit"),
        ("error", "server"),
        ("timeout", "timeout"),
        ("drop", "dropped"),
        ("cut", "stream"),
    ] {
        let run = echo(&env, &["stream", "abcd efgh", "--retries", "0", "--format", "jsonl"]);
        let run = run.env("LLMOPS_SIM", format!("{fault}=1")).env("LLMOPS_TIMEOUTS__FIRST_DELTA", "20ms");
        let events = run.run().expect_status(1).jsonl();
        assert_eq!(events.last().unwrap()["error"]["kind"], kind, "{fault}");
    }
    let cut = echo(&env, &["stream", "abcdefgh"]).env("LLMOPS_SIM", "cut=1").run().expect_status(1);
    assert_eq!(cut.stdout, "abcd\n");
    let cut = echo(&env, &["chat", "abcdefgh"]).env("LLMOPS_SIM", "cut=1").env("LLMOPS_RETRY__BASE", "1ms");
    assert_eq!(cut.run().expect_status(1).stdout, "");
}

#[test]
fn a_retry_can_succeed_where_the_simulator_failed() {
    let env = TestEnv::new();
    let run = |question: &str| {
        let run = echo(&env, &["chat", question, "--retries", "30", "--format", "json"]);
        run.env("LLMOPS_SIM", "error=0.3,drop=0.3,seed=7").env("LLMOPS_RETRY__BASE", "1ms").run()
    };
    let attempts = ["one", "two", "three", "four"]
        .map(|question| run(question).expect_status(0).json()["attempts"].clone());
    assert!(attempts.iter().any(|attempts| attempts.as_u64() > Some(1)), "{attempts:?}");
}

#[test]
fn other_seeds_are_other_faults() {
    let env = TestEnv::new();
    let failed = |seed: u32| {
        let run = echo(&env, &["chat", "the same question", "--retries", "0"]);
        run.env("LLMOPS_SIM", format!("error=0.5,seed={seed}")).run().status
    };
    let statuses: Vec<i32> = (0..8).map(failed).collect();
    assert!(statuses.contains(&0) && statuses.contains(&1), "{statuses:?}");
}

#[test]
fn a_simulated_model_has_an_answer_a_price_and_a_pace() {
    let env = TestEnv::new();
    env.write_config(
        "sim:\n  models:\n    clerk:\n      answer: '{{ system }}|{{ prompt | upper }}|{{ messages | length }}|{{ model }}'\n      \
         latency: 60ms\n      price: {input: 1000, output: 2000}\n",
    );
    let args = ["chat", "-m", "sim/clerk", "-s", "You file", "hello", "--format", "json"];
    let answer = env.llmops(args).run().expect_status(0).json();
    assert_eq!((&answer["text"], &answer["model"]), (&json!("You file|HELLO|2|clerk"), &json!("clerk")));
    let tokens = |field: &str| answer["usage"][field].as_f64().unwrap();
    let cost = tokens("input_tokens") * 0.001 + tokens("output_tokens") * 0.002;
    assert!((answer["cost_usd"].as_f64().unwrap() - cost).abs() < 1e-12, "{answer}");
    assert_eq!(answer["cost_status"], "exact");
    assert!(answer["first_token_ms"].as_u64() >= Some(60), "{answer}");
}

#[test]
fn a_simulated_pace_is_in_tokens_per_second() {
    let env = TestEnv::new();
    let run =
        echo(&env, &["stream", "12345678901234567890", "--format", "jsonl"]).env("LLMOPS_SIM", "tps=100");
    let events = run.run().expect_status(0).jsonl();
    let done = events.last().unwrap();
    // Five pieces of four letters, a hundredth of a second each.
    assert_eq!(events.len(), 7);
    assert!(done["latency_ms"].as_u64() >= Some(50), "{done}");
}

#[test]
fn a_simulated_answer_that_cannot_be_made_is_an_error() {
    let env = TestEnv::new();
    env.write_config(
        "sim:\n  models:\n    broken: {answer: \"one\\n{{ nobody }}\"}\n    worse: {answer: '{% if %}'}\n",
    );
    assert_run!(env.llmops(["chat", "-m", "sim/broken", "hi"]).run().expect_status(1));
    assert_run!(env.llmops(["chat", "-m", "sim/worse", "hi"]).run().expect_status(1));
}

#[test]
fn the_simulator_keeps_to_the_limit_on_tokens() {
    let env = TestEnv::new();
    let args = ["chat", "one two three four five six", "--max-tokens", "3", "--format", "json"];
    let answer = echo(&env, &args).run().expect_status(0).json();
    assert_eq!(answer["text"], "one two three");
    assert_eq!((&answer["finish_reason"], &answer["usage"]["output_tokens"]), (&json!("length"), &json!(3)));
    let args = ["chat", "一二三四五六七八九十🙂🙂🙂", "--max-tokens", "12", "--format", "json"];
    let answer = echo(&env, &args).run().expect_status(0).json();
    assert!(answer["usage"]["output_tokens"].as_u64() <= Some(12), "{answer}");
}

#[test]
fn nothing_falls_back_to_the_simulator() {
    let wired = Wired::always(Reply::error(500, "down"));
    let output = wired.llmops(["chat", "--retries", "1", "hi"]).run().expect_status(1);
    assert_eq!(output.stdout, "");
    assert_eq!(wired.call()["provider"], "openai");
}

#[test]
fn a_call_takes_no_longer_than_its_timeout() {
    let wired = Wired::always(Reply::hang());
    let output = wired.llmops(["chat", "--timeout", "80ms", "hi"]).run().expect_status(1);
    assert!(output.stderr.contains("--timeout"), "{output}");
    assert!(wired.upstream.wait_for_hangup(SOON));
    assert!(wired.call()["latency_ms"].as_u64() < Some(10_000));
}

#[test]
fn a_call_that_is_not_to_be_logged_is_not() {
    let upstream = Upstream::start(|_| Reply::answer("ok"));
    let env = TestEnv::new();
    let run = env.llmops(["chat", "--no-log", "hi"]).env("OPENAI_API_KEY", KEY);
    let output = run.env("OPENAI_BASE_URL", upstream.base_url()).run().expect_status(0);
    assert_eq!(output.stdout, "ok\n");
    assert!(!env.db_path().exists());
}

#[test]
fn every_command_has_help() {
    let env = TestEnv::new();
    for args in [
        &["--help"][..],
        &["chat", "--help"],
        &["stream", "--help"],
        &["batch", "--help"],
        &["cost", "--help"],
        &["calls", "--help"],
        &["calls", "show", "--help"],
    ] {
        let output = env.llmops(args).env("COLUMNS", "80").run().expect_status(0);
        assert_eq!(output.stderr, "");
        assert!(output.stdout.lines().all(|line| line.chars().count() <= 80), "{output}");
        insta::with_settings!({snapshot_suffix => args.join("_").replace("--", "")}, { assert_run!(output) });
    }
}

#[test]
fn the_version_is_printed() {
    let output = TestEnv::new().llmops(["--version"]).run().expect_status(0);
    assert_eq!(output.stdout, format!("llmops {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_command_that_does_not_exist_gets_a_suggestion() {
    let env = TestEnv::new();
    let output = assert_refused(env.llmops(["chta", "hi"]));
    assert!(output.stderr.contains("'chat'"), "{output}");
    let output = env.llmops([""; 0]).run().expect_status(2);
    assert!(output.stderr.contains("Usage: llmops"), "{output}");
}
