-- The registry: search, approval of permissions, yank and deprecation, signatures. Same names and
-- numbers in migrations/postgres.

ALTER TABLE plugins ADD COLUMN source TEXT NOT NULL DEFAULT '';          -- plugin.toml as published
ALTER TABLE plugins ADD COLUMN category TEXT NOT NULL DEFAULT '';        -- lower case
ALTER TABLE plugins ADD COLUMN tags TEXT NOT NULL DEFAULT '|';           -- |one|two|, lower case
ALTER TABLE plugins ADD COLUMN words TEXT NOT NULL DEFAULT '';           -- what is searched, lower case
ALTER TABLE plugins ADD COLUMN warnings TEXT NOT NULL DEFAULT '[]';      -- JSON: what the validator noticed
ALTER TABLE plugins ADD COLUMN unapproved TEXT NOT NULL DEFAULT '[]';    -- JSON list: permissions that wait for approval
ALTER TABLE plugins ADD COLUMN approved_by TEXT;                         -- NULL: nobody had to
ALTER TABLE plugins ADD COLUMN approved_ms BIGINT;
ALTER TABLE plugins ADD COLUMN yanked TEXT;                              -- the reason; NULL: not yanked
ALTER TABLE plugins ADD COLUMN deprecated TEXT;                          -- what to use instead; NULL: not deprecated
ALTER TABLE plugins ADD COLUMN signed_by TEXT;                           -- id of a publisher key; NULL: not signed
ALTER TABLE plugins ADD COLUMN signature TEXT;                           -- Ed25519, hexadecimal

-- Publishing approved the permissions until now.
UPDATE plugins SET approved_by = published_by, approved_ms = published_ms;
UPDATE plugins SET
    category = lower(COALESCE(json_extract(manifest, '$.category'), '')),
    tags = '|' || COALESCE((SELECT lower(group_concat(t.value, '|')) || '|'
        FROM json_each(plugins.manifest, '$.tags') t), ''),
    words = lower(name || ' ' || COALESCE(json_extract(manifest, '$.description'), '') || ' '
        || COALESCE(json_extract(manifest, '$.author'), ''));
UPDATE plugins SET words = words || ' ' || category || ' ' || tags;

CREATE TABLE publisher_keys (    -- who may sign plugins
    tenant          TEXT   NOT NULL,
    id              TEXT   NOT NULL,               -- first 16 hexadecimal digits of its SHA-256
    name            TEXT   NOT NULL,
    public_key      TEXT   NOT NULL,               -- Ed25519, 64 hexadecimal digits
    added_by        TEXT   NOT NULL,
    added_ms        BIGINT NOT NULL,
    revoked_ms      BIGINT,                        -- NULL: it is good
    PRIMARY KEY (tenant, id)
);
