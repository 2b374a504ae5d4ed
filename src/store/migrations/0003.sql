-- Prices as they were applied, each once: JSON of the rates and of what chose them.
CREATE TABLE prices (
    id    INTEGER PRIMARY KEY,
    price TEXT    NOT NULL UNIQUE
) STRICT;

-- Sound is counted apart for input and output, which have rates of their own.
ALTER TABLE calls RENAME COLUMN audio_tokens TO input_audio_tokens;
ALTER TABLE calls ADD COLUMN output_audio_tokens INTEGER;
UPDATE calls SET output_audio_tokens = 0 WHERE input_tokens IS NOT NULL;

-- What each attempt used, how that is known, and what was asked for it. All are NULL where it is not known
-- what an attempt used; `price` alone where the table had none.
ALTER TABLE attempts ADD COLUMN input_tokens          INTEGER;
ALTER TABLE attempts ADD COLUMN cached_input_tokens   INTEGER;
ALTER TABLE attempts ADD COLUMN cache_write_tokens    INTEGER;
ALTER TABLE attempts ADD COLUMN cache_write_1h_tokens INTEGER;
ALTER TABLE attempts ADD COLUMN output_tokens         INTEGER;
ALTER TABLE attempts ADD COLUMN reasoning_tokens      INTEGER;
ALTER TABLE attempts ADD COLUMN input_audio_tokens    INTEGER;
ALTER TABLE attempts ADD COLUMN output_audio_tokens   INTEGER;
ALTER TABLE attempts ADD COLUMN known                 TEXT;
ALTER TABLE attempts ADD COLUMN service_tier          TEXT;
ALTER TABLE attempts ADD COLUMN price                 INTEGER REFERENCES prices (id);

-- So far, a call's usage was its last attempt's.
UPDATE attempts SET
    input_tokens = c.input_tokens,
    cached_input_tokens = c.cached_input_tokens,
    cache_write_tokens = c.cache_write_tokens,
    cache_write_1h_tokens = c.cache_write_1h_tokens,
    output_tokens = c.output_tokens,
    reasoning_tokens = c.reasoning_tokens,
    input_audio_tokens = c.input_audio_tokens,
    output_audio_tokens = c.output_audio_tokens,
    known = CASE c.cost_status WHEN 'partial' THEN 'partial' WHEN 'estimated' THEN 'counted' ELSE 'reported' END
FROM calls AS c
WHERE c.seq = attempts.call AND c.attempts = attempts.number AND c.input_tokens IS NOT NULL;

-- Whom spend is for: every mixture there is of what calls are grouped by.
CREATE TABLE accounts (
    id       INTEGER PRIMARY KEY,
    provider TEXT    NOT NULL,
    model    TEXT    NOT NULL,
    origin   TEXT    NOT NULL,           -- empty, as is the status, for calls deleted before accounts were kept
    status   TEXT    NOT NULL,
    user     TEXT    NOT NULL,           -- empty if there is none
    tags     TEXT    NOT NULL,           -- a JSON object, keys in order
    UNIQUE (provider, model, origin, status, user, tags)
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

CREATE TEMP TABLE booked AS
    SELECT started_us, provider, model, origin, status, ifnull(user, '') AS user,
        (SELECT json_group_object(key, value) FROM tags WHERE call = seq) AS tags,
        ifnull(input_tokens, 0) AS input_tokens, ifnull(cached_input_tokens, 0) AS cached_input_tokens,
        ifnull(output_tokens, 0) AS output_tokens, cost_nanos
    FROM calls;
INSERT INTO accounts (provider, model, origin, status, user, tags)
    SELECT DISTINCT provider, model, origin, status, user, tags FROM booked;
INSERT INTO ledger
    SELECT started_us / 900000000, id, count(*), sum(input_tokens), sum(cached_input_tokens),
        sum(output_tokens), ifnull(sum(cost_nanos), 0), sum(cost_nanos IS NULL)
    FROM booked JOIN accounts USING (provider, model, origin, status, user, tags)
    GROUP BY 1, 2;
DROP TABLE booked;

-- What is left is of calls that have been deleted.
CREATE TEMP TABLE remainder AS
    SELECT quarter, provider, model, calls, input_tokens, cached_input_tokens, output_tokens, cost_nanos,
        unpriced_calls
    FROM spend
    UNION ALL
    SELECT quarter, provider, model, -calls, -input_tokens, -cached_input_tokens, -output_tokens, -cost_nanos,
        -unpriced_calls
    FROM ledger JOIN accounts ON id = account;
INSERT INTO accounts (provider, model, origin, status, user, tags)
    SELECT provider, model, '', '', '', '{}' FROM remainder GROUP BY provider, model HAVING sum(calls) > 0;
INSERT INTO ledger
    SELECT quarter, id, sum(calls), sum(input_tokens), sum(cached_input_tokens), sum(output_tokens),
        sum(cost_nanos), sum(unpriced_calls)
    FROM remainder JOIN accounts USING (provider, model)
    WHERE origin = ''
    GROUP BY quarter, id HAVING sum(calls) > 0;
DROP TABLE remainder;
