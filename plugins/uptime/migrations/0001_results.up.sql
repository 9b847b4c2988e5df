CREATE TABLE results (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target text NOT NULL,
    checked_at timestamptz NOT NULL,
    up boolean NOT NULL,
    -- HTTP status; none where there was no answer.
    status integer,
    latency_ms integer NOT NULL,
    -- Why it is not up, for a person.
    problem text
);

CREATE INDEX results_by_target ON results (target, checked_at DESC);
