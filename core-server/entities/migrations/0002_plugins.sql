-- Entities of plugins in the sandbox. A plugin changes its tables with its own role, which has no rights on these: what is noted and told of
-- a change goes through functions that run with the rights of the server. Its role may call them, and so may its own SQL. Hence each of them
-- asks who is there (`session_user`, which no statement changes), and those that write ask for a key as well, which the server has and the
-- plugin never sees: what the server notes is what the server has read.
--
-- Every name in them is of a fixed schema, and every unqualified one of pg_catalog: the search_path of the session does not count.

-- Plugins whose roles may call them.
CREATE TABLE checkstack_entities.plugins (
    plugin_id  text  COLLATE "C" PRIMARY KEY,
    role_name  text  COLLATE "C" NOT NULL UNIQUE,
    -- SHA-256 of the key.
    key_digest bytea NOT NULL CHECK (octet_length(key_digest) = 32)
);

-- Lets the role of a plugin call the functions. Called by the server alone.
CREATE FUNCTION checkstack_entities.admit_plugin(the_plugin text, the_role text, the_key bytea) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    callable regprocedure;
BEGIN
    -- Grants on one object at the same time would fail: one replica after the other.
    PERFORM FROM checkstack_entities.sweeps FOR UPDATE;
    INSERT INTO checkstack_entities.plugins AS p (plugin_id, role_name, key_digest) VALUES (the_plugin, the_role, sha256(the_key))
    ON CONFLICT (plugin_id) DO UPDATE SET role_name = excluded.role_name, key_digest = excluded.key_digest
    WHERE (p.role_name, p.key_digest) IS DISTINCT FROM (excluded.role_name, excluded.key_digest);
    IF NOT has_schema_privilege(the_role, 'checkstack_entities', 'USAGE') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA checkstack_entities TO %I', the_role);
    END IF;
    FOR callable IN
        SELECT f.oid FROM pg_proc f WHERE f.pronamespace = 'checkstack_entities'::regnamespace AND f.prosecdef
    LOOP
        IF NOT has_function_privilege(the_role, callable, 'EXECUTE') THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', callable, the_role);
        END IF;
    END LOOP;
END $$;

-- Takes that away again, before the role is dropped. Called by the server alone.
CREATE FUNCTION checkstack_entities.dismiss_plugin(the_plugin text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    its_role text;
    callable regprocedure;
BEGIN
    PERFORM FROM checkstack_entities.sweeps FOR UPDATE;
    DELETE FROM checkstack_entities.plugins p WHERE p.plugin_id = the_plugin RETURNING p.role_name INTO its_role;
    IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = its_role) THEN
        RETURN;
    END IF;
    FOR callable IN
        SELECT f.oid FROM pg_proc f WHERE f.pronamespace = 'checkstack_entities'::regnamespace AND f.prosecdef
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %I', callable, its_role);
    END LOOP;
    EXECUTE format('REVOKE ALL ON SCHEMA checkstack_entities FROM %I', its_role);
END $$;

