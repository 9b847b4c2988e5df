-- The newest time at which a process has looked at the clock, so that a clock that has been set is noticed. A release that does not know it
-- does not look: whoever looks then finds that nobody has for a while.
CREATE TABLE checkstack_jobs.clock (
    only_row boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    seen     timestamptz NOT NULL DEFAULT now()
);
INSERT INTO checkstack_jobs.clock DEFAULT VALUES;
