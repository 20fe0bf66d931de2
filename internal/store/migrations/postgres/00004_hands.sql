-- +goose Up
-- What people see, do and are told, as SQLite has it. Times are microseconds since 1970 in UTC; 0 means "none".

-- Why a target failed last, as far as that was read, and what its end was for.
ALTER TABLE targets ADD COLUMN cause_code TEXT NOT NULL DEFAULT '';
ALTER TABLE targets ADD COLUMN cause_text TEXT NOT NULL DEFAULT '';
ALTER TABLE targets ADD COLUMN rule TEXT NOT NULL DEFAULT '';
ALTER TABLE targets ADD COLUMN class TEXT NOT NULL DEFAULT '';
ALTER TABLE targets ADD COLUMN closed_detail TEXT NOT NULL DEFAULT '';
CREATE INDEX targets_device ON targets (device_id);
CREATE INDEX targets_closed ON targets (closed_outcome, project_id, task_id, device_id) WHERE closed_outcome <> '';

ALTER TABLE attempts ADD COLUMN asked_by TEXT NOT NULL DEFAULT ''; -- the person who ordered it by hand
CREATE INDEX attempts_recent ON attempts (claimed_at);

-- How the targets of a task stood when it was swept last.
ALTER TABLE tasks ADD COLUMN policy TEXT COLLATE "C" NOT NULL DEFAULT '';     -- that it belongs to: a label
ALTER TABLE tasks ADD COLUMN connection TEXT COLLATE "C" NOT NULL DEFAULT ''; -- a label
ALTER TABLE tasks ADD COLUMN counts TEXT NOT NULL DEFAULT '{}';   -- targets by reason, JSON
ALTER TABLE tasks ADD COLUMN limits TEXT NOT NULL DEFAULT '{}';   -- capped targets by limit, JSON
ALTER TABLE tasks ADD COLUMN detail TEXT NOT NULL DEFAULT '';     -- why it is closed as a whole
ALTER TABLE tasks ADD COLUMN counted_at BIGINT NOT NULL DEFAULT 0;

-- How far each task was, whenever that had changed.
CREATE TABLE progress (
    project_id TEXT COLLATE "C"    NOT NULL,
    task_id    TEXT COLLATE "C"    NOT NULL,
    at         BIGINT NOT NULL,
    total      BIGINT NOT NULL,
    success    BIGINT NOT NULL,
    fail       BIGINT NOT NULL,
    PRIMARY KEY (project_id, task_id, at)
);
CREATE INDEX progress_at ON progress (at);

ALTER TABLE ticks ADD COLUMN limits TEXT NOT NULL DEFAULT '{}';   -- capped targets by limit, JSON
ALTER TABLE ticks ADD COLUMN sent TEXT NOT NULL DEFAULT '{}';     -- attempts by answer, JSON
ALTER TABLE ticks ADD COLUMN problems TEXT NOT NULL DEFAULT '[]'; -- why it is not complete, JSON
CREATE INDEX ticks_started ON ticks (started_at);

-- Outcomes by the hour: what charts and sums are drawn from, however many attempts there are.
CREATE TABLE hours (
    hour       BIGINT NOT NULL, -- its start
    policy     TEXT COLLATE "C"    NOT NULL,
    connection TEXT COLLATE "C"    NOT NULL,
    outcome    TEXT COLLATE "C"    NOT NULL, -- of an attempt (recovered, failed, gone, rejected), or the end of a target
    n          BIGINT NOT NULL, -- counted attempts of the target by then, at most 20
    count      BIGINT NOT NULL,
    PRIMARY KEY (hour, policy, connection, outcome, n)
);

