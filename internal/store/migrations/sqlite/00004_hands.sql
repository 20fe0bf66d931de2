-- +goose Up
-- +goose StatementBegin
-- What people see, do and are told. Times are microseconds since 1970 in UTC; 0 means "none".

-- A ledger is known by more than where it is: another machine can have one at the same place.
INSERT INTO meta (key, value) VALUES ('id', lower(hex(randomblob(8))));

-- One that had recovered and read Fail again later kept the end of its recovery: it comes to another one yet.
UPDATE targets SET closed_outcome = '', closed_n = -1 WHERE state = 'failed' AND closed_outcome = 'recovered' AND closed_n = counted;

-- Why a target failed last, as far as that was read, and what its end was for.
ALTER TABLE targets ADD COLUMN cause_code TEXT NOT NULL DEFAULT '';
ALTER TABLE targets ADD COLUMN cause_text TEXT NOT NULL DEFAULT '';
ALTER TABLE targets ADD COLUMN rule TEXT NOT NULL DEFAULT '';
ALTER TABLE targets ADD COLUMN class TEXT NOT NULL DEFAULT '';
ALTER TABLE targets ADD COLUMN closed_detail TEXT NOT NULL DEFAULT '';
-- What it has come to: an end is only one until the target is retried once more, or forgiven.
ALTER TABLE targets ADD COLUMN ended TEXT GENERATED ALWAYS AS (CASE WHEN closed_n = counted THEN closed_outcome ELSE '' END) VIRTUAL;
CREATE INDEX targets_ended ON targets (ended, project_id, task_id, device_id);

-- How many targets of a task have come to each end: what a list of tasks can be shown by without
-- counting them. A whole task, device '*', is none.
CREATE TABLE ends (
    project_id TEXT NOT NULL,
    task_id    TEXT NOT NULL,
    outcome    TEXT NOT NULL,
    count      INTEGER NOT NULL,
    PRIMARY KEY (project_id, task_id, outcome)
);
INSERT INTO ends SELECT project_id, task_id, ended, count(*) FROM targets WHERE ended <> '' AND device_id <> '*' GROUP BY project_id, task_id, ended;

ALTER TABLE attempts ADD COLUMN asked_by TEXT NOT NULL DEFAULT ''; -- the person who ordered it by hand
-- Lists give the newest first: of all, of those in a state, of a task, of a policy.
CREATE INDEX attempts_recent ON attempts (claimed_at);
CREATE INDEX attempts_state ON attempts (state, claimed_at) WHERE state NOT IN ('claimed', 'accepted', 'unknown');
CREATE INDEX attempts_task ON attempts (project_id, task_id, claimed_at);
CREATE INDEX attempts_made ON attempts (policy, connection, claimed_at);
DROP INDEX attempts_open_task;
CREATE INDEX attempts_open_task ON attempts (project_id, task_id, device_id)
    WHERE state IN ('claimed', 'accepted', 'unknown');

-- How the targets of a task stood when it was swept last.
ALTER TABLE tasks ADD COLUMN policy TEXT NOT NULL DEFAULT '';     -- that it belongs to: a label
ALTER TABLE tasks ADD COLUMN connection TEXT NOT NULL DEFAULT ''; -- a label
ALTER TABLE tasks ADD COLUMN counts TEXT NOT NULL DEFAULT '{}';   -- targets by reason, JSON
ALTER TABLE tasks ADD COLUMN limits TEXT NOT NULL DEFAULT '{}';   -- capped targets by limit, JSON
ALTER TABLE tasks ADD COLUMN detail TEXT NOT NULL DEFAULT '';     -- why it is closed as a whole
ALTER TABLE tasks ADD COLUMN counted_at INTEGER NOT NULL DEFAULT 0;

-- How far each task was, whenever that had changed.
CREATE TABLE progress (
    project_id TEXT    NOT NULL,
    task_id    TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    total      INTEGER NOT NULL,
    success    INTEGER NOT NULL,
    fail       INTEGER NOT NULL,
    PRIMARY KEY (project_id, task_id, at)
);
CREATE INDEX progress_at ON progress (at);
INSERT INTO progress SELECT project_id, task_id, last_seen, total, success, fail FROM tasks;

ALTER TABLE ticks ADD COLUMN limits TEXT NOT NULL DEFAULT '{}';   -- capped targets by limit, JSON
ALTER TABLE ticks ADD COLUMN sent TEXT NOT NULL DEFAULT '{}';     -- attempts by answer, JSON
ALTER TABLE ticks ADD COLUMN problems TEXT NOT NULL DEFAULT '[]'; -- why it is not complete, JSON
CREATE INDEX ticks_started ON ticks (started_at, policy, connection, tick);
CREATE INDEX ticks_policy ON ticks (policy, connection, started_at, tick);
CREATE INDEX ticks_result ON ticks (result, started_at, policy, connection, tick);
CREATE INDEX ticks_complete ON ticks (policy, connection, tick) WHERE result = 'complete';

-- Outcomes by the hour: what charts and sums are drawn from, however many attempts there are.
CREATE TABLE hours (
    hour       INTEGER NOT NULL, -- its start
    policy     TEXT    NOT NULL,
    connection TEXT    NOT NULL,
    outcome    TEXT    NOT NULL, -- of an attempt (recovered, failed, gone, rejected), or another end of a target
    n          INTEGER NOT NULL, -- counted attempts of the target by then, at most 20
    count      INTEGER NOT NULL,
    PRIMARY KEY (hour, policy, connection, outcome, n)
);
INSERT INTO hours SELECT settled_at - settled_at % 3600000000, policy, connection, state, CASE WHEN n > 20 THEN 20 ELSE n END, sum(weight)
    FROM attempts WHERE settled_at > 0 AND state IN ('recovered', 'failed', 'gone', 'rejected') GROUP BY 1, 2, 3, 4, 5;
