-- +goose Up
-- +goose StatementBegin
-- Times are microseconds since 1970 in UTC; 0 means "none".

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- What is known of one device in one task. Counts live here and not in attempts, so
-- that deleting history never lowers a count.
CREATE TABLE targets (
    project_id     TEXT    NOT NULL,
    task_id        TEXT    NOT NULL,
    device_id      TEXT    NOT NULL,
    task_type      TEXT    NOT NULL,
    policy         TEXT    NOT NULL, -- labels: names at the last change
    connection     TEXT    NOT NULL,
    last_n         INTEGER NOT NULL, -- number of the last attempt; only rises
    counted        INTEGER NOT NULL, -- attempts above forgiven_n that were not released
    forgiven_n     INTEGER NOT NULL DEFAULT 0,
    first_at       INTEGER NOT NULL DEFAULT 0, -- claim of the first counted attempt
    state          TEXT    NOT NULL DEFAULT '', -- of the last counted attempt, once answered
    seen_at        INTEGER NOT NULL DEFAULT 0, -- when it showed how it ended
    reject_code    TEXT    NOT NULL DEFAULT '',
    reject_text    TEXT    NOT NULL DEFAULT '',
    closed_outcome TEXT    NOT NULL DEFAULT '',
    closed_n       INTEGER NOT NULL DEFAULT -1, -- counted when it was closed last; -1 = never
    closed_at      INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (project_id, task_id, device_id)
);

CREATE TABLE attempts (
    project_id       TEXT    NOT NULL,
    task_id          TEXT    NOT NULL,
    device_id        TEXT    NOT NULL,
    n                INTEGER NOT NULL,
    state            TEXT    NOT NULL,
    task_type        TEXT    NOT NULL,
    policy           TEXT    NOT NULL,
    connection       TEXT    NOT NULL,
    claimed_at       INTEGER NOT NULL,
    send_by          INTEGER NOT NULL, -- after this the request can no longer be under way
    answered_at      INTEGER NOT NULL DEFAULT 0,
    fail_seen_at     INTEGER NOT NULL DEFAULT 0,
    motion_seen      INTEGER NOT NULL DEFAULT 0,
    settled_at       INTEGER NOT NULL DEFAULT 0,
    settle           INTEGER NOT NULL, -- the terms it is observed under, microseconds
    stale_after      INTEGER NOT NULL,
    wait_retry_fails INTEGER NOT NULL,
    detail           TEXT    NOT NULL DEFAULT '',
    code             TEXT    NOT NULL DEFAULT '',
    text             TEXT    NOT NULL DEFAULT '',
    request_id       TEXT    NOT NULL DEFAULT '',
    PRIMARY KEY (project_id, task_id, device_id, n)
);

-- Two upgrades of one device at once end as "Task Conflict": whatever the code above
-- gets wrong, this index does not let a second open attempt in.
CREATE UNIQUE INDEX attempts_open_device ON attempts (project_id, device_id)
    WHERE state IN ('claimed', 'accepted', 'unknown');
CREATE INDEX attempts_open_task ON attempts (project_id, task_id)
    WHERE state IN ('claimed', 'accepted', 'unknown');
CREATE INDEX attempts_settled ON attempts (settled_at) WHERE settled_at > 0;

CREATE TABLE tasks (
    project_id TEXT    NOT NULL,
    task_id    TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    type       TEXT    NOT NULL,
    status     TEXT    NOT NULL,
    total      INTEGER NOT NULL,
    success    INTEGER NOT NULL,
    fail       INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    PRIMARY KEY (project_id, task_id)
);

-- When each policy was first seen on each connection: before that no tick was missed.
CREATE TABLE policies (
    policy     TEXT    NOT NULL,
    connection TEXT    NOT NULL,
    first_seen INTEGER NOT NULL,
    PRIMARY KEY (policy, connection)
);

CREATE TABLE ticks (
    policy      TEXT    NOT NULL,
    connection  TEXT    NOT NULL,
    tick        INTEGER NOT NULL,
    started_at  INTEGER NOT NULL,
    finished_at INTEGER NOT NULL DEFAULT 0,
    result      TEXT    NOT NULL DEFAULT '',
    counts      TEXT    NOT NULL DEFAULT '{}', -- targets by reason, JSON
    PRIMARY KEY (policy, connection, tick)
);

-- What people did, and why. Rows are only ever added.
CREATE TABLE actions (
    id      INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    who     TEXT    NOT NULL,
    source  TEXT    NOT NULL,
    what    TEXT    NOT NULL,
    subject TEXT    NOT NULL,
    why     TEXT    NOT NULL
);
-- +goose StatementEnd
