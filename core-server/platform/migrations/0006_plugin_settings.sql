-- What plugins are told while they run, by plugin, id and version of the format (platform facts §5.1).
CREATE TABLE checkstack.plugin_settings (
    plugin_id  text        COLLATE "C" NOT NULL,
    setting_id text        COLLATE "C" NOT NULL,
    -- {"version", "data", "pluginId", "migratedAt"?, "originalVersion"?}
    record     jsonb       NOT NULL,
    version    integer     GENERATED ALWAYS AS ((record ->> 'version')::integer) STORED,
    -- Of all records: none ever has one that another had.
    revision   bigint      GENERATED ALWAYS AS IDENTITY,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (plugin_id, setting_id, version),
    CONSTRAINT plugin_settings_version CHECK (version >= 1)
);