-- Fails unless the session is one of the plugin whose kind it is: `<plugin id>.<name>`. An id has no dot.
CREATE FUNCTION checkstack_entities.check_owner(the_kind text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    owner text;
BEGIN
    SELECT p.plugin_id INTO owner FROM checkstack_entities.plugins p
    WHERE p.role_name = session_user::text AND starts_with(the_kind, p.plugin_id || '.');
    IF owner IS NULL THEN
        RAISE insufficient_privilege USING MESSAGE = 'the kind of entities is not one of the plugin whose role this is';
    END IF;
    RETURN owner;
END $$;

-- Fails unless it is the server that calls.
CREATE FUNCTION checkstack_entities.check_server(the_kind text, the_key bytea) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    owner text := checkstack_entities.check_owner(the_kind);
BEGIN
    PERFORM FROM checkstack_entities.plugins p WHERE p.plugin_id = owner AND p.key_digest = sha256(the_key);
    IF NOT FOUND THEN
        RAISE insufficient_privilege USING MESSAGE = 'entities are changed by the server: call entities.mutate';
    END IF;
    RETURN owner;
END $$;

-- Until the transaction ends, nobody else changes the entity. The number of its newest change, a time for the next one in microseconds since
-- 1970, the transaction, and whether the entity was made for this. There are `most` entities of a kind, those included that were removed of late.
CREATE FUNCTION checkstack_entities.plugin_lock(
    the_key bytea, the_kind text, the_id text, most bigint,
    OUT number bigint, OUT moment bigint, OUT in_transaction text, OUT is_new boolean
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
    owner text := checkstack_entities.check_server(the_kind, the_key);
    changed timestamptz;
BEGIN
    IF octet_length(the_kind) > 127 OR octet_length(the_id) NOT BETWEEN 1 AND 400 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'the name of the kind or the id of the entity is too long';
    END IF;
    -- It may be removed by a sweep between two statements.
    FOR attempt IN 1 .. 5 LOOP
        SELECT e.sequence, e.changed_at, false INTO number, changed, is_new
        FROM checkstack_entities.entities e WHERE e.kind = the_kind AND e.entity_id = the_id FOR UPDATE;
        EXIT WHEN FOUND;
        IF (SELECT count(*) >= most FROM (SELECT FROM checkstack_entities.entities e WHERE e.kind = the_kind LIMIT most) AS counted) THEN
            RAISE program_limit_exceeded USING MESSAGE = 'the kind has as many entities as one may have';
        END IF;
        INSERT INTO checkstack_entities.entities (kind, entity_id, plugin_id) VALUES (the_kind, the_id, owner)
        ON CONFLICT (kind, entity_id) DO NOTHING RETURNING sequence, changed_at, true INTO number, changed, is_new;
        EXIT WHEN FOUND;
    END LOOP;
    IF number IS NULL THEN
        RAISE lock_not_available USING MESSAGE = 'the entity is being made and removed all the time';
    END IF;
    moment := (extract(epoch FROM greatest(clock_timestamp(), changed)) * 1000000)::bigint;
    in_transaction := pg_current_xact_id()::text;
END $$;

-- Whoever has the lock loses it with its transaction, which statements of the plugin may have ended in the meantime.
CREATE FUNCTION checkstack_entities.check_locked(its_transaction text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF its_transaction IS DISTINCT FROM pg_current_xact_id_if_assigned()::text THEN
        RAISE invalid_transaction_state USING MESSAGE = 'the transaction of the change has ended before the change was noted';
    END IF;
END $$;

-- Notes a change of an entity that is locked, and tells it unless there is no event to be told. Returns how many groups hear of it.
CREATE FUNCTION checkstack_entities.plugin_record(
    the_key bytea, the_kind text, the_id text, its_transaction text, its_number bigint, its_moment bigint, is_present boolean,
    fields text[], from_values text[], to_values text[], keep bigint, job text, event text, left_out text[]
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
    owner text := checkstack_entities.check_server(the_kind, the_key);
    happened timestamptz := timestamptz 'epoch' + its_moment * interval '1 microsecond';
BEGIN
    PERFORM checkstack_entities.check_locked(its_transaction);
    IF cardinality(fields) > 128 OR cardinality(fields) <> cardinality(from_values) OR cardinality(fields) <> cardinality(to_values) THEN
        RAISE invalid_parameter_value USING MESSAGE = 'the fields of the change are too many, or have no values';
    END IF;
    UPDATE checkstack_entities.entities e
    SET sequence = its_number, plugin_id = owner, present = is_present, changed_at = greatest(happened, e.changed_at)
    WHERE e.kind = the_kind AND e.entity_id = the_id AND e.sequence = its_number - 1;
    IF NOT FOUND THEN
        RAISE invalid_transaction_state USING MESSAGE = 'the change is not the next one of its entity';
    END IF;
    INSERT INTO checkstack_entities.transitions (kind, entity_id, sequence, field, from_value, to_value, transitioned_at)
    SELECT the_kind, the_id, its_number, f.field, f.from_value::json, f.to_value::json, happened
    FROM unnest(fields, from_values, to_values) AS f (field, from_value, to_value);
    DELETE FROM checkstack_entities.transitions t
    WHERE t.kind = the_kind AND t.entity_id = the_id AND t.sequence <= its_number - keep AND EXISTS (
        SELECT FROM checkstack_entities.transitions newer
        WHERE newer.kind = the_kind AND newer.entity_id = the_id AND newer.field = t.field AND newer.sequence > t.sequence);
    IF event IS NULL THEN
        RETURN 0;
    END IF;
    IF octet_length(event) > 262144 OR (event::json #>> '{payload,kind}') IS DISTINCT FROM the_kind
        OR (event::json #>> '{payload,id}') IS DISTINCT FROM the_id
        OR (event::json #>> '{payload,sequence}') IS DISTINCT FROM its_number::text THEN
        RAISE invalid_parameter_value USING MESSAGE = 'the event is not of the change';
    END IF;
    RETURN checkstack_jobs.publish('hook:automation.entity.changed', job, event::json, left_out);
END $$;

-- Leaves no trace of an entity that was locked and not changed.
CREATE FUNCTION checkstack_entities.plugin_unmake(the_key bytea, the_kind text, the_id text, its_transaction text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
BEGIN
    PERFORM checkstack_entities.check_server(the_kind, the_key);
    PERFORM checkstack_entities.check_locked(its_transaction);
    DELETE FROM checkstack_entities.entities e WHERE e.kind = the_kind AND e.entity_id = the_id AND e.sequence = 0;
END $$;

-- The newest transition of a field of an entity of the plugin: its value, when it was, and how long ago in seconds.
CREATE FUNCTION checkstack_entities.plugin_newest(the_kind text, the_id text, the_field text)
RETURNS TABLE (to_value text, moment bigint, ago double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM checkstack_entities.check_owner(the_kind);
    RETURN QUERY
    SELECT t.to_value::text, (extract(epoch FROM t.transitioned_at) * 1000000)::bigint, extract(epoch FROM now() - t.transitioned_at)::float8
    FROM checkstack_entities.transitions t
    WHERE t.kind = the_kind AND t.entity_id = the_id AND t.field = the_field ORDER BY t.sequence DESC LIMIT 1;
END $$;

-- How often a field has changed within so many seconds. That an entity comes or goes is no transition of its fields.
CREATE FUNCTION checkstack_entities.plugin_count(the_kind text, the_id text, the_field text, seconds double precision) RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM checkstack_entities.check_owner(the_kind);
    RETURN (
        SELECT count(*) FROM checkstack_entities.transitions t
        WHERE t.kind = the_kind AND t.entity_id = the_id AND t.field = the_field AND t.from_value IS NOT NULL AND t.to_value IS NOT NULL
            AND t.transitioned_at > now() - make_interval(secs => seconds));
END $$;

-- Everybody may call a new function, unless that is taken away.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA checkstack_entities FROM PUBLIC;