INSERT INTO hours SELECT closed_at - closed_at % 3600000000, policy, connection, closed_outcome, CASE WHEN closed_n > 20 THEN 20 ELSE closed_n END, count(*)
    FROM targets WHERE closed_at > 0 AND closed_outcome NOT IN ('', 'recovered', 'gone') GROUP BY 1, 2, 3, 4, 5;

-- Who did it from where, to what: an action is shown beside what it changed. A key that a caller
-- has chosen makes it happen once.
ALTER TABLE actions ADD COLUMN policy TEXT NOT NULL DEFAULT '';
ALTER TABLE actions ADD COLUMN connection TEXT NOT NULL DEFAULT '';
ALTER TABLE actions ADD COLUMN project_id TEXT NOT NULL DEFAULT '';
ALTER TABLE actions ADD COLUMN task_id TEXT NOT NULL DEFAULT '';
ALTER TABLE actions ADD COLUMN device_id TEXT NOT NULL DEFAULT '';
ALTER TABLE actions ADD COLUMN key TEXT NOT NULL DEFAULT '';
ALTER TABLE actions ADD COLUMN fingerprint TEXT NOT NULL DEFAULT ''; -- of what was asked for under the key
ALTER TABLE actions ADD COLUMN answer TEXT NOT NULL DEFAULT '';      -- to it, JSON
CREATE UNIQUE INDEX actions_key ON actions (key) WHERE key <> '';
CREATE INDEX actions_task ON actions (project_id, task_id) WHERE task_id <> '';

-- What people ask of whoever drives a connection: to sweep now, or to retry targets.
CREATE TABLE requests (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT    NOT NULL, -- sweep or retry
    identity   TEXT    NOT NULL, -- of the connection
    connection TEXT    NOT NULL,
    policy     TEXT    NOT NULL,
    project_id TEXT    NOT NULL DEFAULT '',
    task_id    TEXT    NOT NULL DEFAULT '',
    body       TEXT    NOT NULL DEFAULT '{}', -- what exactly, JSON
    who        TEXT    NOT NULL,
    why        TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    until      INTEGER NOT NULL,            -- not begun after this
    state      TEXT    NOT NULL,            -- waiting, running, done, failed or expired
    taken_at   INTEGER NOT NULL DEFAULT 0,
    budget     TEXT    NOT NULL DEFAULT '', -- under whose lease
    token      INTEGER NOT NULL DEFAULT 0,
    ended_at   INTEGER NOT NULL DEFAULT 0,
    result     TEXT    NOT NULL DEFAULT '{}' -- JSON
);
CREATE INDEX requests_open ON requests (identity) WHERE state IN ('waiting', 'running');

-- How connections stand, as their driver says.
CREATE TABLE connections (
    identity TEXT    PRIMARY KEY,
    name     TEXT    NOT NULL,
    reason   TEXT    NOT NULL, -- why it is down; empty = it is up
    detail   TEXT    NOT NULL DEFAULT '',
    remedy   TEXT    NOT NULL DEFAULT '',
    since    INTEGER NOT NULL, -- of this state
    until    INTEGER NOT NULL DEFAULT 0 -- nothing is tried before
);

-- What people are to be told, and how far each receiver has been told.
CREATE TABLE notices (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    event      TEXT    NOT NULL,
    policy     TEXT    NOT NULL DEFAULT '',
    connection TEXT    NOT NULL DEFAULT '',
    project_id TEXT    NOT NULL DEFAULT '',
    task_id    TEXT    NOT NULL DEFAULT '',
    device_id  TEXT    NOT NULL DEFAULT '',
    attempts   INTEGER NOT NULL DEFAULT 0,
    detail     TEXT    NOT NULL DEFAULT '',
    code       TEXT    NOT NULL DEFAULT '',
    text       TEXT    NOT NULL DEFAULT '',
    rule       TEXT    NOT NULL DEFAULT '', -- the cause of that
    class      TEXT    NOT NULL DEFAULT '',
    hash       TEXT    NOT NULL DEFAULT '', -- of the policy, where a task awaits approval
    approved   INTEGER NOT NULL DEFAULT 0   -- it has been since, whatever came of that
);
CREATE INDEX notices_at ON notices (at);
CREATE INDEX notices_awaiting ON notices (project_id, task_id) WHERE event = 'awaiting_approval';
CREATE TABLE receivers (
    name       TEXT    PRIMARY KEY,
    sent       INTEGER NOT NULL,            -- notices up to this one are dealt with
    first_id   INTEGER NOT NULL DEFAULT 0,  -- notice of the digest that is being sent; 0 = none is
    last_id    INTEGER NOT NULL DEFAULT 0,  -- notice of that digest
    tries      INTEGER NOT NULL DEFAULT 0,  -- of that digest
    next_at    INTEGER NOT NULL DEFAULT 0,  -- of the next
    error      TEXT    NOT NULL DEFAULT '', -- of the last
    holder     TEXT    NOT NULL DEFAULT '', -- replica that sends
    held_until INTEGER NOT NULL DEFAULT 0
);
-- +goose StatementEnd
