//! The one way to wait for a busy neighbour: retries with jitter, said aloud when it takes long, and cut
//! short when the user is in a hurry. SQLite's own busy handler is not used: it lets some waiters starve.

use std::fmt;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::error::{StoreError, is_busy};

/// How long a busy store is tried before giving up.
const LIMIT: Duration = Duration::from_secs(30);

/// How long it is still tried once somebody is in a hurry.
const HURRIED_LIMIT: Duration = Duration::from_secs(2);

/// A wait this long has to be explained.
const QUIET: Duration = Duration::from_secs(3);

type OnWait = Box<dyn Fn(&str) + Send + Sync>;

/// How long a busy store is waited for, and who hears of it. Shared by all that wait: each method works
/// while another thread is waiting.
pub struct Patience {
    on_wait: OnceLock<OnWait>,
    hurried: OnceLock<Instant>,
    quiet: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { on_wait: OnceLock::new(), hurried: OnceLock::new(), quiet: QUIET }
    }
}

impl fmt::Debug for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patience").field("hurried", &self.hurried.get().is_some()).finish_non_exhaustive()
    }
}

impl Patience {
    /// Has `listener` told, once a wait, what is being waited for when that takes more than a few
    /// seconds. It is called on the thread that waits. The first listener stays.
    pub fn on_wait(&self, listener: impl Fn(&str) + Send + Sync + 'static) {
        let _ = self.on_wait.set(Box::new(listener));
    }

    /// From now on, all waits together, this one and those to come, end within two seconds.
    pub fn hurry(&self) {
        let _ = self.hurried.set(Instant::now());
    }

    /// Tries until the store is no longer busy, with waits that grow from 1 to 20 ms and are jittered so
    /// that several waiters do not march in step.
    pub(super) fn until_free<T>(
        &self,
        path: &Path,
        mut attempt: impl FnMut() -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        let mut announced = false;
        let mut bound = 1.0;
        loop {
            match attempt() {
                Err(error) if is_busy(&error) => {}
                other => return other.map_err(|error| StoreError::sql(path, &error)),
            }
            if self.is_over(began) {
                return Err(StoreError::Busy { path: path.to_owned(), seconds: began.elapsed().as_secs() });
            }
            if !announced && began.elapsed() >= self.quiet {
                announced = true;
                self.announce(path);
            }
            pause(Duration::from_secs_f64(fastrand::f64() * bound / 1000.0));
            bound = f64::min(bound * 1.5, 20.0);
        }
    }

    fn is_over(&self, began: Instant) -> bool {
        let hurried = self.hurried.get();
        began.elapsed() >= LIMIT || hurried.is_some_and(|since| since.elapsed() >= HURRIED_LIMIT)
    }

    fn announce(&self, path: &Path) {
        if let Some(listener) = self.on_wait.get() {
            listener(&format!("waiting for the store {}: another process is writing to it", path.display()));
        }
    }
}

/// Does nothing, for other processes to go on.
#[expect(clippy::disallowed_methods, reason = "SQLite has no way to wait for another process's lock")]
pub(super) fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[cfg(test)]
impl Patience {
    /// Speaks up after `quiet`.
    pub(super) fn speaking_after(quiet: Duration) -> Self {
        Self { quiet, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use rusqlite::ffi;

    use super::*;

    fn busy() -> rusqlite::Result<()> {
        Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None))
    }

    #[test]
    fn a_long_wait_is_announced_once() {
        let patience = Patience::speaking_after(Duration::from_millis(5));
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        patience.on_wait(move |text| heard.lock().unwrap().push(text.to_owned()));
        for _ in 0..2 {
            let mut tries_after = 0;
            let attempt = || {
                tries_after += u32::from(!said.lock().unwrap().is_empty());
                if tries_after < 10 { busy() } else { Ok(()) }
            };
            said.lock().unwrap().clear();
            patience.until_free(Path::new("x.db"), attempt).unwrap();
            assert_eq!(
                *said.lock().unwrap(),
                ["waiting for the store x.db: another process is writing to it"]
            );
        }
    }

    #[test]
    fn a_short_wait_is_not_announced() {
        let patience = Patience::default();
        patience.on_wait(|text| panic!("{text}"));
        let mut tries = 0;
        let attempt = || {
            tries += 1;
            if tries < 5 { busy() } else { Ok(()) }
        };
        patience.until_free(Path::new("x.db"), attempt).unwrap();
    }

    #[test]
    fn hurrying_ends_the_wait_that_runs_and_those_to_come() {
        let patience = Patience::default();
        let began = Instant::now();
        let attempt = || {
            patience.hurry();
            busy()
        };
        for _ in 0..3 {
            let waited = patience.until_free(Path::new("x.db"), attempt);
            assert!(matches!(waited, Err(StoreError::Busy { .. })), "{waited:?}");
        }
        assert!(began.elapsed() < 2 * HURRIED_LIMIT, "{:?} for three waits", began.elapsed());
        patience.until_free(Path::new("x.db"), || Ok(())).unwrap();
    }
}
