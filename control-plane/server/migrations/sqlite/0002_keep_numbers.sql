-- Numbers that must go on whatever is deleted, and times that are ours. Same names and numbers in
-- migrations/postgres.

ALTER TABLE devices ADD COLUMN command_digest TEXT NOT NULL DEFAULT '0000000000000000'; -- of the newest command
UPDATE devices SET command_digest = COALESCE(
    (SELECT r.digest FROM requests r WHERE r.tenant = devices.tenant AND r.device = devices.id
     AND r.seq = devices.next_command - 1), '0000000000000000');

CREATE TABLE removed_devices (   -- where a device that enrols again under its old id goes on
    tenant          TEXT   NOT NULL,
    id              TEXT   NOT NULL,
    desired_revision BIGINT NOT NULL,
    next_command    BIGINT NOT NULL,
    command_digest  TEXT   NOT NULL,
    PRIMARY KEY (tenant, id)
);

ALTER TABLE deployments ADD COLUMN number BIGINT NOT NULL DEFAULT 0; -- counts up; the latest decides
UPDATE deployments SET number = (SELECT COUNT(*) FROM deployments o
    WHERE o.tenant = deployments.tenant AND o.id <= deployments.id);
CREATE UNIQUE INDEX deployments_by_number ON deployments (tenant, number);

ALTER TABLE security_events ADD COLUMN received_ms BIGINT NOT NULL DEFAULT 0; -- at_ms is the device's clock
UPDATE security_events SET received_ms = at_ms;
DROP INDEX security_events_by_time;
CREATE INDEX security_events_by_time ON security_events (tenant, received_ms, id);

ALTER TABLE parked_records ADD COLUMN digest TEXT NOT NULL DEFAULT '0000000000000000';
