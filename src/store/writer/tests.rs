use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

type Replied = oneshot::Receiver<Result<(), StoreError>>;

/// An owner with a table to write to, and the queue to it.
struct Bench {
    owner: Owner,
    jobs: Sender<Job>,
    folder: TempDir,
}

impl Bench {
    fn new(patience: Patience) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let connection = connect(&path, &patience).unwrap();
        connection.execute_batch("CREATE TABLE written (job INTEGER, body BLOB)").unwrap();
        let (jobs, queue) = channel();
        let desk = Desk::new(connection, &StoreSettings::default());
        let patience = Arc::new(patience);
        Self { owner: Owner { desk, queue, path, patience, longest: GROUP }, jobs, folder }
    }

    /// Another process, as far as SQLite can tell.
    fn neighbour(&self) -> Connection {
        connect(&self.folder.path().join("store.db"), &Patience::default()).unwrap()
    }

    fn queue(&self, work: Work) -> Replied {
        let (reply, replied) = oneshot::channel();
        self.jobs.send(Job { work, reply }).unwrap();
        replied
    }
}

fn write(job: i64) -> Work {
    Box::new(move |desk| desk.connection.execute("INSERT INTO written VALUES (?1, NULL)", [job]).map(drop))
}

#[test]
fn a_long_wait_does_not_make_groups_small() {
    let patience = Patience::speaking_after(2 * GROUP);
    let mut bench = Bench::new(patience);
    let neighbour = bench.neighbour();
    neighbour.execute_batch("BEGIN IMMEDIATE").unwrap();
    let neighbour = std::sync::Mutex::new(neighbour);
    bench.owner.patience.on_wait(move |_| neighbour.lock().unwrap().execute_batch("COMMIT").unwrap());
    for job in 0..10 {
        drop(bench.queue(write(job)));
    }
    let first = bench.owner.queue.recv().unwrap();
    let mut group = Vec::new();
    bench.owner.run_group(first, &mut group).unwrap();
    assert!(group.len() > 1, "the group of {} waited {GROUP:?} and more", group.len());
}

#[test]
fn whatever_has_queued_up_fails_with_the_one_that_waited_in_vain() {
    let mut bench = Bench::new(Patience::default());
    let neighbour = bench.neighbour();
    neighbour.execute_batch("BEGIN IMMEDIATE").unwrap();
    bench.owner.patience.hurry();
    for job in 0..10 {
        drop(bench.queue(write(job)));
    }
    let first = bench.owner.queue.recv().unwrap();
    let mut group = Vec::new();
    let result = bench.owner.run_group(first, &mut group);
    assert!(matches!(result, Err(StoreError::Busy { .. })), "{result:?}");
    assert_eq!(group.len(), 10);
    neighbour.execute_batch("COMMIT").unwrap();
}

/// What a job does, in two statements, so that half of it could be left behind.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Small,
    /// More than the store has room for, if there are several.
    Large,
    /// Fails after the first statement.
    Failing,
    /// Has no room, and says that all is well.
    Careless,
}

fn shaped(job: i64, shape: Shape) -> Work {
    const INSERT: &str = "INSERT INTO written VALUES (?1, zeroblob(?2))";
    let bytes = match shape {
        Shape::Small | Shape::Failing => 10,
        Shape::Large => 30_000,
        Shape::Careless => 300_000,
    };
    Box::new(move |desk| {
        desk.connection.execute(INSERT, [job, bytes])?;
        let second = match shape {
            Shape::Failing => desk.connection.execute("INSERT INTO written VALUES (1)", []),
            _ => desk.connection.execute(INSERT, [job, bytes]),
        };
        if matches!(shape, Shape::Careless) { Ok(()) } else { second.map(drop) }
    })
}

/// Runs each group in a store with room for a few large jobs, and returns what each job was answered
/// beside how many of its two rows are on record.
fn run_in_a_small_store(groups: &[Vec<Shape>]) -> Vec<(Shape, Result<(), StoreError>, i64)> {
    let mut bench = Bench::new(Patience::default());
    let pragma =
        |sql: &str| -> i64 { bench.owner.desk.connection.query_row(sql, [], |row| row.get(0)).unwrap() };
    let limit = pragma("PRAGMA page_count") + 100;
    assert_eq!(pragma(&format!("PRAGMA max_page_count = {limit}")), limit);
    let mut asked = Vec::new();
    for shapes in groups {
        for shape in shapes {
            let job = i64::try_from(asked.len()).unwrap();
            asked.push((*shape, bench.queue(shaped(job, *shape))));
        }
        while let Ok(first) = bench.owner.queue.try_recv() {
            bench.owner.serve(first);
        }
    }
    let neighbour = bench.neighbour();
    let mut rows = neighbour.prepare("SELECT count(*) FROM written WHERE job = ?1").unwrap();
    let answered = asked.into_iter().zip(0_i64..).map(|((shape, reply), job)| {
        (shape, reply.blocking_recv().unwrap(), rows.query_one([job], |row| row.get(0)).unwrap())
    });
    answered.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_answered_is_what_is_on_record(
        groups in proptest::collection::vec(
            proptest::collection::vec(
                prop_oneof![
                    4 => Just(Shape::Small),
                    2 => Just(Shape::Large),
                    2 => Just(Shape::Failing),
                    1 => Just(Shape::Careless),
                ],
                1..8,
            ),
            1..6,
        )
    ) {
        for (shape, answer, rows) in run_in_a_small_store(&groups) {
            let on_record = if answer.is_ok() { 2 } else { 0 };
            prop_assert_eq!(rows, on_record, "{:?} was answered {:?}", shape, answer);
        }
    }
}

#[test]
fn a_full_disk_fails_its_whole_group_and_says_so() {
    let large = [Shape::Large; 10];
    let full = [&[Shape::Small, Shape::Failing][..], &large].concat();
    let answers = run_in_a_small_store(&[vec![Shape::Small], full, vec![Shape::Small]]);
    let of = |at: usize| (&answers[at].1, answers[at].2);
    assert!(matches!(of(0), (Ok(()), 2)), "{answers:?}");
    assert!(matches!(of(1), (Err(StoreError::Full(_)), 0)), "{answers:?}");
    assert!(matches!(of(2), (Err(StoreError::Sql { .. }), 0)), "its own error: {answers:?}");
    assert!(matches!(of(3), (Err(StoreError::Full(_)), 0)), "{answers:?}");
    assert!(matches!(of(answers.len() - 1), (Ok(()), 2)), "{answers:?}");
}
