//! Providers that bill more than was asked of them.

use super::{INPUT, OUTPUT, ask, assert_settled, batch, budget, held_for_one, sent, set_budget};
use crate::path::{SOON, Wired, nanos, price};
use crate::support::{Gate, Reply};

#[test]
fn what_is_billed_beyond_the_limit_is_shown_and_ends_it() {
    let gate = Gate::new();
    let (held, output) = (gate.clone(), 3 * OUTPUT.cast_unsigned());
    let reply = move || Reply::answer("hello").usage(INPUT.cast_unsigned(), output).gate(&held);
    let wired = Wired::to(move |_| reply());
    let (reckoned, billed) = (held_for_one(), price(INPUT, 0, 3 * OUTPUT));
    let limit = 20 * reckoned;
    set_budget(&wired, limit);
    wired.env.write("in.txt", "hi\n".repeat(100));
    let running = batch(&wired, "in.txt", "out.jsonl", "8");
    assert!(gate.wait_until_reached_by(8, SOON));
    gate.release();
    let output = running.wait().expect_status(4);

    assert_settled(&wired, 0);
    let of = budget(&wired);
    let [spent, overrun] = ["spent_usd", "overrun_usd"].map(|field| nanos(&of[field]));
    let in_flight = i64::try_from(wired.upstream.max_in_flight()).unwrap();
    assert!(in_flight <= 8 && overrun > 0, "{of}");
    assert!(overrun <= in_flight * (billed - reckoned), "{of}\n{output}");
    assert_eq!((overrun, &of["exhausted"]), (spent - limit, &true.into()), "{of}");
    let requests = wired.requests();
    assert_eq!(i64::try_from(requests).unwrap(), sent(&wired));
    assert_eq!(spent, sent(&wired) * billed);

    let output = ask(&wired, "chat", &[]).wait().expect_status(4);
    assert_eq!((wired.requests(), &*output.stdout), (requests, ""));
}
