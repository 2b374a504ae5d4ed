-- Which route a call took, whether another target answered than was to, and whether nobody did.
ALTER TABLE calls ADD COLUMN route TEXT;
ALTER TABLE calls ADD COLUMN fallback_provider TEXT;
ALTER TABLE calls ADD COLUMN fallback_model TEXT;
ALTER TABLE calls ADD COLUMN degraded INTEGER NOT NULL DEFAULT 0;

-- Calls of other routes are of other accounts. What a table has to be unique by cannot be changed: it is made anew.
-- The ledger goes by the same numbers. To drop the old table would delete its rows one by one and look through the
-- whole ledger for each, if foreign keys were not off while tables are altered.
CREATE TABLE new_accounts (
    id       INTEGER PRIMARY KEY,
    provider TEXT    NOT NULL,
    model    TEXT    NOT NULL,
    origin   TEXT    NOT NULL,           -- empty, as is the status, for calls deleted before accounts were kept
    status   TEXT    NOT NULL,
    user     TEXT    NOT NULL,           -- empty if there is none
    route    TEXT    NOT NULL DEFAULT '',
    tags     TEXT    NOT NULL,           -- a JSON object, keys in order
    UNIQUE (provider, model, origin, status, user, route, tags)
) STRICT;
INSERT INTO new_accounts (id, provider, model, origin, status, user, tags)
    SELECT id, provider, model, origin, status, user, tags FROM accounts ORDER BY id;
DROP TABLE accounts;
ALTER TABLE new_accounts RENAME TO accounts;

ALTER TABLE budgets ADD COLUMN route TEXT NOT NULL DEFAULT '';
DROP INDEX budgets_by_scope;
CREATE UNIQUE INDEX budgets_by_scope ON budgets (tag_key, tag_value, user, provider, model, route, period)
    WHERE run IS NULL;

ALTER TABLE batch_items ADD COLUMN route TEXT;
