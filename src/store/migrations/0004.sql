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
    warn_millionths INTEGER                  -- the share of the limit at which to warn
) STRICT;

CREATE UNIQUE INDEX budgets_by_scope ON budgets (tag_key, tag_value, user, provider, model, period);

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
