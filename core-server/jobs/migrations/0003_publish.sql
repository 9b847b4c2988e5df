-- Publishes a job, for functions of other schemas that run with this schema's rights on behalf of a role that has none: see
-- `QueueManager::draft`. The same as the statement of `postgres/publish.rs`. Returns how many groups get it.
CREATE FUNCTION checkstack_jobs.publish(the_queue text, the_job text, the_data json, left_out text[]) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    added bigint;
BEGIN
    INSERT INTO checkstack_jobs.deliveries (queue, group_name, job_id, data, priority, enqueued_at, run_at)
    SELECT the_queue, g.group_name, the_job, the_data, 0, statement_timestamp(), statement_timestamp()
    FROM checkstack_jobs.groups g WHERE g.queue = the_queue AND g.group_name <> ALL (left_out);
    GET DIAGNOSTICS added = ROW_COUNT;
    IF added > 0 THEN
        PERFORM pg_notify('checkstack_jobs', 'q' || the_queue);
    END IF;
    RETURN added;
END $$;
REVOKE ALL ON FUNCTION checkstack_jobs.publish(text, text, json, text[]) FROM PUBLIC;
