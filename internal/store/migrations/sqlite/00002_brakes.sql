-- +goose Up
-- +goose StatementBegin
-- Who may be retried now (pauses, approvals, halts), what a failure was, and when tasks
-- and credentials were refused. Times are microseconds since 1970 in UTC; 0 means "none".

ALTER TABLE targets ADD COLUMN refused INTEGER NOT NULL DEFAULT 0; -- the last attempt's whole call was refused for it alone

ALTER TABLE attempts ADD COLUMN tick INTEGER NOT NULL DEFAULT 0; -- of the sweep that made it
ALTER TABLE attempts ADD COLUMN rule TEXT NOT NULL DEFAULT '';   -- that its failure matched
ALTER TABLE attempts ADD COLUMN class TEXT NOT NULL DEFAULT '';
ALTER TABLE attempts ADD COLUMN weight INTEGER NOT NULL DEFAULT 1; -- targets that it stands for: more than 1 for device '*'
ALTER TABLE attempts ADD COLUMN covers BLOB; -- of device '*': hashes of the devices that it re-runs

-- A whole task is one row, of device '*': several tasks of a project may have one.
DROP INDEX attempts_open_device;
CREATE UNIQUE INDEX attempts_open_device ON attempts (project_id, device_id)
    WHERE state IN ('claimed', 'accepted', 'unknown') AND device_id <> '*';
CREATE UNIQUE INDEX attempts_open_whole ON attempts (project_id, task_id)
    WHERE state IN ('claimed', 'accepted', 'unknown') AND device_id = '*';

CREATE INDEX attempts_outcomes ON attempts (project_id, task_id, settled_at) WHERE settled_at > 0;
CREATE INDEX attempts_sweep ON attempts (policy, connection, tick);
CREATE INDEX attempts_policy ON attempts (policy, connection, settled_at) WHERE settled_at > 0;

ALTER TABLE tasks ADD COLUMN identity TEXT NOT NULL DEFAULT ''; -- of the connection that listed it last
ALTER TABLE tasks ADD COLUMN app_id TEXT NOT NULL DEFAULT '';
ALTER TABLE tasks ADD COLUMN app_name TEXT NOT NULL DEFAULT '';
ALTER TABLE tasks ADD COLUMN missing_since INTEGER NOT NULL DEFAULT 0; -- first coded 404
ALTER TABLE tasks ADD COLUMN gone_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN refusals INTEGER NOT NULL DEFAULT 0;      -- retry calls refused as a whole, in a row
ALTER TABLE tasks ADD COLUMN refused_as TEXT NOT NULL DEFAULT '';      -- how the task stood then

ALTER TABLE ticks ADD COLUMN why TEXT NOT NULL DEFAULT '';         -- it was skipped
ALTER TABLE ticks ADD COLUMN states TEXT NOT NULL DEFAULT '{}';    -- tasks by state, JSON
ALTER TABLE ticks ADD COLUMN missed INTEGER NOT NULL DEFAULT 0;    -- earlier ticks that it stands for

CREATE TABLE pauses (
    id         INTEGER PRIMARY KEY,
    scope      TEXT    NOT NULL, -- all, connection, policy, task or device
    connection TEXT    NOT NULL DEFAULT '', -- name: a label
    identity   TEXT    NOT NULL DEFAULT '', -- of the connection
    policy     TEXT    NOT NULL DEFAULT '',
    project_id TEXT    NOT NULL DEFAULT '',
    task_id    TEXT    NOT NULL DEFAULT '',
    device_id  TEXT    NOT NULL DEFAULT '',
    until      INTEGER NOT NULL DEFAULT 0,  -- 0 = until it is ended
    who        TEXT    NOT NULL,
    why        TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    ended_at   INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX pauses_active ON pauses (scope) WHERE ended_at = 0;

CREATE TABLE approvals (
    id          INTEGER PRIMARY KEY,
    project_id  TEXT    NOT NULL,
    task_id     TEXT    NOT NULL,
    policy      TEXT    NOT NULL,
    policy_hash TEXT    NOT NULL,
    targets     INTEGER NOT NULL, -- at most; 0 = any number
    until       INTEGER NOT NULL,
    who         TEXT    NOT NULL,
    why         TEXT    NOT NULL,
    at          INTEGER NOT NULL,
    ended_at    INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX approvals_task ON approvals (project_id, task_id);

CREATE TABLE halts (
    id         INTEGER PRIMARY KEY,
    scope      TEXT    NOT NULL, -- task or policy
    policy     TEXT    NOT NULL, -- a label where a task is named: the halt is of the task
    connection TEXT    NOT NULL,
    project_id TEXT    NOT NULL,
    task_id    TEXT    NOT NULL, -- empty for scope policy
    failed     INTEGER NOT NULL,
    recovered  INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    until      INTEGER NOT NULL DEFAULT 0, -- 0 = until it is ended
    ended_at   INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX halts_task ON halts (project_id, task_id);

-- Calls that were, or may yet be, refused for their credentials. Whoever is about to use
-- credentials that are not proven writes a row first, so that a crash forgets none.
CREATE TABLE auth_failures (
    id   INTEGER PRIMARY KEY,
    hash TEXT    NOT NULL,
    at   INTEGER NOT NULL,
    open INTEGER NOT NULL -- the call is under way
);
CREATE INDEX auth_failures_hash ON auth_failures (hash, at);
-- +goose StatementEnd