-- Who did it from where, to what: an action is shown beside what it changed. A key that a caller
-- has chosen makes it happen once.
ALTER TABLE actions ADD COLUMN policy TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE actions ADD COLUMN connection TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE actions ADD COLUMN project_id TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE actions ADD COLUMN task_id TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE actions ADD COLUMN device_id TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE actions ADD COLUMN key TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE actions ADD COLUMN fingerprint TEXT NOT NULL DEFAULT ''; -- of what was asked for under the key
ALTER TABLE actions ADD COLUMN answer TEXT NOT NULL DEFAULT '';      -- to it, JSON
CREATE UNIQUE INDEX actions_key ON actions (key) WHERE key <> '';
CREATE INDEX actions_task ON actions (project_id, task_id) WHERE task_id <> '';

-- What people ask of whoever drives a connection: to sweep now, or to retry targets.
CREATE TABLE requests (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       TEXT    NOT NULL, -- sweep or retry
    identity   TEXT COLLATE "C"    NOT NULL, -- of the connection
    connection TEXT COLLATE "C"    NOT NULL,
    policy     TEXT COLLATE "C"    NOT NULL,
    project_id TEXT COLLATE "C"    NOT NULL DEFAULT '',
    task_id    TEXT COLLATE "C"    NOT NULL DEFAULT '',
    body       TEXT    NOT NULL DEFAULT '{}', -- what exactly, JSON
    who        TEXT    NOT NULL,
    why        TEXT    NOT NULL,
    at         BIGINT NOT NULL,
    until      BIGINT NOT NULL,            -- not begun after this
    state      TEXT    NOT NULL,            -- waiting, running, done, failed or expired
    taken_at   BIGINT NOT NULL DEFAULT 0,
    budget     TEXT COLLATE "C"    NOT NULL DEFAULT '', -- under whose lease
    token      BIGINT NOT NULL DEFAULT 0,
    ended_at   BIGINT NOT NULL DEFAULT 0,
    result     TEXT    NOT NULL DEFAULT '{}' -- JSON
);
CREATE INDEX requests_open ON requests (identity) WHERE state IN ('waiting', 'running');

-- How connections stand, as their driver says.
CREATE TABLE connections (
    identity TEXT COLLATE "C"    PRIMARY KEY,
    name     TEXT COLLATE "C"    NOT NULL,
    reason   TEXT    NOT NULL, -- why it is down; empty = it is up
    detail   TEXT    NOT NULL DEFAULT '',
    remedy   TEXT    NOT NULL DEFAULT '',
    since    BIGINT NOT NULL, -- of this state
    until    BIGINT NOT NULL DEFAULT 0 -- nothing is tried before
);

-- What people are to be told, and how far each receiver has been told.
CREATE TABLE notices (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         BIGINT NOT NULL,
    event      TEXT COLLATE "C"    NOT NULL,
    policy     TEXT COLLATE "C"    NOT NULL DEFAULT '',
    connection TEXT COLLATE "C"    NOT NULL DEFAULT '',
    project_id TEXT COLLATE "C"    NOT NULL DEFAULT '',
    task_id    TEXT COLLATE "C"    NOT NULL DEFAULT '',
    device_id  TEXT COLLATE "C"    NOT NULL DEFAULT '',
    attempts   BIGINT NOT NULL DEFAULT 0,
    detail     TEXT    NOT NULL DEFAULT '',
    code       TEXT    NOT NULL DEFAULT '',
    text       TEXT    NOT NULL DEFAULT ''
);
CREATE INDEX notices_at ON notices (at);
CREATE TABLE receivers (
    name       TEXT COLLATE "C"    PRIMARY KEY,
    sent       BIGINT NOT NULL,            -- notices up to this one are dealt with
    sending    BIGINT NOT NULL DEFAULT 0,  -- up to this one are in the digest that is being sent; 0 = none is
    tries      BIGINT NOT NULL DEFAULT 0,  -- of that digest
    next_at    BIGINT NOT NULL DEFAULT 0,  -- of the next
    error      TEXT    NOT NULL DEFAULT '', -- of the last
    holder     TEXT    NOT NULL DEFAULT '', -- replica that sends
    held_until BIGINT NOT NULL DEFAULT 0
);
