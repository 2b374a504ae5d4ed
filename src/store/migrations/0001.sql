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
    input_tokens          INTEGER,           -- all seven are NULL where usage is not known
    cached_input_tokens   INTEGER,
    cache_write_tokens    INTEGER,
    cache_write_1h_tokens INTEGER,
    output_tokens         INTEGER,
    reasoning_tokens      INTEGER,
    audio_tokens          INTEGER,
    cost_nanos            INTEGER,           -- nano-dollars; NULL where not known
    cost_status           TEXT    NOT NULL,
    price_version         TEXT,
    latency_ms            INTEGER NOT NULL,
    first_token_ms        INTEGER,
    finish_reason         TEXT,
    error_kind            TEXT,
    error_status          INTEGER,
    error_message         TEXT,
    error_retryable       INTEGER
) STRICT;

CREATE TABLE attempts (
    call         INTEGER NOT NULL REFERENCES calls (seq) ON DELETE CASCADE,
    number       INTEGER NOT NULL,
    provider     TEXT    NOT NULL,
    model        TEXT    NOT NULL,
    offset_ms    INTEGER NOT NULL,
    duration_ms  INTEGER NOT NULL,
    failure_kind TEXT,
    status       INTEGER,
    code         TEXT,
    message      TEXT,
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
