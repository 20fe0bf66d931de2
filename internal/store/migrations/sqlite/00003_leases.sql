-- +goose Up
-- +goose StatementBegin
-- Who drives a budget: the calls of its connections. Times are microseconds since 1970 in UTC;
-- 0 means "none".

CREATE TABLE leases (
    budget      TEXT    PRIMARY KEY,
    token       INTEGER NOT NULL,            -- rises whenever the budget changes hands
    holder      TEXT    NOT NULL DEFAULT '', -- id of a replica; empty = nobody
    acquired_at INTEGER NOT NULL DEFAULT 0,
    renewed_at  INTEGER NOT NULL DEFAULT 0,
    expires_at  INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE replicas (
    id          TEXT    PRIMARY KEY,
    host        TEXT    NOT NULL,
    version     TEXT    NOT NULL,
    config_hash TEXT    NOT NULL,
    budgets     TEXT    NOT NULL, -- in its configuration, each with the identities of its connections, JSON
    started_at  INTEGER NOT NULL,
    seen_at     INTEGER NOT NULL
);

-- Under which lease an attempt was claimed: whoever takes the budget over takes it over.
ALTER TABLE attempts ADD COLUMN budget TEXT NOT NULL DEFAULT '';
ALTER TABLE attempts ADD COLUMN token INTEGER NOT NULL DEFAULT 0;
CREATE INDEX attempts_claimed ON attempts (budget) WHERE state = 'claimed';

DELETE FROM meta WHERE key = 'alive_at'; -- a lease knows it
INSERT INTO meta (key, value) SELECT 'announced', '' FROM meta WHERE key = 'created_at'; -- it is not new
-- +goose StatementEnd
