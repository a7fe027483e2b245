-- Secrets: values encrypted with the key in `pki/secrets.key`, and who holds which. Same names and
-- numbers in migrations/sqlite.

CREATE TABLE secrets (
    tenant          TEXT   NOT NULL,
    name            TEXT   NOT NULL,
    version         BIGINT NOT NULL,               -- counts up, also across a deletion
    value           BYTEA,                         -- nonce, ciphertext, tag; NULL: deleted
    updated_ms      BIGINT NOT NULL,
    updated_by      TEXT   NOT NULL,
    PRIMARY KEY (tenant, name)
);

CREATE TABLE device_secrets (
    tenant          TEXT   NOT NULL,
    device          TEXT   NOT NULL,
    name            TEXT   NOT NULL,
    wanted          BIGINT,                        -- version of the newest desired state; 0: no value; NULL: not declared
    held            BIGINT,                        -- version the device says it has; NULL: none
    state           TEXT,                          -- what it says of it
    PRIMARY KEY (tenant, device, name)
);
CREATE INDEX device_secrets_by_name ON device_secrets (tenant, name);

CREATE TABLE sealing_keys (      -- what each device's secrets are sealed to
    tenant          TEXT   NOT NULL,
    device          TEXT   NOT NULL,
    public_key      TEXT   NOT NULL,               -- X25519, 64 hexadecimal digits
    told_ms         BIGINT NOT NULL,
    PRIMARY KEY (tenant, device)
);
