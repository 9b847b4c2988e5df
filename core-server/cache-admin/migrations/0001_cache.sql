-- What an admin has set of the caches. Migrations only go forward, and each must leave the release before it able to work.
CREATE TABLE plugin_cache.settings (
    id             text        COLLATE "C" PRIMARY KEY,
    value          jsonb,
    -- A replica is about to change it; others wait until then at most.
    changing_until timestamptz
);
INSERT INTO plugin_cache.settings (id) VALUES ('active');
