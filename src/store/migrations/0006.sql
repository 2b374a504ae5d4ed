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
