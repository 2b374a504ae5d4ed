//! Processes that die or stand still while they hold money: it counts as spent once their lease
//! is over, until they turn up after all.

use super::{
    INPUT, OUTPUT, Watch, ask, assert_settled, batch, held_by_bytes, held_for_one, number, sent, set_budget,
    sums,
};
use crate::path::{SOON, Wired, price};
use crate::support::{Gate, Reply, Signal};

/// A number from 0 to `below`, another at every run.
fn any(below: u32) -> usize {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    usize::try_from(now.subsec_micros() % below).unwrap()
}

#[test]
fn what_a_killed_batch_held_is_spent_and_the_others_go_on() {
    let (gate, reached) = (Gate::new(), 1 + any(16));
    let held = gate.clone();
    let wired = Wired::to(move |request| {
        let reply = Reply::answer("hello").usage(INPUT.cast_unsigned(), OUTPUT.cast_unsigned());
        if request.last_user_text() == "wait" { reply.gate(&held) } else { reply }
    });
    let limit = 100 * held_for_one();
    set_budget(&wired, limit);
    let watch = Watch::over(&wired);
    wired.env.write("victim.txt", "hi\nhi\n".to_owned() + &"wait\n".repeat(16));
    let victim = batch(&wired, "victim.txt", "victim.jsonl", "16");
    assert!(gate.wait_until_reached_by(reached, SOON));
    let others = ["a", "b", "c"].map(|name| {
        wired.env.write(format!("{name}.txt"), "hi\n".repeat(100));
        batch(&wired, &format!("{name}.txt"), &format!("{name}.jsonl"), "128")
    });
    victim.signal(Signal::KILL);
    let _ = victim.wait().expect_status(-9);
    // They get no more than what is left beside the dead one's holds, and wait for that to be settled.
    for other in others {
        let output = other.wait().expect_status(4);
        assert!(output.stderr.contains("is left"), "{output}");
    }
    watch.end().assert_kept();

    let unknown = number(&wired.env.db(), "SELECT sum(nanos) FROM holds");
    assert!(unknown >= i64::try_from(reached).unwrap() * held_for_one(), "after {reached}: {unknown}");
    assert_settled(&wired, unknown);
    let [spent, ..] = sums(&wired);
    assert!(spent <= limit && spent > limit - held_for_one(), "{spent} of {limit}");
    gate.release();
}

/// Of the process with this number: how many holds, and how many entries.
fn owned(wired: &Wired, pid: i64) -> [i64; 2] {
    let store = wired.env.db();
    let entries = format!("SELECT count(*) FROM owners WHERE pid = {pid}");
    let holds = format!("SELECT count(*) FROM holds JOIN owners ON owners.id = owner WHERE pid = {pid}");
    [number(&store, &holds), number(&store, &entries)]
}

#[test]
fn what_stands_still_is_taken_for_dead_until_it_goes_on_and_what_waits_is_not() {
    let (gate, stream) = (Gate::new(), Gate::new());
    let (held, open) = (gate.clone(), stream.clone());
    let wired = Wired::to(move |request| {
        let reply = Reply::answer("hello");
        if request.wants_stream() { reply.gate_after_events(2, &open) } else { reply.gate(&held) }
    });
    set_budget(&wired, 1_000_000_000);
    let streaming = ask(&wired, "stream", &[]);
    assert!(stream.wait_until_reached(SOON));
    let streamed = number(&wired.env.db(), "SELECT pid FROM owners");
    wired.env.write("in.txt", "hi\nhi\nhi\n");
    let stopped = batch(&wired, "in.txt", "out.jsonl", "1");
    assert!(gate.wait_until_reached(SOON));
    stopped.signal(Signal::STOP);
    let pid = number(&wired.env.db(), &format!("SELECT pid FROM owners WHERE pid <> {streamed}"));
    let received = wired.upstream.received();
    let [first, second] = [&received[0], &received[1]].map(held_by_bytes);
    assert_eq!(sums(&wired), [0, first + second, 0]);

    // Until it is known that what one of them holds will not come back, a third may hope.
    set_budget(&wired, second);
    let output = ask(&wired, "chat", &[]).wait().expect_status(4);
    assert_eq!(wired.requests(), 2, "{output}");
    assert_eq!((owned(&wired, pid), owned(&wired, streamed)), ([0, 0], [1, 1]), "{output}");
    assert_eq!(sums(&wired), [second, first, second]);

    // What was swept is replaced by what it has come to, and there is room again.
    stopped.signal(Signal::CONT);
    set_budget(&wired, 1_000_000_000);
    gate.release();
    let output = stopped.wait().expect_status(0);
    assert_eq!(wired.env.read("out.jsonl").lines().count(), 3, "{output}");
    assert_eq!(sums(&wired), [3 * price(10, 0, 5), first, 0]);
    stream.release();
    let _ = streaming.wait().expect_status(0);
    assert_settled(&wired, 0);
    assert_eq!(sums(&wired), [4 * price(10, 0, 5), 0, 0]);
    assert_eq!(number(&wired.env.db(), "SELECT count(*) FROM holds"), 0);
    assert_eq!((sent(&wired), wired.requests()), (4, 4));
}
