-- Queues of jobs. Migrations only go forward, and each must leave the release before it able to work: during a rollout both run on
-- one database.

-- Consumer groups that have joined a queue. Each gets every job.
CREATE TABLE checkstack_jobs.groups (
    queue      text        COLLATE "C" NOT NULL,
    group_name text        COLLATE "C" NOT NULL,
    joined_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (queue, group_name)
);

-- A job, for one group.
CREATE TABLE checkstack_jobs.deliveries (
    id            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue         text        COLLATE "C" NOT NULL,
    -- '': the first group that joins.
    group_name    text        COLLATE "C" NOT NULL,
    job_id        text        COLLATE "C" NOT NULL,
    -- Whether the id was given by who enqueued it.
    named         boolean     NOT NULL DEFAULT false,
    -- The schedule that made it.
    schedule      text        COLLATE "C",
    -- No other delivery for the group may have the same: of a named job until it is first taken, of a schedule's run until it has ended.
    once_key      text        COLLATE "C",
    data          json        NOT NULL,
    priority      integer     NOT NULL,
    enqueued_at   timestamptz NOT NULL DEFAULT now(),
    -- Not to be taken earlier.
    run_at        timestamptz NOT NULL,
    -- That have failed.
    attempts      integer     NOT NULL DEFAULT 0,
    failed_reason text,
    -- The process that has it; NULL: it waits.
    owner         uuid,
    -- Counts the claims: what an older claim says does not count.
    fence         integer     NOT NULL DEFAULT 0,
    lease_until   timestamptz,
    started_at    timestamptz,
    -- Of the consumer that has it.
    max_retries   integer,
    CHECK ((owner IS NULL) = (lease_until IS NULL))
) WITH (
    -- Rows are short-lived: what is dead is to be cleared away early and often.
    fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.1
);
CREATE INDEX deliveries_waiting ON checkstack_jobs.deliveries (queue, group_name, priority DESC, run_at, id) WHERE owner IS NULL;
CREATE INDEX deliveries_active ON checkstack_jobs.deliveries (queue) WHERE owner IS NOT NULL;
CREATE INDEX deliveries_without_group ON checkstack_jobs.deliveries (queue) WHERE group_name = '';
CREATE INDEX deliveries_named ON checkstack_jobs.deliveries (queue, group_name, job_id) WHERE named;
CREATE INDEX deliveries_schedule ON checkstack_jobs.deliveries (queue, schedule) WHERE schedule IS NOT NULL;
CREATE UNIQUE INDEX deliveries_once ON checkstack_jobs.deliveries (queue, group_name, once_key) WHERE once_key IS NOT NULL;

-- Jobs that come again and again.
CREATE TABLE checkstack_jobs.schedules (
    queue       text        COLLATE "C" NOT NULL,
    schedule_id text        COLLATE "C" NOT NULL,
    -- JSON with sorted members, to be compared as text.
    definition  text        COLLATE "C" NOT NULL,
    next_run    timestamptz NOT NULL,
    set_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (queue, schedule_id)
);
CREATE INDEX schedules_next_run ON checkstack_jobs.schedules (next_run);

-- How many jobs have ended.
CREATE TABLE checkstack_jobs.counters (
    queue     text   COLLATE "C" PRIMARY KEY,
    completed bigint NOT NULL,
    failed    bigint NOT NULL
) WITH (fillfactor = 50);

-- The newest of them: the place of each comes round again.
CREATE TABLE checkstack_jobs.finished (
    queue         text        COLLATE "C" NOT NULL,
    state         text        COLLATE "C" NOT NULL,
    place         integer     NOT NULL,
    group_name    text        COLLATE "C" NOT NULL,
    job_id        text        COLLATE "C" NOT NULL,
    recurring     boolean     NOT NULL,
    enqueued_at   timestamptz NOT NULL,
    started_at    timestamptz,
    finished_at   timestamptz NOT NULL,
    attempts      integer     NOT NULL,
    failed_reason text,
    PRIMARY KEY (queue, state, place)
) WITH (fillfactor = 50);
