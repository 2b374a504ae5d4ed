//! Disks that are full, and devices: no half lines, and no answer is lost or bought twice.

use std::fs;
use std::io::Write;
use std::process::Command;

use super::json_lines;
use crate::path::Wired;
use crate::support::Reply;

/// A small disk in the working directory, until it is dropped.
struct Disk<'a>(&'a Wired);

impl<'a> Disk<'a> {
    fn new(wired: &'a Wired, size: &str) -> Option<Self> {
        let path = wired.env.path("disk");
        fs::create_dir(&path).unwrap();
        let options = format!("size={size}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "llmops-test"]).arg(&path).output();
        if mounted.is_ok_and(|mounted| mounted.status.success()) {
            return Some(Self(wired));
        }
        // Not by a macro, whose output a test that passes keeps to itself.
        let _ = std::io::stderr().write_all(b"SKIPPED: no small disk can be made here, so none is filled\n");
        None
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.env.path("disk")).status();
    }
}

fn long_answers() -> Wired {
    let wired = Wired::to(|request| Reply::answer(request.last_user_text() + &"x".repeat(20_000)));
    let prompts: Vec<String> = (0..40).map(|n| format!("prompt {n} ")).collect();
    wired.env.write("in.txt", prompts.join("\n"));
    wired
}

#[test]
fn a_full_disk_loses_nothing() {
    let wired = long_answers();
    let Some(_disk) = Disk::new(&wired, "400k") else { return };
    for form in ["simple", "openai", "text", "csv"] {
        let before = wired.requests();
        let out = format!("disk/{form}");
        let args = ["batch", "in.txt", "-o", &out, "-j", "4", "--output-format", form];
        let output = wired.llmops(args).run().expect_status(2);
        assert!(output.stderr.contains(&format!("cannot write {out}: ")), "{output}");
        let none_lost = !output.stderr.contains("on record, but not in it");
        assert!(none_lost || output.stderr.contains("hint: make room and go on with --resume: "), "{output}");
        let text = wired.env.read(&out);
        assert!(text.is_empty() || text.ends_with('\n'), "{output}");
        let sent = wired.requests() - before;
        assert!(sent < 40, "{output}");
        // Still full: nothing is sent, and nothing that was written goes.
        fs::write(wired.env.path("disk/filler"), vec![0; 400 << 10]).unwrap_err();
        let output = wired.llmops([&args[..], &["--resume"]].concat()).run().expect_status(2);
        let left = wired.env.read(&out);
        assert!(left.starts_with(&text), "{} of {} bytes left: {output}", left.len(), text.len());
        fs::remove_file(wired.env.path("disk/filler")).unwrap();
        // Room is found elsewhere.
        let moved =
            Command::new("mount").args(["-o", "remount,size=8m"]).arg(wired.env.path("disk")).status();
        assert!(moved.unwrap().success());
        let output = wired.llmops([&args[..], &["--resume"]].concat()).run().expect_status(0);
        assert_eq!(wired.requests() - before, 40, "{form}: {output}");
        let whole = wired.env.read(&out);
        assert_eq!(whole.lines().count(), 40 + usize::from(form == "csv"), "{form}");
        fs::remove_file(wired.env.path(&out)).unwrap();
        let shrunk =
            Command::new("mount").args(["-o", "remount,size=400k"]).arg(wired.env.path("disk")).status();
        assert!(shrunk.unwrap().success());
    }
}

#[test]
fn a_store_on_a_full_disk_ends_the_run() {
    let wired = long_answers();
    let Some(_disk) = Disk::new(&wired, "1500k") else { return };
    let long: Vec<String> = (0..60).map(|n| format!("{n} {}", fastrand_text(n))).collect();
    wired.env.write("in.txt", long.join("\n"));
    let args = ["batch", "in.txt", "-o", "out", "-j", "4", "--db", "disk/llmops.db"];
    let output = wired.llmops(args).run();
    assert_ne!(output.status, 0, "{output}");
    assert_eq!(output.stderr.matches("error: ").count(), 1, "{output}");
    let before = json_lines(&wired.env.read("out")).len();
    assert!(before < 60, "{output}");
    let room = Command::new("mount").args(["-o", "remount,size=32m"]).arg(wired.env.path("disk")).status();
    assert!(room.unwrap().success());
    let output = wired.llmops([&args[..], &["--resume"]].concat()).run().expect_status(0);
    assert_eq!(json_lines(&wired.env.read("out")).len(), 60, "{before} before: {output}");
}

/// Text that does not pack.
fn fastrand_text(seed: u64) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..20_000).map(|_| random.alphanumeric()).collect()
}

#[test]
fn a_device_that_takes_nothing_ends_the_run() {
    let wired = long_answers();
    let output = wired.llmops(["batch", "in.txt", "-o", "/dev/full", "-j", "4"]).run().expect_status(2);
    assert!(output.stderr.contains("cannot write /dev/full: "), "{output}");
    assert!(wired.requests() < 40);
}
