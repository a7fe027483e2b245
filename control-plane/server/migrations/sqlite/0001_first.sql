-- The first schema. Same names and numbers in migrations/postgres; types differ only in BLOB/BYTEA.
-- Ids are TEXT, times are milliseconds since 1970 UTC, flags are 0/1. The tenant is in every key.

CREATE TABLE server (            -- one row: what this database is
    id              INTEGER PRIMARY KEY CHECK (id = 1),
    generation      TEXT   NOT NULL,      -- 16 hex digits; new after a restore
    created_ms      BIGINT NOT NULL
);

CREATE TABLE users (
    tenant          TEXT   NOT NULL,
    username        TEXT   NOT NULL,
    password_hash   TEXT   NOT NULL,      -- argon2id PHC string
    role            TEXT   NOT NULL,
    disabled        BIGINT NOT NULL DEFAULT 0,
    created_ms      BIGINT NOT NULL,
    PRIMARY KEY (tenant, username)
);

CREATE TABLE sessions (
    token_hash      TEXT   NOT NULL PRIMARY KEY,   -- SHA-256 hex of the opaque token
    tenant          TEXT   NOT NULL,
    username        TEXT   NOT NULL,
    created_ms      BIGINT NOT NULL,
    expires_ms      BIGINT NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (tenant, username);

CREATE TABLE api_keys (
    tenant          TEXT   NOT NULL,
    id              TEXT   NOT NULL,
    name            TEXT   NOT NULL,
    secret_hash     TEXT   NOT NULL UNIQUE,
    role            TEXT   NOT NULL,
    created_by      TEXT   NOT NULL,
    created_ms      BIGINT NOT NULL,
    expires_ms      BIGINT NOT NULL,
    revoked         BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, id)
);

CREATE TABLE audit (
    id              TEXT   NOT NULL PRIMARY KEY,   -- time-ordered
    tenant          TEXT   NOT NULL,
    at_ms           BIGINT NOT NULL,
    actor           TEXT   NOT NULL,
    action          TEXT   NOT NULL,
    subject         TEXT   NOT NULL,
    detail          TEXT   NOT NULL                -- JSON
);
CREATE INDEX audit_by_time ON audit (tenant, at_ms);

CREATE TABLE devices (
    tenant          TEXT   NOT NULL,
    id              TEXT   NOT NULL,
    labels          TEXT   NOT NULL,               -- JSON object of texts
    enrolled_ms     BIGINT NOT NULL,
    revoked         BIGINT NOT NULL DEFAULT 0,
    certificate_fingerprint TEXT NOT NULL,         -- SHA-256 hex of the DER
    certificate_expires_ms  BIGINT NOT NULL,
    last_seen_ms    BIGINT,
    inventory       TEXT,                          -- JSON
    epoch           TEXT,                          -- current epoch, 16 hex digits
    desired_revision  BIGINT NOT NULL DEFAULT 0,   -- newest made
    desired_digest  TEXT,                          -- SHA-256 hex of desired_document
    desired_document BLOB,                         -- packed SignedDesired
    reported_revision BIGINT NOT NULL DEFAULT 0,   -- in force, as the device says
    refused         TEXT   NOT NULL DEFAULT '{}',  -- JSON: workflow -> refusal
    next_command    BIGINT NOT NULL DEFAULT 1,
    commands_acked  BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, id)
);

CREATE TABLE revoked_certificates (
    fingerprint     TEXT   NOT NULL PRIMARY KEY,
    tenant          TEXT   NOT NULL,
    device          TEXT   NOT NULL,
    revoked_ms      BIGINT NOT NULL
);

CREATE TABLE join_codes (
    code_hash       TEXT   NOT NULL PRIMARY KEY,   -- SHA-256 hex of the secret part
    tenant          TEXT   NOT NULL,
    device          TEXT   NOT NULL,
    labels          TEXT   NOT NULL,
    created_by      TEXT   NOT NULL,
    created_ms      BIGINT NOT NULL,
    expires_ms      BIGINT NOT NULL,
    used_ms         BIGINT
);

