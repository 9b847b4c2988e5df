-- What the platform knows of entities besides their state, which is with their owners. Migrations only go forward, and each must leave the
-- release before it able to work: during a rollout both run on one database.

-- An entity that has changed. Who changes it holds the lock of its row.
CREATE TABLE checkstack_entities.entities (
    kind       text        COLLATE "C" NOT NULL,
    entity_id  text        COLLATE "C" NOT NULL,
    -- Whose kind it is.
    plugin_id  text        COLLATE "C" NOT NULL,
    -- Of its newest change. 0: none was made yet.
    sequence   bigint      NOT NULL DEFAULT 0,
    -- False: it was removed, or is just being made.
    present    boolean     NOT NULL DEFAULT false,
    -- Never goes back.
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, entity_id)
) WITH (fillfactor = 70);
CREATE INDEX entities_removed ON checkstack_entities.entities (changed_at) WHERE NOT present;

-- A field that has changed.
CREATE TABLE checkstack_entities.transitions (
    kind            text        COLLATE "C" NOT NULL,
    entity_id       text        COLLATE "C" NOT NULL,
    -- Of the change.
    sequence        bigint      NOT NULL,
    field           text        COLLATE "C" NOT NULL,
    -- NULL: the entity was not there before, or is not there afterwards. A field without a value is the JSON null.
    from_value      json,
    to_value        json,
    transitioned_at timestamptz NOT NULL,
    PRIMARY KEY (kind, entity_id, field, sequence),
    FOREIGN KEY (kind, entity_id) REFERENCES checkstack_entities.entities ON DELETE CASCADE
);
CREATE INDEX transitions_age ON checkstack_entities.transitions (transitioned_at);

-- When old history was last deleted: one replica at a time does it.
CREATE TABLE checkstack_entities.sweeps (
    singleton boolean     PRIMARY KEY DEFAULT true CHECK (singleton),
    swept_at  timestamptz NOT NULL
);
INSERT INTO checkstack_entities.sweeps (swept_at) VALUES ('-infinity');
