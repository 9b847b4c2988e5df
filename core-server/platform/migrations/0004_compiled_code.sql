-- Native code of artifacts, so that a new pod need not compile. It is authenticated by whoever uses it.
CREATE TABLE checkstack.compiled_code (
    digest    text        NOT NULL REFERENCES checkstack.plugin_artifacts (digest) ON DELETE CASCADE,
    -- What it was compiled for: the engine's release and settings, and the processor.
    target    text        NOT NULL,
    code      bytea       NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (digest, target)
);
-- It is read as a whole.
ALTER TABLE checkstack.compiled_code ALTER COLUMN code SET STORAGE EXTERNAL;
