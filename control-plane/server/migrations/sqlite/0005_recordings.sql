-- Recordings of runs that were asked for, as they came: parts of a deflated text. Same names and
-- numbers in migrations/postgres.

CREATE TABLE recordings (
    tenant          TEXT   NOT NULL,
    device          TEXT   NOT NULL,
    run             TEXT   NOT NULL,
    request         TEXT   NOT NULL,               -- the wish that asked for it
    part            BIGINT NOT NULL,               -- from 0
    parts           BIGINT NOT NULL,
    received_ms     BIGINT NOT NULL,
    bytes           BLOB  NOT NULL,
    PRIMARY KEY (tenant, device, run, request, part)
);
CREATE INDEX recordings_by_time ON recordings (received_ms);
