-- Groups that end with the process that is in them. NULL: the group lasts until it is forgotten. A release that does not know these
-- columns makes groups that last, and enqueues for all.
ALTER TABLE checkstack_jobs.groups
    -- The process
    ADD COLUMN owner       uuid,
    -- When it is taken for gone, and the group with its jobs is removed.
    ADD COLUMN lease_until timestamptz,
    ADD CONSTRAINT groups_lease CHECK ((owner IS NULL) = (lease_until IS NULL));
CREATE INDEX groups_lease ON checkstack_jobs.groups (lease_until) WHERE lease_until IS NOT NULL;
