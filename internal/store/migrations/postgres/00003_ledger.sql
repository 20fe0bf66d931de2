-- +goose Up
-- +goose StatementBegin
-- The whole ledger as SQLite has it after migration 3; what each column means is said there.
-- Times are microseconds since 1970 in UTC; 0 means "none". Keys are ordered by their bytes, as
-- SQLite does: by a language, an upgrade of the system's library can break an index.

CREATE TABLE meta (
    key   TEXT COLLATE "C" PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE targets (
    project_id     TEXT COLLATE "C"    NOT NULL,
    task_id        TEXT COLLATE "C"    NOT NULL,
    device_id      TEXT COLLATE "C"    NOT NULL,
    task_type      TEXT    NOT NULL,
    policy         TEXT COLLATE "C"    NOT NULL,
    connection     TEXT COLLATE "C"    NOT NULL,
    last_n         BIGINT  NOT NULL,
    counted        BIGINT  NOT NULL,
    forgiven_n     BIGINT  NOT NULL DEFAULT 0,
    first_at       BIGINT  NOT NULL DEFAULT 0,
    state          TEXT    NOT NULL DEFAULT '',
    seen_at        BIGINT  NOT NULL DEFAULT 0,
    reject_code    TEXT    NOT NULL DEFAULT '',
    reject_text    TEXT    NOT NULL DEFAULT '',
    closed_outcome TEXT    NOT NULL DEFAULT '',
    closed_n       BIGINT  NOT NULL DEFAULT -1,
    closed_at      BIGINT  NOT NULL DEFAULT 0,
    refused        BOOLEAN NOT NULL DEFAULT FALSE,
    PRIMARY KEY (project_id, task_id, device_id)
);

CREATE TABLE attempts (
    project_id       TEXT COLLATE "C"    NOT NULL,
    task_id          TEXT COLLATE "C"    NOT NULL,
    device_id        TEXT COLLATE "C"    NOT NULL,
    n                BIGINT  NOT NULL,
    state            TEXT    NOT NULL,
    task_type        TEXT    NOT NULL,
    policy           TEXT COLLATE "C"    NOT NULL,
    connection       TEXT COLLATE "C"    NOT NULL,
    claimed_at       BIGINT  NOT NULL,
    send_by          BIGINT  NOT NULL,
    answered_at      BIGINT  NOT NULL DEFAULT 0,
    fail_seen_at     BIGINT  NOT NULL DEFAULT 0,
    motion_seen      BOOLEAN NOT NULL DEFAULT FALSE,
    settled_at       BIGINT  NOT NULL DEFAULT 0,
    settle           BIGINT  NOT NULL,
    stale_after      BIGINT  NOT NULL,
    wait_retry_fails BOOLEAN NOT NULL,
    detail           TEXT    NOT NULL DEFAULT '',
    code             TEXT    NOT NULL DEFAULT '',
    text             TEXT    NOT NULL DEFAULT '',
    request_id       TEXT    NOT NULL DEFAULT '',
    tick             BIGINT  NOT NULL DEFAULT 0,
    rule             TEXT    NOT NULL DEFAULT '',
    class            TEXT    NOT NULL DEFAULT '',
    weight           BIGINT  NOT NULL DEFAULT 1,
    covers           BYTEA,
    budget           TEXT COLLATE "C"    NOT NULL DEFAULT '',
    token            BIGINT  NOT NULL DEFAULT 0,
    PRIMARY KEY (project_id, task_id, device_id, n)
);

CREATE UNIQUE INDEX attempts_open_device ON attempts (project_id, device_id)
    WHERE state IN ('claimed', 'accepted', 'unknown') AND device_id <> '*';
CREATE UNIQUE INDEX attempts_open_whole ON attempts (project_id, task_id)
    WHERE state IN ('claimed', 'accepted', 'unknown') AND device_id = '*';
CREATE INDEX attempts_open_task ON attempts (project_id, task_id)
    WHERE state IN ('claimed', 'accepted', 'unknown');
CREATE INDEX attempts_claimed ON attempts (budget) WHERE state = 'claimed';
CREATE INDEX attempts_settled ON attempts (settled_at) WHERE settled_at > 0;
CREATE INDEX attempts_outcomes ON attempts (project_id, task_id, settled_at) WHERE settled_at > 0;
CREATE INDEX attempts_sweep ON attempts (policy, connection, tick);
CREATE INDEX attempts_policy ON attempts (policy, connection, settled_at) WHERE settled_at > 0;

CREATE TABLE tasks (
    project_id    TEXT COLLATE "C"   NOT NULL,
    task_id       TEXT COLLATE "C"   NOT NULL,
    name          TEXT   NOT NULL,
    type          TEXT   NOT NULL,
    status        TEXT   NOT NULL,
    total         BIGINT NOT NULL,
    success       BIGINT NOT NULL,
    fail          BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    first_seen    BIGINT NOT NULL,
    last_seen     BIGINT NOT NULL,
    identity      TEXT   NOT NULL DEFAULT '',
    app_id        TEXT   NOT NULL DEFAULT '',
    app_name      TEXT   NOT NULL DEFAULT '',
    missing_since BIGINT NOT NULL DEFAULT 0,
    gone_at       BIGINT NOT NULL DEFAULT 0,
    refusals      BIGINT NOT NULL DEFAULT 0,
    refused_as    TEXT   NOT NULL DEFAULT '',
    PRIMARY KEY (project_id, task_id)
);

CREATE TABLE policies (
    policy     TEXT COLLATE "C"   NOT NULL,
    connection TEXT COLLATE "C"   NOT NULL,
    first_seen BIGINT NOT NULL,
    PRIMARY KEY (policy, connection)
);

CREATE TABLE ticks (
    policy      TEXT COLLATE "C"   NOT NULL,
    connection  TEXT COLLATE "C"   NOT NULL,
    tick        BIGINT NOT NULL,
    started_at  BIGINT NOT NULL,
    finished_at BIGINT NOT NULL DEFAULT 0,
    result      TEXT   NOT NULL DEFAULT '',
    counts      TEXT   NOT NULL DEFAULT '{}',
    why         TEXT   NOT NULL DEFAULT '',
    states      TEXT   NOT NULL DEFAULT '{}',
    missed      BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (policy, connection, tick)
);

CREATE TABLE actions (
    id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      BIGINT NOT NULL,
    who     TEXT   NOT NULL,
    source  TEXT   NOT NULL,
    what    TEXT   NOT NULL,
    subject TEXT   NOT NULL,
    why     TEXT   NOT NULL
);

CREATE TABLE pauses (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope      TEXT   NOT NULL,
    connection TEXT COLLATE "C"   NOT NULL DEFAULT '',
    identity   TEXT   NOT NULL DEFAULT '',
    policy     TEXT COLLATE "C"   NOT NULL DEFAULT '',
    project_id TEXT COLLATE "C"   NOT NULL DEFAULT '',
    task_id    TEXT COLLATE "C"   NOT NULL DEFAULT '',
    device_id  TEXT COLLATE "C"   NOT NULL DEFAULT '',
    until      BIGINT NOT NULL DEFAULT 0,
    who        TEXT   NOT NULL,
    why        TEXT   NOT NULL,
    at         BIGINT NOT NULL,
    ended_at   BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX pauses_active ON pauses (scope) WHERE ended_at = 0;

CREATE TABLE approvals (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  TEXT COLLATE "C"   NOT NULL,
    task_id     TEXT COLLATE "C"   NOT NULL,
    policy      TEXT COLLATE "C"   NOT NULL,
    policy_hash TEXT   NOT NULL,
    targets     BIGINT NOT NULL,
    until       BIGINT NOT NULL,
    who         TEXT   NOT NULL,
    why         TEXT   NOT NULL,
    at          BIGINT NOT NULL,
    ended_at    BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX approvals_task ON approvals (project_id, task_id);

CREATE TABLE halts (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope      TEXT   NOT NULL,
    policy     TEXT COLLATE "C"   NOT NULL,
    connection TEXT COLLATE "C"   NOT NULL,
    project_id TEXT COLLATE "C"   NOT NULL,
    task_id    TEXT COLLATE "C"   NOT NULL,
    failed     BIGINT NOT NULL,
    recovered  BIGINT NOT NULL,
    at         BIGINT NOT NULL,
    until      BIGINT NOT NULL DEFAULT 0,
    ended_at   BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX halts_task ON halts (project_id, task_id);

CREATE TABLE auth_failures (
    id   BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hash TEXT COLLATE "C"    NOT NULL,
    at   BIGINT  NOT NULL,
    open BOOLEAN NOT NULL
);
CREATE INDEX auth_failures_hash ON auth_failures (hash, at);

CREATE TABLE leases (
    budget      TEXT COLLATE "C"   PRIMARY KEY,
    token       BIGINT NOT NULL,
    holder      TEXT   NOT NULL DEFAULT '',
    acquired_at BIGINT NOT NULL DEFAULT 0,
    renewed_at  BIGINT NOT NULL DEFAULT 0,
    expires_at  BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE replicas (
    id          TEXT COLLATE "C"   PRIMARY KEY,
    host        TEXT   NOT NULL,
    version     TEXT   NOT NULL,
    config_hash TEXT   NOT NULL,
    budgets     TEXT   NOT NULL,
    started_at  BIGINT NOT NULL,
    seen_at     BIGINT NOT NULL
);
-- +goose StatementEnd
