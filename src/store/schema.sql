-- The tables as they are now: what the migrations come to, for a new store in one step.

-- A call: one question, however many attempts. `id` is a UUIDv7, so its index sorts by time.
CREATE TABLE calls (
    seq                   INTEGER PRIMARY KEY,
    id                    BLOB    NOT NULL UNIQUE,
    started_us            INTEGER NOT NULL,
    origin                TEXT    NOT NULL,
    provider              TEXT    NOT NULL,
    model                 TEXT    NOT NULL,
    user                  TEXT,
    status                TEXT    NOT NULL,
    attempts              INTEGER NOT NULL,
    input_tokens          INTEGER,           -- all eight are NULL where usage is not known
    cached_input_tokens   INTEGER,
    cache_write_tokens    INTEGER,
    cache_write_1h_tokens INTEGER,
    output_tokens         INTEGER,
    reasoning_tokens      INTEGER,
    input_audio_tokens    INTEGER,
    cost_nanos            INTEGER,           -- nano-dollars; NULL where not known
    cost_status           TEXT    NOT NULL,
    price_version         TEXT,
    latency_ms            INTEGER NOT NULL,
    first_token_ms        INTEGER,
    finish_reason         TEXT,
    error_kind            TEXT,
    error_status          INTEGER,
    error_message         TEXT,
    error_retryable       INTEGER,
    -- What was kept of the bodies: full, masked, cut (one was too large), none, pruned. A body that is not kept
    -- although there was one is empty.
    bodies                TEXT    NOT NULL DEFAULT 'full',
    output_audio_tokens   INTEGER,
    run                   INTEGER,           -- which item of which batch it is for, if it is for one
    item                  INTEGER,
    route                 TEXT,              -- the route it took, if it took one
    fallback_provider     TEXT,              -- who was to answer, where another did, or was asked last
    fallback_model        TEXT,
    degraded              INTEGER NOT NULL DEFAULT 0 -- whether the answer is the fixed one: nobody answered
) STRICT;

-- Prices as they were applied, each once: JSON of the rates and of what chose them.
CREATE TABLE prices (
    id    INTEGER PRIMARY KEY,
    price TEXT    NOT NULL UNIQUE
) STRICT;

