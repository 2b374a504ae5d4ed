//! Attached files: text and images become parts of the message, whatever their names;
//! anything else is refused before a call.

use std::fs;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

use super::{assert_refused, echo};
use crate::path::Wired;
use crate::support::{Reply, TestEnv, assert_run};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";

#[test]
fn files_become_parts_before_the_question() {
    let wired = Wired::always(Reply::answer("ok"));
    wired.env.write("cat.txt", PNG);
    wired.env.write("notes.png", "\u{feff}line one\r\nline two\n\n");
    wired.env.write("t.j2", "In German: {{ prompt }}");
    let files = ["-f", "cat.txt", "--file", "notes.png"];
    let _ = wired.llmops([&["chat", "What is it?"], &files[..]].concat()).run().expect_status(0);
    let args = [&["stream", "What is it?", "-t", "t.j2"], &files[..]].concat();
    let _ = wired.llmops(args).run().expect_status(0);
    let image =
        json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg=="}});
    let notes = json!({"type": "text", "text": "notes.png:\nline one\r\nline two\n"});
    for (request, text) in wired.upstream.received().iter().zip(["What is it?", "In German: What is it?"]) {
        let question = json!({"type": "text", "text": text});
        assert_eq!(request.body["messages"], json!([{"role": "user", "content": [image, notes, question]}]));
    }
    wired.env.write("after.j2", "Say it.");
    let _ = wired.llmops(["chat", "-f", "cat.txt", "-t", "after.j2"]).run().expect_status(0);
    let said = json!([{"role": "user", "content": [image, {"type": "text", "text": "Say it."}]}]);
    assert_eq!(wired.upstream.received()[2].body["messages"], said);
}

#[test]
fn every_image_is_known_by_its_content() {
    let wired = Wired::always(Reply::answer("ok"));
    for (kind, bytes) in [
        ("png", PNG),
        ("jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF"),
        ("gif", b"GIF89a\x01\0\x01\0"),
        ("webp", b"RIFF\x10\0\0\0WEBPVP8 "),
    ] {
        wired.env.write("picture", bytes);
        let _ = wired.llmops(["chat", "-f", "picture", "what?"]).run().expect_status(0);
        let body = wired.upstream.received().pop().unwrap().body;
        let url = body["messages"][0]["content"][0]["image_url"]["url"].as_str().unwrap();
        assert!(url.starts_with(&format!("data:image/{kind};base64,")), "{url}");
    }
}

#[test]
fn the_simulator_echoes_text_and_an_image_is_an_estimate() {
    let env = TestEnv::new();
    env.write("a.png", PNG);
    env.write("b.txt", "BM is no bitmap");
    let args = ["chat", "-f", "a.png", "-f", "b.txt", "why?"];
    assert_eq!(echo(&env, &args).run().expect_status(0).stdout, "b.txt:\nBM is no bitmap\nwhy?\n");
    let wired = Wired::unused();
    let large = [PNG, &*vec![7; 1 << 20]].concat();
    wired.env.write("a.png", large);
    let args = ["chat", "-f", "a.png", "why?", "--dry-run", "--format", "json"];
    let row = wired.llmops(args).run().expect_status(0).json()[0].clone();
    assert_eq!((&row["input_tokens"], &row["estimated"]), (&json!(774), &json!(true)));
}

#[test]
fn what_cannot_be_attached_is_refused() {
    let wired = Wired::unused();
    wired.env.write("a.pdf", "%PDF-1.7\n1 0 obj\n");
    wired.env.write("a.zip", b"PK\x03\x04\x14\0\0\0\x08\0".as_slice());
    wired.env.write("a.bin", b"text\0text".as_slice());
    wired.env.write("a.bmp", b"BM\x9a\0\0\0\0\0\0\0".as_slice());
    wired.env.write("latin.txt", b"caf\xe9".as_slice());
    wired.env.write("empty.txt", "");
    wired.env.write("folder/x", "x");
    wired.env.write("large.txt", "x".repeat((20 << 20) + 1));
    for (name, said) in [
        ("a.pdf", "a.pdf is application/pdf, which cannot be attached"),
        ("a.zip", "a.zip is application/zip, which"),
        ("a.bin", "a.bin is binary, which"),
        ("a.bmp", "a.bmp is image/bmp, which"),
        ("latin.txt", "latin.txt is not valid UTF-8 at byte 4"),
        ("empty.txt", "empty.txt is empty"),
        ("folder", "folder is a folder"),
        ("large.txt", "large.txt is larger than 20 MiB"),
        ("nowhere", "cannot read nowhere: No such file"),
        ("/dev/zero", "/dev/zero is a device"),
    ] {
        let output = assert_refused(wired.llmops(["chat", "-f", name, "hi"]));
        assert!(output.stderr.contains(said), "{name}: {output}");
    }
    assert_run!(assert_refused(wired.llmops(["stream", "-f", "a.pdf", "hi"])));
}

#[test]
fn a_pipe_is_read_like_a_file() {
    let env = TestEnv::new();
    let path = env.path("pipe");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let running = echo(&env, &["chat", "-f", "pipe", "hi"]).spawn();
    fs::write(&path, "piped").unwrap();
    assert_eq!(running.wait().expect_status(0).stdout, "pipe:\npiped\nhi\n");
}
