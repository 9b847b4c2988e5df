-- Which migration of its schema a pod's form of a plugin needs: a schema is only taken back when no other pod needs more.
CREATE TABLE checkstack.plugin_schema_users (
    plugin_id text        COLLATE "C" NOT NULL,
    pod       text        NOT NULL,
    -- 0: none.
    migration integer     NOT NULL,
    -- Pods say again and again that they are there; one that does not is gone.
    seen_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (plugin_id, pod)
);
CREATE INDEX plugin_schema_users_pod ON checkstack.plugin_schema_users (pod);