CREATE TABLE attempts (
    call                  INTEGER NOT NULL REFERENCES calls (seq) ON DELETE CASCADE,
    number                INTEGER NOT NULL,
    provider              TEXT    NOT NULL,
    model                 TEXT    NOT NULL,
    offset_ms             INTEGER NOT NULL,
    duration_ms           INTEGER NOT NULL,
    failure_kind          TEXT,
    status                INTEGER,
    code                  TEXT,
    message               TEXT,
    input_tokens          INTEGER,           -- what it used; all from here on are NULL where that is not known
    cached_input_tokens   INTEGER,
    cache_write_tokens    INTEGER,
    cache_write_1h_tokens INTEGER,
    output_tokens         INTEGER,
    reasoning_tokens      INTEGER,
    input_audio_tokens    INTEGER,
    output_audio_tokens   INTEGER,
    known                 TEXT,              -- how: reported, counted, partial
    service_tier          TEXT,              -- as the response named it
    price                 INTEGER REFERENCES prices (id),  -- what was asked for it; NULL if no table said
    PRIMARY KEY (call, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE tags (
    call  INTEGER NOT NULL REFERENCES calls (seq) ON DELETE CASCADE,
    key   TEXT    NOT NULL,
    value TEXT    NOT NULL,
    PRIMARY KEY (call, key)
) STRICT, WITHOUT ROWID;

-- Requests and answers, zstd with the store's dictionary.
CREATE TABLE bodies (
    call     INTEGER PRIMARY KEY REFERENCES calls (seq) ON DELETE CASCADE,
    request  BLOB NOT NULL,
    response BLOB
) STRICT;

-- What was spent, by quarter hour of the start (Unix seconds / 900) and model: whole days of any time
-- zone are sums of quarters. The writer keeps it in the transaction of the call.
CREATE TABLE spend (
    quarter             INTEGER NOT NULL,
    provider            TEXT    NOT NULL,
    model               TEXT    NOT NULL,
    calls               INTEGER NOT NULL,
    input_tokens        INTEGER NOT NULL,
    cached_input_tokens INTEGER NOT NULL,
    output_tokens       INTEGER NOT NULL,
    cost_nanos          INTEGER NOT NULL,
    unpriced_calls      INTEGER NOT NULL,
    PRIMARY KEY (quarter, provider, model)
) STRICT, WITHOUT ROWID;

-- Whom spend is for: every mixture there is of what calls are grouped by.
CREATE TABLE accounts (
    id       INTEGER PRIMARY KEY,
    provider TEXT    NOT NULL,
    model    TEXT    NOT NULL,
    origin   TEXT    NOT NULL,           -- empty, as is the status, for calls deleted before accounts were kept
    status   TEXT    NOT NULL,
    user     TEXT    NOT NULL,           -- empty if there is none, …
    route    TEXT    NOT NULL DEFAULT '', -- … as is this
    tags     TEXT    NOT NULL,           -- a JSON object, keys in order
    UNIQUE (provider, model, origin, status, user, route, tags)
) STRICT;

-- What was spent, by quarter hour and account: as `spend`, but larger, up to a row a call where every user or
-- tag is another. The writer keeps both.
CREATE TABLE ledger (
    quarter             INTEGER NOT NULL,
    account             INTEGER NOT NULL REFERENCES accounts (id),
    calls               INTEGER NOT NULL,
    input_tokens        INTEGER NOT NULL,
    cached_input_tokens INTEGER NOT NULL,
    output_tokens       INTEGER NOT NULL,
    cost_nanos          INTEGER NOT NULL,
    unpriced_calls      INTEGER NOT NULL,
    PRIMARY KEY (quarter, account)
) STRICT, WITHOUT ROWID;

-- The calls for an item of a batch. Most of the others have none.
CREATE INDEX calls_by_item ON calls (run, item) WHERE run IS NOT NULL;

-- The calls of a user, newest or oldest first. Most calls have none.
CREATE INDEX calls_by_user ON calls (user, id) WHERE user IS NOT NULL;

-- The calls with a tag.
CREATE INDEX tags_by_value ON tags (key, value);

-- Budgets: what may be spent on which calls in every period. An empty text says nothing, as in `accounts`.
CREATE TABLE budgets (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    period          TEXT    NOT NULL,        -- day, week, month, total
    provider        TEXT    NOT NULL,
    model           TEXT    NOT NULL,
    user            TEXT    NOT NULL,
    tag_key         TEXT    NOT NULL,
    tag_value       TEXT    NOT NULL,
    zone            TEXT    NOT NULL,        -- where days begin; empty for the system's time zone
    limit_nanos     INTEGER NOT NULL,
    warn_millionths INTEGER,                 -- the share of the limit at which to warn
    -- The run that it is for alone, and no longer than that goes on.
    run             INTEGER REFERENCES batch_runs (id) ON DELETE CASCADE,
    route           TEXT    NOT NULL DEFAULT ''
) STRICT;

CREATE UNIQUE INDEX budgets_by_scope ON budgets (tag_key, tag_value, user, provider, model, route, period)
    WHERE run IS NULL;
CREATE UNIQUE INDEX budgets_by_run ON budgets (run) WHERE run IS NOT NULL;

-- What has become of a budget's money, by period: the number of its first day since 1970, 0 for `total`.
CREATE TABLE budget_periods (
    budget         INTEGER NOT NULL REFERENCES budgets (id) ON DELETE CASCADE,
    period         INTEGER NOT NULL,
    spent_nanos    INTEGER NOT NULL,
    unknown_nanos  INTEGER NOT NULL,         -- of that, held for requests of which nobody knows whether they are billed
    held_nanos     INTEGER NOT NULL,         -- what the holds of live owners add up to
    unpriced_calls INTEGER NOT NULL,
    refused_nanos  INTEGER,                  -- the least that did not fit
    warned         INTEGER NOT NULL,
    PRIMARY KEY (budget, period)
) STRICT, WITHOUT ROWID;

-- Processes while they hold money. One whose heartbeat is too old is dead: its holds are swept.
CREATE TABLE owners (
    id        INTEGER PRIMARY KEY,
    pid       INTEGER NOT NULL,
    command   TEXT    NOT NULL,
    heartbeat INTEGER NOT NULL               -- milliseconds on the system's clock that never jumps
) STRICT;

-- Money held for attempts of calls under way, and what was swept, in case its owner settles after all.
CREATE TABLE holds (
    call    BLOB    NOT NULL,
    attempt INTEGER NOT NULL,
    budget  INTEGER NOT NULL REFERENCES budgets (id) ON DELETE CASCADE,
    period  INTEGER NOT NULL,
    nanos   INTEGER NOT NULL,
    owner   INTEGER REFERENCES owners (id),  -- NULL once it counts as spent
    PRIMARY KEY (call, attempt, budget)
) STRICT, WITHOUT ROWID;

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
    route      TEXT,
    PRIMARY KEY (run, item)
) STRICT, WITHOUT ROWID;

-- What is known of targets that have failed, or have asked to be left alone for a while. One that is not here
-- gives no trouble.
CREATE TABLE targets (
    provider     TEXT    NOT NULL,
    model        TEXT    NOT NULL,
    in_a_row     INTEGER NOT NULL,       -- failures since the last success
    recent       TEXT    NOT NULL,       -- JSON: [[part of time, successes, failures], …]
    since_us     INTEGER,                -- these four are NULL while the breaker is closed
    opened_us    INTEGER,
    until_us     INTEGER,
    times        INTEGER,                -- openings on end
    openings     INTEGER NOT NULL,
    closed_us    INTEGER,                -- when a probe closed it last
    failed_us    INTEGER,
    failure      TEXT,
    probe        INTEGER,                -- the process whose probe is under way; one not among the owners is dead
    clocks       TEXT    NOT NULL,       -- JSON: until when the provider wants to be left alone, by key
    PRIMARY KEY (provider, model)
) STRICT, WITHOUT ROWID;
