-- Runs of batches: what they were asked to do, and how far they are.
CREATE TABLE batch_runs (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    started_us INTEGER NOT NULL,
    out        BLOB,                     -- the absolute path of OUT; NULL for standard output
    plan       TEXT    NOT NULL,         -- JSON
    state      TEXT    NOT NULL,         -- running, stopped, done
    total      INTEGER,
    done       INTEGER NOT NULL,         -- these five are of what is safely in OUT
    failed     INTEGER NOT NULL,
    cost_nanos INTEGER NOT NULL,
    unpriced   INTEGER NOT NULL,         -- items whose cost is not known
    out_bytes  INTEGER NOT NULL,
    owner      INTEGER NOT NULL          -- the process that goes on with it, or did; one not among the owners is dead
) STRICT;

-- Items that were sent and are not yet known to be in OUT: in flight until they have a record.
CREATE TABLE batch_items (
    run        INTEGER NOT NULL REFERENCES batch_runs (id) ON DELETE CASCADE,
    item       INTEGER NOT NULL,
    call       BLOB    NOT NULL,
    provider   TEXT    NOT NULL,
    model      TEXT    NOT NULL,
    user       TEXT,
    tags       TEXT    NOT NULL,         -- a JSON object
    most_nanos INTEGER,                  -- what is set aside for its requests; NULL where no table has a price
    record     INTEGER,                  -- the call that ended it
    response   BLOB,                     -- its answer, where that is not among the bodies as it came
    PRIMARY KEY (run, item)
) STRICT, WITHOUT ROWID;

-- Which item of which run a call is for.
ALTER TABLE calls ADD COLUMN run INTEGER;
ALTER TABLE calls ADD COLUMN item INTEGER;
CREATE INDEX calls_by_item ON calls (run, item) WHERE run IS NOT NULL;

-- The budget of one run, for as long as it goes on.
ALTER TABLE budgets ADD COLUMN run INTEGER REFERENCES batch_runs (id) ON DELETE CASCADE;
DROP INDEX budgets_by_scope;
CREATE UNIQUE INDEX budgets_by_scope ON budgets (tag_key, tag_value, user, provider, model, period)
    WHERE run IS NULL;
CREATE UNIQUE INDEX budgets_by_run ON budgets (run) WHERE run IS NOT NULL;
