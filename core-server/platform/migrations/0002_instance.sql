-- Which instance the database belongs to: one row, written by the first server that starts on it.
CREATE TABLE checkstack.instance (
    only_row   boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    -- `<namespace>/<name>`
    name       text        NOT NULL,
    claimed_at timestamptz NOT NULL DEFAULT now()
);
