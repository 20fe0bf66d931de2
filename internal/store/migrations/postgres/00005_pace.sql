-- +goose Up
-- +goose StatementBegin
-- What makes claims cheap, and what a task need not be read again for. Times are microseconds since
-- 1970 in UTC; 0 means "none".

-- An older replica may be at work: see 00004_hands.sql.
SET LOCAL statement_timeout = 0;
SET LOCAL lock_timeout = 0;
SELECT pg_advisory_xact_lock(1920234105);
LOCK TABLE tasks, targets, attempts, ticks, actions;

-- An attempt is open as long as it is not settled. Indices that say it so are not touched by an answer,
-- which changes the state of an open attempt to another.
UPDATE attempts SET settled_at = CASE WHEN answered_at > 0 THEN answered_at ELSE claimed_at END
    WHERE settled_at = 0 AND state NOT IN ('claimed', 'accepted', 'unknown');
UPDATE attempts SET settled_at = 0 WHERE settled_at > 0 AND state IN ('claimed', 'accepted', 'unknown');
DROP INDEX attempts_open_device;
CREATE UNIQUE INDEX attempts_open_device ON attempts (project_id, device_id) WHERE settled_at = 0 AND device_id <> '*';
DROP INDEX attempts_open_whole;
CREATE UNIQUE INDEX attempts_open_whole ON attempts (project_id, task_id) WHERE settled_at = 0 AND device_id = '*';
DROP INDEX attempts_open_task;
CREATE INDEX attempts_open_task ON attempts (project_id, task_id, device_id) WHERE settled_at = 0;
DROP INDEX attempts_state;
CREATE INDEX attempts_state ON attempts (state, claimed_at) WHERE settled_at > 0;
DROP INDEX attempts_sweep; -- attempts_made finds those of a sweep: none is claimed before its tick
-- Whether any attempt of a task was ever seen in motion is asked for whenever one has failed.
CREATE INDEX attempts_moved ON attempts (project_id, task_id) WHERE motion_seen OR state = 'recovered';

-- How a task stood when all of its sub-tasks had been read and nothing was left to do about them, and
-- until when that holds at the longest.
ALTER TABLE tasks ADD COLUMN pass TEXT NOT NULL DEFAULT '';
ALTER TABLE tasks ADD COLUMN pass_until BIGINT NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN changes BIGINT NOT NULL DEFAULT 0; -- that end a pass: claims, and what was forgiven
-- Its successes when its failed targets had last been looked at for ones that others have resolved.
ALTER TABLE tasks ADD COLUMN looked BIGINT NOT NULL DEFAULT 0;

-- What came of the retries that a person asked for: a request is kept for a while, and the action for good.
ALTER TABLE actions ADD COLUMN request BIGINT NOT NULL DEFAULT 0;    -- to retry, that it asked for
ALTER TABLE actions ADD COLUMN outcome TEXT NOT NULL DEFAULT ''; -- what that came to, in words
-- +goose StatementEnd