CREATE TABLE plugins (
    tenant          TEXT   NOT NULL,
    name            TEXT   NOT NULL,
    version         TEXT   NOT NULL,
    digest          TEXT   NOT NULL,
    size            BIGINT NOT NULL,
    manifest        TEXT   NOT NULL,               -- JSON
    imports         TEXT   NOT NULL,               -- JSON list
    exports         TEXT   NOT NULL,               -- JSON list
    published_by    TEXT   NOT NULL,
    published_ms    BIGINT NOT NULL,
    PRIMARY KEY (tenant, name, version)
);

CREATE TABLE blobs (             -- plugin modules by content; the object store comes later
    tenant          TEXT   NOT NULL,
    digest          TEXT   NOT NULL,
    bytes           BLOB   NOT NULL,
    PRIMARY KEY (tenant, digest)
);

CREATE TABLE workflows (
    tenant          TEXT   NOT NULL,
    name            TEXT   NOT NULL,
    revision        BIGINT NOT NULL,               -- from 1, per name
    version         TEXT   NOT NULL,
    hash            TEXT   NOT NULL,
    description     TEXT   NOT NULL,
    source          TEXT   NOT NULL,               -- as written
    canonical       TEXT   NOT NULL,
    summary         TEXT   NOT NULL,               -- JSON: steps, plugins, triggers
    created_by      TEXT   NOT NULL,
    created_ms      BIGINT NOT NULL,
    PRIMARY KEY (tenant, name, revision)
);
CREATE UNIQUE INDEX workflows_by_hash ON workflows (tenant, name, hash);

CREATE TABLE deployments (
    tenant          TEXT   NOT NULL,
    id              TEXT   NOT NULL,
    workflow        TEXT   NOT NULL,
    revision        BIGINT NOT NULL,
    pins            TEXT   NOT NULL,               -- JSON: plugin reference -> name and version
    previous_revision BIGINT,
    previous_pins   TEXT,
    target          TEXT   NOT NULL,               -- JSON Target
    created_by      TEXT   NOT NULL,
    created_ms      BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);

CREATE TABLE deployment_devices (                  -- what each deployment resolved to
    tenant          TEXT   NOT NULL,
    deployment      TEXT   NOT NULL,
    device          TEXT   NOT NULL,
    workflow        TEXT   NOT NULL,
    desired_revision BIGINT NOT NULL,              -- first desired revision that holds it
    PRIMARY KEY (tenant, deployment, device)
);
CREATE INDEX deployment_devices_by_device ON deployment_devices (tenant, device);

