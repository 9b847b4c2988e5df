-- What admins set of the server's native parts: records with a version, whose secret fields are encrypted.
CREATE TABLE checkstack.plugin_configs (
    plugin_id  text        COLLATE "C" NOT NULL,
    config_id  text        COLLATE "C" NOT NULL,
    -- NULL only within the transaction that sets it for the first time.
    record     jsonb,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (plugin_id, config_id)
);
