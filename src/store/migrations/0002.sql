-- What was kept of the bodies: full, masked, cut (one was too large), none, pruned. A body that is not kept
-- although there was one is empty.
ALTER TABLE calls ADD COLUMN bodies TEXT NOT NULL DEFAULT 'full';

-- The calls of a user, newest or oldest first. Most calls have none.
CREATE INDEX calls_by_user ON calls (user, id) WHERE user IS NOT NULL;

-- The calls with a tag.
CREATE INDEX tags_by_value ON tags (key, value);
