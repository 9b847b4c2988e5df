-- What an admin has set of the queues. Migrations only go forward, and each must leave the release before it able to work.
CREATE TABLE plugin_queue.settings (
    id             text        COLLATE "C" PRIMARY KEY,
    value          jsonb,
    -- A replica is about to change it; others wait until then at most.
    changing_until timestamptz
);
INSERT INTO plugin_queue.settings (id) VALUES ('active'), ('lag-thresholds');
