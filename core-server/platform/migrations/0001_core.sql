-- The core's own tables. Plugins have no rights on this schema.
--
-- Migrations only go forward, and each must leave the release before it able to work: during a
-- rollout both run on one database.

-- Plugin packages, by the SHA-256 of their bytes.
CREATE TABLE checkstack.plugin_artifacts (
    digest     text        PRIMARY KEY CHECK (digest ~ '^sha256:[0-9a-f]{64}$'),
    size       bigint      NOT NULL CHECK (size >= 0),
    -- The upload that the chunks belong to: two uploads of one digest do not wait for each other.
    content    uuid        NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE checkstack.plugin_artifact_chunks (
    content  uuid    NOT NULL REFERENCES checkstack.plugin_artifacts (content) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    position integer NOT NULL,
    bytes    bytea   NOT NULL,
    PRIMARY KEY (content, position)
);
-- Packages are compressed already.
ALTER TABLE checkstack.plugin_artifact_chunks ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- Which schema and login role belong to which plugin. A row is the lock for changing them.
CREATE TABLE checkstack.plugin_databases (
    plugin_id   text        COLLATE "C" PRIMARY KEY,
    schema_name text        NOT NULL UNIQUE,
    role_name   text        NOT NULL UNIQUE,
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- The plugins' key-value store.
CREATE TABLE checkstack.plugin_kv (
    plugin_id  text        COLLATE "C" NOT NULL,
    key        text        COLLATE "C" NOT NULL,
    value      bytea       NOT NULL,
    expires_at timestamptz,
    PRIMARY KEY (plugin_id, key)
);
CREATE INDEX plugin_kv_expires_at ON checkstack.plugin_kv (expires_at) WHERE expires_at IS NOT NULL;