CREATE TABLE requests (                            -- wishes to devices; also the command log
    tenant          TEXT   NOT NULL,
    id              TEXT   NOT NULL,
    device          TEXT   NOT NULL,
    seq             BIGINT,                        -- number in the device's commands lane; NULL
                                                   -- where that was before a restore
    digest          TEXT   NOT NULL,               -- running lane digest, 16 hex digits
    body            BLOB   NOT NULL,               -- packed CommandRecord
    created_by      TEXT   NOT NULL,
    created_ms      BIGINT NOT NULL,
    run             TEXT,
    refusal         TEXT,                          -- JSON
    answered_ms     BIGINT,
    PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX requests_by_seq ON requests (tenant, device, seq);

CREATE TABLE lanes (                               -- where we stand in each lane of each device
    tenant          TEXT   NOT NULL,
    device          TEXT   NOT NULL,
    epoch           TEXT   NOT NULL,
    lane            TEXT   NOT NULL,
    upto            BIGINT NOT NULL DEFAULT 0,     -- contiguous and committed
    ranges          TEXT   NOT NULL DEFAULT '[]',  -- JSON: committed ranges above upto, ascending
    received        BIGINT NOT NULL DEFAULT 0,     -- records that really came, each counted once
    digest          TEXT   NOT NULL DEFAULT '0000000000000000',  -- of record upto
    announced       BIGINT NOT NULL DEFAULT 0,     -- highest number the device said it has
    repeated        BIGINT NOT NULL DEFAULT 0,     -- records that came again
    dropped         BIGINT NOT NULL DEFAULT 0,     -- records a quota removed on the device
    first_seen_ms   BIGINT NOT NULL,
    PRIMARY KEY (tenant, device, epoch, lane)
);

CREATE TABLE results (                             -- one row a settled run, exactly once
    tenant          TEXT   NOT NULL,
    device          TEXT   NOT NULL,
    epoch           TEXT   NOT NULL,
    seq             BIGINT NOT NULL,
    digest          TEXT   NOT NULL,
    run             TEXT   NOT NULL,
    workflow        TEXT   NOT NULL,
    version         TEXT   NOT NULL,
    status          TEXT   NOT NULL,
    trigger_id      TEXT   NOT NULL,
    request         TEXT,
    accepted_ms     BIGINT NOT NULL,
    settled_ms      BIGINT NOT NULL,
    received_ms     BIGINT NOT NULL,
    result          TEXT   NOT NULL,               -- JSON RunResult
    PRIMARY KEY (tenant, device, epoch, seq)
);
CREATE INDEX results_by_run ON results (tenant, run);
CREATE INDEX results_by_time ON results (tenant, received_ms);

CREATE TABLE run_events (
    tenant          TEXT   NOT NULL,
    device          TEXT   NOT NULL,
    run             TEXT   NOT NULL,
    seq             BIGINT NOT NULL,               -- among the run's events
    at_ms           BIGINT NOT NULL,
    received_ms     BIGINT NOT NULL,
    body            BLOB   NOT NULL,               -- packed RunEventRecord
    PRIMARY KEY (tenant, device, run, seq)
);
CREATE INDEX run_events_by_time ON run_events (tenant, received_ms);

CREATE TABLE runs (                                -- projection: the list of executions
    tenant          TEXT   NOT NULL,
    device          TEXT   NOT NULL,
    id              TEXT   NOT NULL,
    number          BIGINT NOT NULL,
    workflow        TEXT   NOT NULL,
    version         TEXT   NOT NULL,
    status          TEXT   NOT NULL,
    trigger_id      TEXT   NOT NULL,
    request         TEXT,
    accepted_ms     BIGINT,
    settled_ms      BIGINT,
    updated_ms      BIGINT NOT NULL,
    error           TEXT,                          -- JSON RunError
    fold            TEXT,                          -- JSON Run without settled steps, until settled
    PRIMARY KEY (tenant, device, id)
);
CREATE INDEX runs_by_time ON runs (tenant, updated_ms);
CREATE INDEX runs_by_workflow ON runs (tenant, workflow, updated_ms);

CREATE TABLE security_events (
    id              TEXT   NOT NULL PRIMARY KEY,
    tenant          TEXT   NOT NULL,
    device          TEXT   NOT NULL,
    at_ms           BIGINT NOT NULL,
    code            TEXT   NOT NULL,
    message         TEXT   NOT NULL
);
CREATE INDEX security_events_by_time ON security_events (tenant, at_ms);

CREATE TABLE idempotency (       -- answers to requests that carried an Idempotency-Key
    tenant          TEXT   NOT NULL,
    actor           TEXT   NOT NULL,
    idempotency_key TEXT   NOT NULL,
    request_hash    TEXT   NOT NULL,               -- SHA-256 hex of method, path and body
    status          BIGINT NOT NULL,
    response        TEXT   NOT NULL,
    created_ms      BIGINT NOT NULL,
    PRIMARY KEY (tenant, actor, idempotency_key)
);
CREATE INDEX idempotency_by_time ON idempotency (created_ms);

CREATE TABLE parked_records (                      -- records this version cannot read; kept, never dropped
    tenant          TEXT   NOT NULL,
    device          TEXT   NOT NULL,
    epoch           TEXT   NOT NULL,
    lane            TEXT   NOT NULL,
    seq             BIGINT NOT NULL,
    reason          TEXT   NOT NULL,
    body            BLOB   NOT NULL,
    received_ms     BIGINT NOT NULL,
    PRIMARY KEY (tenant, device, epoch, lane, seq)
);
