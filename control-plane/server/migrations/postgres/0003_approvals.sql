-- Approvals that wait for people, over all devices. Same names and numbers in migrations/sqlite.

CREATE TABLE approvals (         -- projection: open ones only, kept in step with their runs
    tenant          TEXT   NOT NULL,
    id              TEXT   NOT NULL,               -- SHA-256 hex of device, run and step
    device          TEXT   NOT NULL,
    run             TEXT   NOT NULL,
    step            TEXT   NOT NULL,               -- path of the step instance
    workflow        TEXT   NOT NULL,
    asked_ms        BIGINT NOT NULL,               -- the device's clock
    asked           TEXT   NOT NULL,               -- JSON: prompt, roles, choices, form
    PRIMARY KEY (tenant, id)
);
CREATE INDEX approvals_by_time ON approvals (tenant, asked_ms, id);
CREATE INDEX approvals_by_run ON approvals (tenant, device, run);
