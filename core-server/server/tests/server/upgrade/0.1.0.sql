-- handed out: {"ada":"e735e923-7738-47fd-85e8-b92d88e01a49","cookie":"checkstack.session_token=GBGHy5DjOBWLzhFd6TKugfK2kNmKEyHxFJn_L_Ea6oQ","digest":"sha256:65aa47d591ec502e8186ed92d708226ba0a932225b63aa935ff6e423bf975770","key":"ck_1cc089bf-d366-4351-8082-6e7cd317b88a_1mBFBb9Oi6yVKh6XC7LOgoKEdqVOShBT","keyIds":["91981042-c76e-4c25-8ae9-98bbeeb89eae"],"team":"ed16480d-8414-448a-bf15-27db312e302e"}
--
-- PostgreSQL database dump
--


-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: checkstack; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA checkstack;


--
-- Name: checkstack_entities; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA checkstack_entities;


--
-- Name: checkstack_jobs; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA checkstack_jobs;


--
-- Name: plugin_auth; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA plugin_auth;


--
-- Name: plugin_cache; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA plugin_cache;


--
-- Name: plugin_notes; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA plugin_notes;


--
-- Name: plugin_queue; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA plugin_queue;


--
-- Name: plugin_secrets; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA plugin_secrets;


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: compiled_code; Type: TABLE; Schema: checkstack; Owner: -
--

CREATE TABLE checkstack.compiled_code (
    digest text NOT NULL,
    target text NOT NULL,
    code bytea NOT NULL,
    stored_at timestamp with time zone DEFAULT now() NOT NULL
);
ALTER TABLE ONLY checkstack.compiled_code ALTER COLUMN code SET STORAGE EXTERNAL;


--
-- Name: core_migrations; Type: TABLE; Schema: checkstack; Owner: -
--

CREATE TABLE checkstack.core_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);


--
-- Name: instance; Type: TABLE; Schema: checkstack; Owner: -
--

CREATE TABLE checkstack.instance (
    only_row boolean DEFAULT true NOT NULL,
    name text NOT NULL,
    claimed_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT instance_only_row_check CHECK (only_row)
);


--
-- Name: package_essentials; Type: TABLE; Schema: checkstack; Owner: -
--

CREATE TABLE checkstack.package_essentials (
    digest text NOT NULL,
    essentials bytea NOT NULL
);


--
-- Name: plugin_artifact_chunks; Type: TABLE; Schema: checkstack; Owner: -
--

CREATE TABLE checkstack.plugin_artifact_chunks (
    content uuid NOT NULL,
    "position" integer NOT NULL,
    bytes bytea NOT NULL
);
ALTER TABLE ONLY checkstack.plugin_artifact_chunks ALTER COLUMN bytes SET STORAGE EXTERNAL;


--
-- Name: plugin_artifacts; Type: TABLE; Schema: checkstack; Owner: -
--

CREATE TABLE checkstack.plugin_artifacts (
    digest text NOT NULL,
    size bigint NOT NULL,
    content uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    unneeded_since timestamp with time zone,
    CONSTRAINT plugin_artifacts_digest_check CHECK ((digest ~ '^sha256:[0-9a-f]{64}$'::text)),
    CONSTRAINT plugin_artifacts_size_check CHECK ((size >= 0))
);


--
-- Name: plugin_configs; Type: TABLE; Schema: checkstack; Owner: -
--

CREATE TABLE checkstack.plugin_configs (
    plugin_id text NOT NULL COLLATE pg_catalog."C",
    config_id text NOT NULL COLLATE pg_catalog."C",
    record jsonb,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: plugin_databases; Type: TABLE; Schema: checkstack; Owner: -
--

CREATE TABLE checkstack.plugin_databases (
    plugin_id text NOT NULL COLLATE pg_catalog."C",
    schema_name text NOT NULL,
    role_name text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: plugin_kv; Type: TABLE; Schema: checkstack; Owner: -
--

CREATE TABLE checkstack.plugin_kv (
    plugin_id text NOT NULL COLLATE pg_catalog."C",
    key text NOT NULL COLLATE pg_catalog."C",
    value bytea NOT NULL,
    expires_at timestamp with time zone
);


--
-- Name: plugin_schema_users; Type: TABLE; Schema: checkstack; Owner: -
--

CREATE TABLE checkstack.plugin_schema_users (
    plugin_id text NOT NULL COLLATE pg_catalog."C",
    pod text NOT NULL,
    migration integer NOT NULL,
    seen_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: plugin_settings; Type: TABLE; Schema: checkstack; Owner: -
--

CREATE TABLE checkstack.plugin_settings (
    plugin_id text NOT NULL COLLATE pg_catalog."C",
    setting_id text NOT NULL COLLATE pg_catalog."C",
    record jsonb NOT NULL,
    version integer GENERATED ALWAYS AS (((record ->> 'version'::text))::integer) STORED NOT NULL,
    revision bigint NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT plugin_settings_version CHECK ((version >= 1))
);


--
-- Name: plugin_settings_revision_seq; Type: SEQUENCE; Schema: checkstack; Owner: -
--

ALTER TABLE checkstack.plugin_settings ALTER COLUMN revision ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME checkstack.plugin_settings_revision_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: entities; Type: TABLE; Schema: checkstack_entities; Owner: -
--

CREATE TABLE checkstack_entities.entities (
    kind text NOT NULL COLLATE pg_catalog."C",
    entity_id text NOT NULL COLLATE pg_catalog."C",
    plugin_id text NOT NULL COLLATE pg_catalog."C",
    sequence bigint DEFAULT 0 NOT NULL,
    present boolean DEFAULT false NOT NULL,
    changed_at timestamp with time zone DEFAULT now() NOT NULL
)
WITH (fillfactor='70');


--
-- Name: migrations; Type: TABLE; Schema: checkstack_entities; Owner: -
--

CREATE TABLE checkstack_entities.migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);


--
-- Name: sweeps; Type: TABLE; Schema: checkstack_entities; Owner: -
--

CREATE TABLE checkstack_entities.sweeps (
    singleton boolean DEFAULT true NOT NULL,
    swept_at timestamp with time zone NOT NULL,
    CONSTRAINT sweeps_singleton_check CHECK (singleton)
);


--
-- Name: transitions; Type: TABLE; Schema: checkstack_entities; Owner: -
--

CREATE TABLE checkstack_entities.transitions (
    kind text NOT NULL COLLATE pg_catalog."C",
    entity_id text NOT NULL COLLATE pg_catalog."C",
    sequence bigint NOT NULL,
    field text NOT NULL COLLATE pg_catalog."C",
    from_value json,
    to_value json,
    transitioned_at timestamp with time zone NOT NULL
);


--
-- Name: counters; Type: TABLE; Schema: checkstack_jobs; Owner: -
--

CREATE TABLE checkstack_jobs.counters (
    queue text NOT NULL COLLATE pg_catalog."C",
    completed bigint NOT NULL,
    failed bigint NOT NULL
)
WITH (fillfactor='50');


--
-- Name: deliveries; Type: TABLE; Schema: checkstack_jobs; Owner: -
--

CREATE TABLE checkstack_jobs.deliveries (
    id bigint NOT NULL,
    queue text NOT NULL COLLATE pg_catalog."C",
    group_name text NOT NULL COLLATE pg_catalog."C",
    job_id text NOT NULL COLLATE pg_catalog."C",
    named boolean DEFAULT false NOT NULL,
    schedule text COLLATE pg_catalog."C",
    once_key text COLLATE pg_catalog."C",
    data json NOT NULL,
    priority integer NOT NULL,
    enqueued_at timestamp with time zone DEFAULT now() NOT NULL,
    run_at timestamp with time zone NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    failed_reason text,
    owner uuid,
    fence integer DEFAULT 0 NOT NULL,
    lease_until timestamp with time zone,
    started_at timestamp with time zone,
    max_retries integer,
    CONSTRAINT deliveries_check CHECK (((owner IS NULL) = (lease_until IS NULL)))
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_threshold='1000', autovacuum_vacuum_cost_delay='0', autovacuum_analyze_scale_factor='0.1');


--
-- Name: deliveries_id_seq; Type: SEQUENCE; Schema: checkstack_jobs; Owner: -
--

ALTER TABLE checkstack_jobs.deliveries ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME checkstack_jobs.deliveries_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: finished; Type: TABLE; Schema: checkstack_jobs; Owner: -
--

CREATE TABLE checkstack_jobs.finished (
    queue text NOT NULL COLLATE pg_catalog."C",
    state text NOT NULL COLLATE pg_catalog."C",
    place integer NOT NULL,
    group_name text NOT NULL COLLATE pg_catalog."C",
    job_id text NOT NULL COLLATE pg_catalog."C",
    recurring boolean NOT NULL,
    enqueued_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone NOT NULL,
    attempts integer NOT NULL,
    failed_reason text
)
WITH (fillfactor='50');


--
-- Name: groups; Type: TABLE; Schema: checkstack_jobs; Owner: -
--

CREATE TABLE checkstack_jobs.groups (
    queue text NOT NULL COLLATE pg_catalog."C",
    group_name text NOT NULL COLLATE pg_catalog."C",
    joined_at timestamp with time zone DEFAULT now() NOT NULL,
    owner uuid,
    lease_until timestamp with time zone,
    CONSTRAINT groups_lease CHECK (((owner IS NULL) = (lease_until IS NULL)))
);


--
-- Name: migrations; Type: TABLE; Schema: checkstack_jobs; Owner: -
--

CREATE TABLE checkstack_jobs.migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);


--
-- Name: schedules; Type: TABLE; Schema: checkstack_jobs; Owner: -
--

CREATE TABLE checkstack_jobs.schedules (
    queue text NOT NULL COLLATE pg_catalog."C",
    schedule_id text NOT NULL COLLATE pg_catalog."C",
    definition text NOT NULL COLLATE pg_catalog."C",
    next_run timestamp with time zone NOT NULL,
    set_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: access_rules; Type: TABLE; Schema: plugin_auth; Owner: -
--

CREATE TABLE plugin_auth.access_rules (
    id text NOT NULL COLLATE pg_catalog."C",
    description text NOT NULL,
    is_default boolean NOT NULL,
    is_public boolean NOT NULL
);


--
-- Name: admin_secret; Type: TABLE; Schema: plugin_auth; Owner: -
--

CREATE TABLE plugin_auth.admin_secret (
    only_row boolean DEFAULT true NOT NULL,
    username text NOT NULL,
    password_hash text NOT NULL,
    CONSTRAINT admin_secret_only_row_check CHECK (only_row)
);


--
-- Name: application_roles; Type: TABLE; Schema: plugin_auth; Owner: -
--

CREATE TABLE plugin_auth.application_roles (
    application_id uuid NOT NULL,
    role_id text NOT NULL COLLATE pg_catalog."C"
);


--
-- Name: applications; Type: TABLE; Schema: plugin_auth; Owner: -
--

CREATE TABLE plugin_auth.applications (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    name text NOT NULL,
    description text DEFAULT ''::text NOT NULL,
    secret_digest bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    last_used_at timestamp with time zone
);


--
-- Name: audit_records; Type: TABLE; Schema: plugin_auth; Owner: -
--

CREATE TABLE plugin_auth.audit_records (
    id bigint NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    actor_type text NOT NULL,
    actor_id text NOT NULL,
    actor_name text NOT NULL,
    action text NOT NULL,
    object text NOT NULL,
    details jsonb NOT NULL
);


--
-- Name: audit_records_id_seq; Type: SEQUENCE; Schema: plugin_auth; Owner: -
--

ALTER TABLE plugin_auth.audit_records ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME plugin_auth.audit_records_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: external_identities; Type: TABLE; Schema: plugin_auth; Owner: -
--

CREATE TABLE plugin_auth.external_identities (
    issuer text NOT NULL COLLATE pg_catalog."C",
    subject text NOT NULL COLLATE pg_catalog."C",
    user_id uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: migrations; Type: TABLE; Schema: plugin_auth; Owner: -
--

CREATE TABLE plugin_auth.migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);


--
-- Name: role_access_rules; Type: TABLE; Schema: plugin_auth; Owner: -
--

CREATE TABLE plugin_auth.role_access_rules (
    role_id text NOT NULL COLLATE pg_catalog."C",
    rule_id text NOT NULL COLLATE pg_catalog."C"
);


--
-- Name: roles; Type: TABLE; Schema: plugin_auth; Owner: -
--

CREATE TABLE plugin_auth.roles (
    id text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL,
    description text DEFAULT ''::text NOT NULL,
    is_system boolean DEFAULT false NOT NULL
);


--
-- Name: service_keys; Type: TABLE; Schema: plugin_auth; Owner: -
--

CREATE TABLE plugin_auth.service_keys (
    id uuid NOT NULL,
    modulus bytea NOT NULL,
    exponent bytea NOT NULL,
    sealed_private_key bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone
);


--
-- Name: sessions; Type: TABLE; Schema: plugin_auth; Owner: -
--

CREATE TABLE plugin_auth.sessions (
    token_digest bytea NOT NULL,
    user_id uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    ends_at_latest timestamp with time zone
);


--
-- Name: sign_in_attempts; Type: TABLE; Schema: plugin_auth; Owner: -
--

CREATE UNLOGGED TABLE plugin_auth.sign_in_attempts (
    address_digest bytea NOT NULL,
    attempts integer NOT NULL,
    since timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: team_applications; Type: TABLE; Schema: plugin_auth; Owner: -
--

CREATE TABLE plugin_auth.team_applications (
    team_id uuid NOT NULL,
    application_id uuid NOT NULL
);


--
-- Name: team_grants; Type: TABLE; Schema: plugin_auth; Owner: -
--

CREATE TABLE plugin_auth.team_grants (
    resource_type text NOT NULL COLLATE pg_catalog."C",
    resource_id text NOT NULL COLLATE pg_catalog."C",
    team_id uuid NOT NULL,
    can_read boolean NOT NULL,
    can_manage boolean NOT NULL
);


--
-- Name: team_only_objects; Type: TABLE; Schema: plugin_auth; Owner: -
--

CREATE TABLE plugin_auth.team_only_objects (
    resource_type text NOT NULL COLLATE pg_catalog."C",
    resource_id text NOT NULL COLLATE pg_catalog."C"
);


--
-- Name: team_users; Type: TABLE; Schema: plugin_auth; Owner: -
--

CREATE TABLE plugin_auth.team_users (
    team_id uuid NOT NULL,
    user_id uuid NOT NULL
);


--
-- Name: teams; Type: TABLE; Schema: plugin_auth; Owner: -
--

CREATE TABLE plugin_auth.teams (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    name text NOT NULL,
    description text DEFAULT ''::text NOT NULL
);


--
-- Name: user_roles; Type: TABLE; Schema: plugin_auth; Owner: -
--

CREATE TABLE plugin_auth.user_roles (
    user_id uuid NOT NULL,
    role_id text NOT NULL COLLATE pg_catalog."C",
    source text DEFAULT 'admin'::text NOT NULL COLLATE pg_catalog."C",
    CONSTRAINT user_roles_source_check CHECK ((source = ANY (ARRAY['admin'::text, 'group'::text])))
);


--
-- Name: users; Type: TABLE; Schema: plugin_auth; Owner: -
--

CREATE TABLE plugin_auth.users (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    email text NOT NULL,
    name text NOT NULL,
    password_hash text,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: migrations; Type: TABLE; Schema: plugin_cache; Owner: -
--

CREATE TABLE plugin_cache.migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);


--
-- Name: settings; Type: TABLE; Schema: plugin_cache; Owner: -
--

CREATE TABLE plugin_cache.settings (
    id text NOT NULL COLLATE pg_catalog."C",
    value jsonb,
    changing_until timestamp with time zone
);


--
-- Name: __checkstack_migrations; Type: TABLE; Schema: plugin_notes; Owner: -
--

CREATE TABLE plugin_notes.__checkstack_migrations (
    version integer NOT NULL,
    name text NOT NULL,
    hash text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL,
    additive boolean DEFAULT false NOT NULL,
    down text
);


--
-- Name: notes; Type: TABLE; Schema: plugin_notes; Owner: -
--

CREATE TABLE plugin_notes.notes (
    id integer NOT NULL,
    note text NOT NULL
);


--
-- Name: migrations; Type: TABLE; Schema: plugin_queue; Owner: -
--

CREATE TABLE plugin_queue.migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);


--
-- Name: settings; Type: TABLE; Schema: plugin_queue; Owner: -
--

CREATE TABLE plugin_queue.settings (
    id text NOT NULL COLLATE pg_catalog."C",
    value jsonb,
    changing_until timestamp with time zone
);


--
-- Name: migrations; Type: TABLE; Schema: plugin_secrets; Owner: -
--

CREATE TABLE plugin_secrets.migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);


--
-- Name: revisions; Type: SEQUENCE; Schema: plugin_secrets; Owner: -
--

CREATE SEQUENCE plugin_secrets.revisions
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: secrets; Type: TABLE; Schema: plugin_secrets; Owner: -
--

CREATE TABLE plugin_secrets.secrets (
    name text NOT NULL COLLATE pg_catalog."C",
    ciphertext text NOT NULL,
    description text DEFAULT ''::text NOT NULL,
    revision bigint DEFAULT nextval('plugin_secrets.revisions'::regclass) NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_by text NOT NULL
);


--
-- Data for Name: core_migrations; Type: TABLE DATA; Schema: checkstack; Owner: -
--

COPY checkstack.core_migrations (version, description, installed_on, success, checksum, execution_time) FROM stdin;
1	core	2026-11-23 01:32:12.998549+00	t	\\x276cead2fb9ed481655dba9ad14e1f100cb89543c7299a95d324bc81215b08225798ce1893c6657edba20b6c93d8cc0b	25790817
2	instance	2026-11-23 01:32:13.024835+00	t	\\xf6cec32cf43877a1ef16b31eb2b2bc2cd348174a2bd76d0d8c457f47f5792f9ee659f2a9b58d037187e4752efc4df07a	1412298
3	artifacts_in_use	2026-11-23 01:32:13.026404+00	t	\\xccc74b52c767090d7035e2ea527550170205126a2ea6b73b549951ecd4d2088a8661f34515409d85ade8436d01f432b6	516247
4	compiled_code	2026-11-23 01:32:13.027053+00	t	\\xa97832d053ca7273da6cfd779182538b4b9312755f3d6082ba032898e7d8bef7f0b9d6ac3aa7295cad175b7684873342	6328129
5	plugin_schema_users	2026-11-23 01:32:13.03358+00	t	\\x54c9159d1f245b0402cc5c0f1bdf9ff85559297b7a384a75ad25cb24e02a0c93f7505eac33bb65e4fb3e1f8e4e49ec1c	1385778
6	plugin_settings	2026-11-23 01:32:13.035114+00	t	\\x39fdc308681829d5638323f327ccdcd18dfe9624da0aec5ba7bf74f149e1bd915a761bfa2b2ba85e0f49b54b73342d71	1739413
7	package_essentials	2026-11-23 01:32:13.037063+00	t	\\x687331e9e5baadc1fe52f7a64d0eca47af544a9003216f6affde4bf71dbc75bec75f863aeb90c504a6b890ed2986509e	1376614
8	plugin_configs	2026-11-23 01:32:13.038558+00	t	\\x11c1f44833bd1767373b3f3bf50852c01816a7fcaac37c1b7d4431903018d652882b6c5bb90379eed6a4cfbb568ca3c9	1209386
\.


--
-- Data for Name: instance; Type: TABLE DATA; Schema: checkstack; Owner: -
--

COPY checkstack.instance (only_row, name, claimed_at) FROM stdin;
t	monitoring/main	2026-11-23 01:32:13.040057+00
\.


--
-- Data for Name: package_essentials; Type: TABLE DATA; Schema: checkstack; Owner: -
--

COPY checkstack.package_essentials (digest, essentials) FROM stdin;
sha256:65aa47d591ec502e8186ed92d708226ba0a932225b63aa935ff6e423bf975770	\\x7b22706c7567696e4964223a226e6f746573222c226e616d65223a224061636d652f6e6f746573222c2276657273696f6e223a22312e302e30222c226d6967726174696f6e73223a7b22303030315f6e6f7465732e75702e73716c223a22435245415445205441424c45206e6f7465732028696420696e7465676572205052494d415259204b45592c206e6f74652074657874204e4f54204e554c4c29227d7df3d3a2f5dbc5afcf63755f087ab7983e65c36400003a5db02454a505241c2982
\.


--
-- Data for Name: plugin_artifact_chunks; Type: TABLE DATA; Schema: checkstack; Owner: -
--

COPY checkstack.plugin_artifact_chunks (content, "position", bytes) FROM stdin;
e6be83fb-ed41-4fd8-9d27-ccd9aa4f3486	0	\\x1f8b08000000000002ffec3c5b8c24497199f5eeaa7e54f7bc67f65133b3afdbdd9ec7be0e0e90a7d65ad0c91cc66811e26bb6a7bb76b6677aba7bbbaa776ec0b7b396eec3b2b07c6721fbc35820cb960ec4071f7c20998fc33e4b6738ac95000b89fbb00d1607c6d6d94636b291ec88ccaceaeaeeeac7ec0146beadd54e556546464646464446466475b354de2d6d7bab95aa1fac366beded6a7d65bfe4ef919fe1b506d7b52b57d81dae9efb55a85b0fcb44f9faa5ab7827bf80abed07a5167449dea617cc758650a27f85d2eb166d494abdb4e7f9eabd52adedf90ad1ee78a58ad79209a14d4a9bcfd196ac01c782b6ff719d57f992b2d5a81cc80a315a9edf6cd47d4f260abd2ba54af546fd60afd1f609d1b868519f00ca72a95643941addf5694bd7f6bce04ea3e22bcd5270c757efb6bdd681d1835cb4d1b3e546abe5d54a41b5512f56a10dd15b1eb4f00399a4cc254a8e97ef78e55da0b0bcfb14ef733538687afec6dacaa5953515c0e9759deea96ad02a953db5e26db5b7956afd7643d92fb5eaaad76a355a0a516bde3daf8683ee63887abbead52a32916853a61b3287a43a80f8a047bec6aa7d85c240d5fd5635f0a86a3a942cf4d3556b6c0baaa8be48af2b748310e840def6024af0e50046770f780063a5d45ca6e4443f9272a37ebb1ae291f4697a5dc2a6fb0a49ed35ea8da051af962919c09972ad51de156d65fd0005e0aeac55bc7ad5abc054e9d53a8cba8a8f56bb5eba57aad64a5b358f4d22e714138be7e8ae4477a84c29dda0f2ae7700f562182add3da03b046b6456c3d928c94150d3880e503e4019e6194a16fbc9830645062f4854f46f82906610e7ee3e6da921730e944a2928f9207ef7aaf8be6f375a554050aa150504b1f6aadbad52e0558aa580025ba1dba05adfc669bcab248e58ad7bfb5e8b1e0c1eba42776518b706a3dc902410c6881e36321cbf8183876ab9ab9a934b5262f8a6799a12a77ff882c6507455fda144af6791df774da5deaed508d1b71a8d9a57aad343243df0b681e26741446b0d18669b2881f76c8063d93a083c9f12920aaa20a84169af0960ca8edf601ad96eb311ebf5f69ed702716183648c9761ea9a122a0162f2cd66a905ca10c03840dd536807bc3daf1e305e802acb4ab951f1fc48194c904e1f140d48d31492c5616f957caf2818a8d3bb5a87f746584d0d62b7eb7ebbd96cb470c6507fa13e15341ac55aa9b58d2f3a0ea4d10e8689660a26679f9a20941d4a5562c1ec7bcf7ae53668667a8066fa776b82e99a3623819077ac6064e3f46f812c662559a27a829504116da9a16193dbad9adf63d0c20180a6d870db6ec04c172353a6225ea3cba202b3d441aad9f24ae53b62fc31ce7471ac9b2f06e34b683b35e48ae27bf50ab0e41c25cbfd2cb91304cd62b956051e0ad6a406b3e695903566176b4044c41aa226d97c296491cc58049cc9f2ce7bf862f5f22566b27a8441bb0dcfac2261f8524aa047ddece2042e36c08953949cece704bf855a99d67f1f066b70f1379aad2a989ee0e063b0b0d44a07fba0f6d0b3de68e27ae5a3360db036ca6dd0e761c28c96c6a70aae384028ae44cc8884a825a2a25cd7591dd5cc454a8ef593bed3d80ae9cee81fa1d7d54730f7dc9a8b55516f960ec0d6547c2201dbbcbd6a40e5010b152c93f520ec3dabff218a0838093f9335667f8c358619036cad355bdeedeab3ccfeda304d60ce8a5b07455e0ac678c052091a16ae4339fd6b40bd09cc8b51afd7aa307cef91b997da6ac163b9e4030b69d387c1f400a96d1f744341d80caa6a31681459112e304a32b0d26ad73c867e366c526a83e2b5aa1f03c3ca5b6b03e4dcaf6ec30a1ace984d3f790e7d455844087d9dcedc520ff122b760e9b945e8fd5b327bd30f0f4539a187b714fea88565d661e722b7b2875d17b965b2fbfdc318a6fbf0948a81308c8099b23ff7a11b722b1dc702c58678bc0fcf3d7d4089c4feaae1ab7d78d80b22bda04d0c75d7985b47467963289c840ef7ba3a3e1a91463b400ca33c061c083c514690177a23441de97ab07eb5d160d8ad3e6c390d175e32d60ac31624628c32c1cc5a93d45073175a46628eb04ccc8691110680cfc308186486351ca6cffa1079941e76ac0419a9b3dd568228a3e0079a089296a72633d99c6d6755b8ec7c6162724acd4e5345a14df06f654a242d231d52f7c103c5821bb1f46fc86958e3f71ab0ac9374b9b455dd0427a506924f26ce27e856f5b6573e28d7046396c1892cb7aa5b1e993f331ab85a87295bb83a1ab0741b3cd7a2101e702a4a9503726c0c6afc3beda0d2d8af93e309d4345b8db25769b7c22de672ab5d272712e47bbfd1daf55a02085fc8c9b3497dfb81578fe0ee94ea959a479c0448a4bf5a074f5b803208b298402247d283f2f41a9b9566c30f36c76c72c6fc93fce4bb293d5c268ee4d2dd1d17eebb7717154771e49d5344da903796c9af101483da3319eac24ed43d7cafb241ac34b12c47819b4b1df8bf634fee58f394deb725875c7ff9f9f7dcffcd452a6fc01bbd9901d01c91375c1b5bbf0f5e419ce01d519c21ee97665cfa1421ee97671c82f79767dc07c63589b8afccb804ef5f9ab1320c8c55c3db6f10f753b3ee176dacfcccac4bf1fea7b3bcfaa559f78183059f9fe5adbf30ebbece20bf2820bf34eb3e9fc7872f0b884fcd828b68cff13f12b1be41912330d89d5330b622218b69f7a5398efef3738c5827edfe23013ec0bb2361f917e61c997532e728787f692e6701d00f38d082bbe6a83b1c0ede3820a74600fe9830aec2d34f581380fb8c2de0e4100ea9a09c0a878f6dcea12132c69b398771eecb734e0aef2f0baa5f9ab36ec2981c0907633846d89dfb900340c9bf91f7c2df37c97b5bd0fb4381ef9b73bc0c9fbf2d46f6fa9ca3c21ddb5a2f22a71c15388588b34eb60f7116117761e41401364b604b2336007cb317900a4059002a289d0b029ab3ff33b62b3baaa3b9afcedb6946d2691056d1f47971ff6dc1ad4f086e3d98b38ac4fd1e94be8b12f70d51fa239849bcbf293afcb118eff7e6ac4b04f0c3086f2887ee6bf3abd0e8e1fc39a8fa26fbfb6df6f775fc6b2fa900609fb2ac45402033e1019d02ba89abec0000dc8d1d06687ddaa45224659260a1edd86264af5247770c27e598f6124888edfe8b10a56536a65729a245c9a2a2fe0761338bf7987632a2e6af450d2bce3a39511c8a9cedfe089fec197cfc077cbcfe6e7b0a5ffe99954fe3e3d7198e07a0fff3f8ca2795d893eced3ff14dde78d8745ff81bf2d39c507220eea736637c875845f4fdefacfd77892bfe89e2ff62c52f48d04bd8086dcfcb86a8ff7b4e45580f56c905531343f093d850a1faa7ffa3bb6fe8a2eefb9c4a5742a622736de2e481ef8b79b87d5e7a1acd1480fd2547316fd310cfab6c825fe313cc50bdc1e940e113b8186f156c012d53f63203fb270443082c94b90c413b941050e6d7b8486db89f94e36c087b8d8998e8f56b1d91479c9c345be9c18b90ff11758cbdda5a04f29077fd7070d74c9a9904719176ff2e46c1df4614d86a382e3da1ff7f8dfa17441a3d1420d09b111032d2fd84ed4a6e2410217653b0f287609e6cf7abdc3c01017f60f3c20568a98847dee1f51007b4b67a792e78cbe69273588cecafba798be624615c7fd1076527407dab1bea65103204cd27807e2501f4ab7917d9651712e0bf1b97a8cc5b96a86f74774fafbf81b36967137a7e25de73ae57a0a087871dc1e9e8e3c3d09c74e6f985c1f3ecbe463bed2d83b91da7402b7f486d78362cb07b0f1cf6d7b6e4f7ddb80926ddb6a4558f0052b87f90805858b0c9a8dd06bf0040601745dccf41d11df0896095b4adf4b40164e38e173325eeabb6659f1725e11de41e4a1d7883ed3d9108bfc3ba605b96dfdedaf1cac10a43fc7cde9a6d0298959484713f15abc5ce42841cd9cb79cb084b08ccb86500ca157400c9d70db6f3a79f958e1319b6a854e39b3c4965db4c59dbbdb709db1505efb02551b3bc7a53ecfe344bece110488f5ee06e58b06ddb141bb6540a77679bb84130534dcf6b6de2a6cb0ab75569b66dcaa4d8de063165c523e0c9a5f923dfebd89d0d4cde081a9b6c7f51c8c05367d331a18badc2243c94db2ddf9bd2cb8dbd26d031ad6f614da33e035d834beafbb322c437a7541a756f492bd57d08db2f67f81d361d7ebb169c4a8b57168791bea29a132a911bb50a35e0cfa60fbd4a2ac471b6ebb2822f8a540aa660dfb257ad813fee01cb2a3e95a1c7594ae4a0b47d22435291df4fede871b3e6d5b7833b9259ad03b59b7e63cf9355f6aca479110750453a4b83f8a09eaa5644319fca94857f459169c5125e5621f62200d21ab015b6352753840706699add4252a007b9d383c2a286aac6df34a3044df79a81af5b62262b9ba5c010289d1c04ae706f4cd3ec168d6ebbd56837c5e8d8b392e645627461144a13fde8ca6eb55e312cfc2b60524097d9a1cb62234fc7479e8988cb0a7a1625c2655da05d52894845d228b89ee60f9be5461bd2123c8e2cc021ca05d37aba4044ec9966f83d1c160b45cb16fe0db965b2b8341ba9ca63d45a9a17898185fd1a5dfda658bfa6e8d712939d4ef1fb66b592b1a34781291b9fe75cc23cdb820979950fedddea844434afde686fdfa10ab07f7f8a12b5b40db996e9f061267c382d59fc21cf6faa0135018627f52c3015686f521549f2c92a0a76a55dc6c8609a09b6ef431c60eb8066f6ab4111f510f4ac1ee8b033bc7a65e512fd3d350a0bfe16cd7485057b4382bde140f52d85053b78630142b9902754921555d38d9426999266a51515d20ef9bcfe9102852c3f5d8710ec25c8fb5d8698fa15485c5d252abd06b9e8272195f00e62d0779294b4be464c697d9d58d2fa259296d62f938cb47e8564a5f5ab2427ad5f23b671aaba87f929c8aa99df91f279f0d51d70cc1d19f71d7930e429f4de699e12d88df23a57cac366642a06c9f622725e26b0e10d4b5d25af106ba20bca55f390b8eaea43cb43aae2780fae700fe0ea799d58cb036a1d0bbd7dd7c81bc45a48847153f9544f7f26f6178dc44a1c493a6fc6603208d385238b38fa5ae5f2b0c19f4ba0c3b5f3b0e73fba44be22fd3249a4542b10943b267804258fa0e811943d82c24750fa088a1f41f923288004255023288212411934090a213e5f61e5578131288769d2114414f214e8bc8b6c8f94c0b4d218ba3b321b2585e2b190ef502b3c026140482ea88299386c89dc0418ad3a2cd02daf5e3e38b0f64acf42502d68553dff206cd35578578e872f4d8c8115f99a3541b210920b4af5b2578485bf04a9ed96c4171fdf00cfa10aeecac16433bfeb370bcda99602399cc696e74f1b40001ee40866349e159bcd80d385b1439e169bbb2b65458aa6c81d9faea4a0368b19ccce0992580af37392d962497d3e8ebb4afc348b826e0b3d41ac52b359038e605ff0da39e4d2523afe81cf3d8019b10c9cec3dc2d29b359f616bf40cf4ded83d8c0a5baac8fb319af8798770813c8856ef6229d8bf2ba9c8f0034c0037bdd65e0967156992d932ec7706d552f93dcd439345b688cf747248c0d746eb74a79b4198359da2d74ad7240b223c617a442b48ac741dd6dd30d960a814f5529aa0209f2c3f12a521242d0b75722723c260a16d0e70c6f22432449a09d724fc7b19eb392e85c5dcd5b0fe0afb7bb553aff1044548ed35290398a3948411963f299950ce930fa9b0f01dbc90a51accb0f09d0283c82d589ac1ca41773934cb25a4b5699997aef3db257ebb2c2d512a33c2328cb06c7f3a2017b5bdc26f57f9ed9af435c883c7b5c9ee09f6e70707f30b84a487a5b70a7444e6a8200d4f6a15c64851159491e9a4823a2c9554d0c6492115f451d9a38231347154488d481815cce1399e82352aed52486b9721ab4b33225f02ee49cca893489f68a62b8f62180027b11318ec0925c930518564992813bc54894a95ae525f94aab1523582d5ba4a43585d94a61122541b5663889a144231c561c5a958b1c15487159b313ca95079588d156b6032ed61c5e91839564464a6ab3424322b4aa7b0b44fa118484e80a0b949775488d5d9a2ae8075dd2ac5eaf3a2fe38d60f5431065ae0a0d2a6440bf1e95c2393e0094c81f99a063f6006ccd42c780173e004cc830fb0002ec031f0008ea30370026dc649b4180eaefe8b680696d0082ce3d20ff916e825abab78de6f5e5b43db9339426ecd48418bd32840e7f494b443e802e07942bbc8f08c99766338ce208ef3dabb58c3474bc3313c67191e361e90b0b1c71366e70c0d5a9c2317944f18d1a1d609daefbc98e022e5f97cb0a36545e64ba01f70566ed25d7fb473d3878189304cb73e2b35d544d7c73c41c96cbc497cc99589aeafd0c1de91d1ef1d99f3944cc6f1854e920c3a3549fb9d27b38f82b8a3043b107d456aa623cf4a8a3c2b5978565ab76795318f5332d34d410c9d10cb9c39d7a1f376bb5e2e86d2476dfd241dee9df5b1599ca2c973712d00fe09f31d109d8ce347a9a493e464bc2c41e0e8a490b33e024371a25389d263596013b9c44c137d998e9616d6824bc82cd1a769a27c580530285d32314f86cac442bf4c5859b0b3911c1c238972709cf5d435f727887e456dce806f3dd73c1949801349c0a29080a56e0958b670731b9ff55364e49c3266f0793c43b88c9cb66c46b7900b58fe843d3a8bf6c83a03010a36a9709d2713497329418d984e862b9a4299d20beaef80992456b2104e24c8ce48d1994a9697e904a3924f301385c176602259a52707ebedd440159c4f509d05eb6ce241eb1e93aa66889e8d1d0f3d468e6b2569c0b290785200408f7cbcc0c8c03c3da1b055533d7f519bea3e5d2ab64fca1fc99175b77b4fe79b109f2dc4871db5d6e7067e90d0d728fc3c41d26f28a014b4f95cf2370a4a18fd5359bc4f0bbf6be8dde0a18999887710ed37757d3ee17b0a81ce7c46ee36f19d33afa9de0a866f4d86e8c154520ba831bb66d42269b4ae85b820f359a0196b5eea6c898dd89e5836bbc5224b72687234d11014d7563f8d7b363d09ef4cd2c4149318bf92c8ac63c9bc389ecc896303f870dc3a9d78d8b14b20d51cc896b44367e8e206dff3396475b063947402c8003b472e7017704df95d2592d99c041e462cb0d0271ca5320ff0021bd76852d841ea0e3b48e388b2ac1769424c2252aa3e918518b2dd8b4826aa3edb77c89fb06004318f5132dddb223ae8cfd849a821d8a9919439099e785c4c8069d4d43334ce1c0b4c821e32c422031892ee66483ac6102b4da3cf8dc0a8ad22f3fbd9901320d95e365826e587c1659b240c3dc7869ec335c78c0db7c0a5274727c470f36412d73d1987085a32a542705252fb463f9b2807279226f464ffe43883b8bf689da36469b4d8aa79a2a741bdb977e39325adc8247edca3674ce42f72915f57fe9846225fe0221f8b66913ea96fb48332e69340eae334482888f938a35857544e40aa30690911a9dd83d1b052e58d610a747505e6434ac03c9748d6d28085b38711ea045848745d4e6d50198208cbe492f60463e238e70119038b9c8197953f9322065ea0e347ffcca98e5eb1210019e1fa971cbd1be4664b7c28321f0a2802a2eef2979068aa1e893c0b367a884ed6869114f3120dc1d11427432726eab4c2ba8689b4d4f7603ca39facf93e262c270cf294752af16385f8dca8534c9fd11fa5dc9b3e43ae0cd68dc4039c6c6a57f8d45e555eecb8305312db70f60466fba68445625139d66962d096f4046da50efbfba7f71efb624b7e0491503923b490110ad107b91106ee9efa06c626960f2645f4cb38f8a4e1583dc33163d2c444830d213da60865c5fce542b233c4ee715cf2ea87015c491ac842c2449c4e60e89904869db5ce247ed9d72d23ea0c21dfbf908d32304596e4feb64dc82a390ffcabb6bc72501c12b12df2ef4c2f0c818dc76f8b10428b22f2b180bbb23204414ffc1671a8478187009d561c02df1dfb45f4fa11c031fc7771187818362e86075ad68740f785918bece0cb307aba62ca6cf5b586817702ccc5f008cd30f2e301e7223b6a334c2e62d167e463765c583cacf3e498b0bd9155fbd230eec7c3ddc5ce01a06b63b7e98ac416dc23b7eb8dd0768e181d41c1a68ea260d34754a699232ad3ecd19469ee68ca347f24655a38ba321d3b9a321d3f9a329d3892329d3c8232394750a6c54755a6a54750a6e54754a6536f5d994e1f21e97066ccc4c2d947cb239c3b42bee089318359e78f1cc9ba306690e0e2b85babe238db8795719d519ac314a3e9dfa9ee39ec1018b5309524d28f907cca839fba57820df45cd7c99022b628ee352aed9a274d745781d4b69bf4cf6552b0c94242ab30564d87659ea5515f540ecf3b2b63fc84c4c8acb336f4fbc57172ce233f581cfea9e2a82f14477c53981ef955209bdaacc966ac586a6dfb3995cfde8bba3a37e2f7531e4fdffff9f4ad8eb470dd1a971d1defcf1547d8b56e8cf6a8f8697e6db4fdeb465918233e35b13ad25a76239d1c1db099ba38dcb076239c1e11299859196581bbf1cd8edc1ad2ffa6f458e747803a7b35899f0a61e787d8210f764e43c3279d1d86080f68a4d8790c53493aaf8fd05984cef59d94889fd3ef3e07511878ec61224ae24db28cdd5452b26e3acacecd88fdf72cc645e7786c6e9e057616c29df98b8a3c459ce0a038dc289d4884e8d8a5c5c4fa2ed394dc49dc3a9d4a84e83550cb89503d362a99de8e9912492f23cabca4ce24b6e8b35da66869452dd34b892dbb0c5ae664224cc7a665931918376bb9010c8c7dec9e4c4997713b16a6968e4703288a21ad88183dfdaca468646d4c2318792174652c1317c14bebe39ab0a889bc36a67d8a5a28c571ac4f04aeae8e675e3a837ebca23f5ed11fafe8bf542bfa91cfe1ff9c7ffeb1297eff93ff3e1e9eeb595d5b5b5bdf043fc3f357dacd15d0b59fefef7fc2f5e493bdbfff79e5cad52b8f7ffff31770fdea876eb8376f3837ddebefbfe1b04977ce552b8ef83141e7831f7afa19f7431f757eedc6472fb26a077f08d0f9c0afdf743ef0e1f7bfff89b729d7feff5ca1fe8bfb0afe26e4cfba8f51fa7f396e0bb8feaf5f5b7ff2b1feff02ae8f2ff16ddcd2534b6e79cf5bba185bb7979efaf852c56bc276cfab97ab9e0fefcf5d5ce2cbdad31568c1ec0534417f125eb7a00d004301fe823414f4fea8f412348f9d51c43e1d5e0d6d6ad5b2070e3f143ef3f44d78c72c28bc6c9480acd5b027b11386f2f595b595b5a5e7dea6d3f6f87a7c3dbe1e5f6ff9fa5f000000ffff03007c60d52a00600000
\.


--
-- Data for Name: plugin_artifacts; Type: TABLE DATA; Schema: checkstack; Owner: -
--

COPY checkstack.plugin_artifacts (digest, size, content, created_at, unneeded_since) FROM stdin;
sha256:65aa47d591ec502e8186ed92d708226ba0a932225b63aa935ff6e423bf975770	6649	e6be83fb-ed41-4fd8-9d27-ccd9aa4f3486	2026-11-23 01:32:13.619539+00	\N
\.


--
-- Data for Name: plugin_configs; Type: TABLE DATA; Schema: checkstack; Owner: -
--

COPY checkstack.plugin_configs (plugin_id, config_id, record, updated_at) FROM stdin;
\.


--
-- Data for Name: plugin_databases; Type: TABLE DATA; Schema: checkstack; Owner: -
--

COPY checkstack.plugin_databases (plugin_id, schema_name, role_name, created_at) FROM stdin;
notes	plugin_notes	plugin_notes_13c5a219	2026-11-23 01:32:13.72284+00
\.


--
-- Data for Name: plugin_kv; Type: TABLE DATA; Schema: checkstack; Owner: -
--

COPY checkstack.plugin_kv (plugin_id, key, value, expires_at) FROM stdin;
notes	key	\\x6b657074	\N
\.


--
-- Data for Name: plugin_schema_users; Type: TABLE DATA; Schema: checkstack; Owner: -
--

COPY checkstack.plugin_schema_users (plugin_id, pod, migration, seen_at) FROM stdin;
\.


--
-- Data for Name: plugin_settings; Type: TABLE DATA; Schema: checkstack; Owner: -
--

COPY checkstack.plugin_settings (plugin_id, setting_id, record, revision, updated_at) FROM stdin;
notes	key	{"data": "set", "version": 1, "pluginId": "notes"}	1	2026-11-23 01:32:13.794695+00
\.


--
-- Data for Name: entities; Type: TABLE DATA; Schema: checkstack_entities; Owner: -
--

COPY checkstack_entities.entities (kind, entity_id, plugin_id, sequence, present, changed_at) FROM stdin;
\.


--
-- Data for Name: migrations; Type: TABLE DATA; Schema: checkstack_entities; Owner: -
--

COPY checkstack_entities.migrations (version, description, installed_on, success, checksum, execution_time) FROM stdin;
1	entities	2026-11-23 01:32:13.105894+00	t	\\xfd0cae7128c675b664ff9931c78e24650277caf2b4eb311425223c30b5c4d0eff462149bcf26c9413d8f01d47f1b2197	4723345
\.


--
-- Data for Name: sweeps; Type: TABLE DATA; Schema: checkstack_entities; Owner: -
--

COPY checkstack_entities.sweeps (singleton, swept_at) FROM stdin;
t	-infinity
\.


--
-- Data for Name: transitions; Type: TABLE DATA; Schema: checkstack_entities; Owner: -
--

COPY checkstack_entities.transitions (kind, entity_id, sequence, field, from_value, to_value, transitioned_at) FROM stdin;
\.


--
-- Data for Name: counters; Type: TABLE DATA; Schema: checkstack_jobs; Owner: -
--

COPY checkstack_jobs.counters (queue, completed, failed) FROM stdin;
hook:secrets.changed	1	0
hook:core.plugin.initialized	2	0
\.


--
-- Data for Name: deliveries; Type: TABLE DATA; Schema: checkstack_jobs; Owner: -
--

COPY checkstack_jobs.deliveries (id, queue, group_name, job_id, named, schedule, once_key, data, priority, enqueued_at, run_at, attempts, failed_reason, owner, fence, lease_until, started_at, max_retries) FROM stdin;
\.


--
-- Data for Name: finished; Type: TABLE DATA; Schema: checkstack_jobs; Owner: -
--

COPY checkstack_jobs.finished (queue, state, place, group_name, job_id, recurring, enqueued_at, started_at, finished_at, attempts, failed_reason) FROM stdin;
hook:core.plugin.initialized	completed	1	signal-backend.core.plugin.initialized.broadcast.4b5c0693-c8e3-4929-a2ea-6e3a3745f007	59ad3f67-d433-4f85-a278-6cc4373be313	f	2026-11-23 01:32:13.256522+00	2026-11-23 01:32:13.267535+00	2026-11-23 01:32:13.305092+00	0	\N
hook:secrets.changed	completed	1	secrets.secrets.changed.broadcast.d9a12921-ecf2-4f74-a66b-73f29d363a2d	3840c0d1-5dc3-46cc-895e-9a0869f8a778	f	2026-11-23 01:32:13.522768+00	2026-11-23 01:32:13.523114+00	2026-11-23 01:32:13.525179+00	0	\N
hook:core.plugin.initialized	completed	2	signal-backend.core.plugin.initialized.broadcast.4b5c0693-c8e3-4929-a2ea-6e3a3745f007	0dca498b-d543-42a1-b8fd-6f24b12d03c7	f	2026-11-23 01:32:13.754647+00	2026-11-23 01:32:13.755058+00	2026-11-23 01:32:13.755711+00	0	\N
\.


--
-- Data for Name: groups; Type: TABLE DATA; Schema: checkstack_jobs; Owner: -
--

COPY checkstack_jobs.groups (queue, group_name, joined_at, owner, lease_until) FROM stdin;
notes.key	notes	2026-11-23 01:32:13.750652+00	\N	\N
\.


--
-- Data for Name: migrations; Type: TABLE DATA; Schema: checkstack_jobs; Owner: -
--

COPY checkstack_jobs.migrations (version, description, installed_on, success, checksum, execution_time) FROM stdin;
1	jobs	2026-11-23 01:32:13.075616+00	t	\\x5b4619cfdd1a81e9fe9806e9c564d117c4959f9052e948013cf5ce8089f0406e90649cc2db1767c24ca63f565c16b3d3	11627951
2	ephemeral_groups	2026-11-23 01:32:13.087762+00	t	\\x2a92310ce98e6b68f303077a54d475ecb2835b616e0796540f224d7da5970faf408ebe43b06b126b9d77a0b8d6fdcddd	864805
\.


--
-- Data for Name: schedules; Type: TABLE DATA; Schema: checkstack_jobs; Owner: -
--

COPY checkstack_jobs.schedules (queue, schedule_id, definition, next_run, set_at) FROM stdin;
\.


--
-- Data for Name: access_rules; Type: TABLE DATA; Schema: plugin_auth; Owner: -
--

COPY plugin_auth.access_rules (id, description, is_default, is_public) FROM stdin;
api-docs.api-docs.read	Read the description of all procedures	f	f
auth.application.read	See programs that have a key	f	f
auth.application.manage	Add and remove programs, and give them keys	f	f
auth.audit.read	See who changed what	f	f
auth.role.read	See roles and access rules	f	f
auth.role.manage	Add, change and remove roles	f	f
auth.service-key.read	See the keys that tokens of services are signed with	f	f
auth.service-key.manage	Revoke keys that tokens of services are signed with	f	f
auth.team.read	See teams and what they were granted	f	f
auth.team.manage	Add, change and remove teams and what they were granted	f	f
auth.user.read	See people	f	f
auth.user.manage	Add, change and remove people	f	f
cache.cache.read	See the keys of caches and how entries are kept	f	f
cache.cache.manage	Set how cache entries are kept	f	f
queue.queue.read	See jobs and how they are kept	f	f
queue.queue.manage	Set how jobs are kept	f	f
secrets.secret.read	See which secrets there are	f	f
secrets.secret.manage	Set and delete secrets	f	f
\.


--
-- Data for Name: admin_secret; Type: TABLE DATA; Schema: plugin_auth; Owner: -
--

COPY plugin_auth.admin_secret (only_row, username, password_hash) FROM stdin;
t	admin@example.com	$argon2id$v=19$m=19456,t=2,p=1$xKmJJiRgm5EiIeJlWEW8GQ$mDrQMf1EKnXIg9P3teGVcG5YCfSW3OCeUGoqR+Y+Ee0
\.


--
-- Data for Name: application_roles; Type: TABLE DATA; Schema: plugin_auth; Owner: -
--

COPY plugin_auth.application_roles (application_id, role_id) FROM stdin;
1cc089bf-d366-4351-8082-6e7cd317b88a	admin
\.


--
-- Data for Name: applications; Type: TABLE DATA; Schema: plugin_auth; Owner: -
--

COPY plugin_auth.applications (id, name, description, secret_digest, created_at, last_used_at) FROM stdin;
1cc089bf-d366-4351-8082-6e7cd317b88a	robot		\\x63834fc73c75d4ba08e7c8046c371c5041afcae6347a1bff5fc455fc10cc0425	2026-11-23 01:32:13.89656+00	\N
\.


--
-- Data for Name: audit_records; Type: TABLE DATA; Schema: plugin_auth; Owner: -
--

COPY plugin_auth.audit_records (id, at, actor_type, actor_id, actor_name, action, object, details) FROM stdin;
1	2026-11-23 01:32:13.333727+00	system	admin-secret	admin-secret	user.take-over	user:8452572d-e9e7-40a6-b9d1-b004b2b7be17	{"email": "admin@example.com"}
2	2026-11-23 01:32:13.468296+00	user	8452572d-e9e7-40a6-b9d1-b004b2b7be17	Administrator	session.begin	user:8452572d-e9e7-40a6-b9d1-b004b2b7be17	{}
3	2026-11-23 01:32:13.520631+00	user	8452572d-e9e7-40a6-b9d1-b004b2b7be17	Administrator	secrets.set	smtp	{}
4	2026-11-23 01:32:13.807587+00	user	8452572d-e9e7-40a6-b9d1-b004b2b7be17	Administrator	role.create	role:helpdesk	{"name": "Help desk", "accessRules": ["auth.user.read"]}
5	2026-11-23 01:32:13.867115+00	user	8452572d-e9e7-40a6-b9d1-b004b2b7be17	Administrator	user.create	user:e735e923-7738-47fd-85e8-b92d88e01a49	{"name": "Ada", "email": "ada@example.com", "roles": ["helpdesk"]}
6	2026-11-23 01:32:13.875892+00	user	8452572d-e9e7-40a6-b9d1-b004b2b7be17	Administrator	team.create	team:ed16480d-8414-448a-bf15-27db312e302e	{"name": "Payments"}
7	2026-11-23 01:32:13.881016+00	user	8452572d-e9e7-40a6-b9d1-b004b2b7be17	Administrator	team.set-members	team:ed16480d-8414-448a-bf15-27db312e302e	{"users": ["e735e923-7738-47fd-85e8-b92d88e01a49"], "applications": []}
8	2026-11-23 01:32:13.888576+00	user	8452572d-e9e7-40a6-b9d1-b004b2b7be17	Administrator	object.set-grants	catalog.system:shop	{"grants": [{"teamId": "ed16480d-8414-448a-bf15-27db312e302e", "canRead": true, "canManage": false}], "teamOnly": true}
9	2026-11-23 01:32:13.89656+00	user	8452572d-e9e7-40a6-b9d1-b004b2b7be17	Administrator	application.create	application:1cc089bf-d366-4351-8082-6e7cd317b88a	{"name": "robot", "roles": ["admin"]}
10	2026-11-23 01:32:13.967758+00	user	e735e923-7738-47fd-85e8-b92d88e01a49	Ada	session.begin	user:e735e923-7738-47fd-85e8-b92d88e01a49	{}
\.


--
-- Data for Name: external_identities; Type: TABLE DATA; Schema: plugin_auth; Owner: -
--

COPY plugin_auth.external_identities (issuer, subject, user_id, created_at) FROM stdin;
\.


--
-- Data for Name: migrations; Type: TABLE DATA; Schema: plugin_auth; Owner: -
--

COPY plugin_auth.migrations (version, description, installed_on, success, checksum, execution_time) FROM stdin;
1	identity	2026-11-23 01:32:13.145486+00	t	\\x8b2595d298116360d67c3f9a08579da8502d8e6f9f040a4061649111186cd4a9a88b8364d3e81086df9c867b5c2d25da	25867441
2	sign_in_at_providers	2026-11-23 01:32:13.172082+00	t	\\x717f27f7479c6407daed6e89bb9bd1426f8c341472b5ef442f25272b750b18df472d0557d5d32f4f69ae2c6d8948be38	3063450
3	service_keys	2026-11-23 01:32:13.175341+00	t	\\x9d737622994f7872236abe51fa84adcbb0e81728dc97903868372f33288df24c1f85ea7508aece08fdaf04a3f4fd5548	4251374
4	sliding_sessions	2026-11-23 01:32:13.180862+00	t	\\xb0d7956cb5f889881ff9d86245d6a2a2a1cabf3d4c4c6dded255db32c8ff9bbd5ab812117ce4638903ea3346b4a35a97	849852
5	sign_in_attempts	2026-11-23 01:32:13.181858+00	t	\\x660bd153da50fbbc98c2cd729138baa5b246a1376e84ab5be8edef2278edc032586cd4c0e8d2ab5b32669e419fba4b88	2294198
\.


--
-- Data for Name: role_access_rules; Type: TABLE DATA; Schema: plugin_auth; Owner: -
--

COPY plugin_auth.role_access_rules (role_id, rule_id) FROM stdin;
helpdesk	auth.user.read
\.


--
-- Data for Name: roles; Type: TABLE DATA; Schema: plugin_auth; Owner: -
--

COPY plugin_auth.roles (id, name, description, is_system) FROM stdin;
admin	Administrators	May do everything	t
users	Users	What everybody may do who signs in	t
anonymous	Anonymous	What may be done without signing in	t
applications	Applications	What every application may do	t
helpdesk	Help desk		f
\.


--
-- Data for Name: service_keys; Type: TABLE DATA; Schema: plugin_auth; Owner: -
--

COPY plugin_auth.service_keys (id, modulus, exponent, sealed_private_key, created_at, expires_at, revoked_at) FROM stdin;
91981042-c76e-4c25-8ae9-98bbeeb89eae	\\xceac8437cb9aa5a0ae805ea3621770e6dfb6f8e9709a072a77f1a22b943859e09b1a069cd3076cb6f238627ae2a83aaa3f96e7b4389d4e810e33393410c76db889908fabada703dace94dd655f29d58e9f7429d3d6d615771880252926794249b90937aad74e30dc48ce073ab83c547b9a360602b6a8a7a8afd8d238efaa2aa0d505c23389b45692222f1a85eb4c19c3a2898600c6795c9ea8a6902d844443e650c53ca09fa245d1c1653114b78167b4632b447bceea1274647a074caf8602856c99d646f469152a4c1e21a2364ff52484bf1c8c15837c8131e614b9cf253c5acad58ec96dbafa9fa1f52015182532f90efb4952dced19fd9b8d98b19ad5b0f9	\\x010001	\\x018282045617c3c5dd07c6498e6d0ad959f92bdd7fd5f914838ee1f169f59cc90af2ad4ee68dd633655fe77abac41e57eb42dae7de9ba9bbee6bbefd0cf06cd9544d3b60eda63f22ac180a5f113cf8b97e2953d7a429f7cbef781c7ced921ae9e6656ac332c3a0e5fa304b7728c351404ea215df312e07c984b6a88f5ab27ee1e65b7d412b06c09eff85e4faf24cff8ece14b79b98104605c08e03873016536de01463706b09430a28cc36cb2631f4e595cba1cc16a5ae2c8bf6da573260c01e404c0e66a35a1cc3333826dd5d5f94c14ec3672968092d25e99e762dce6125063a3e1056530317badbc203af8ab8091041344c921100e8306f110d0e2caa7865ffc59211e98e287adad5d3842b761eecd618d676c87c0686b51f6126cb7bf2469232c51b79798745c82fa55ff4eda62a279c04cb4d1bd98745ecd3b8d16a59615708b36d84857c77a9979c58dc3f765f7d0284387eecd9f1e5b7d990e7c51dd77ec2aed0e52fc5e0df3aeae008021bd44fdbc5bb5e69270d0a7d472213b41fdb78d9efecc18e5a800c2891762dd74c4f3f6cb6c192165077a20cf2d6fbcc9ed3658ec3fc7ffda246a9bed369fc2b49f573c83e08691c6e5f9ebabe584d3714dc6a7d4d35f034546c0ea1ff003d739371d36535b4464987dad8c58dd34d9be9b1cb6741295e236e1459162be3b3bd1745aea63ee59a41a92c1522f5f04f3f9e66d025b1ab5388a9dbe672e45ae445bf03c2eb7e24fb9599eb6f29129ed4108f84e1556b57ab396582e75a637755866c2de03bd76d68be3c605998025dd198d3102fe2693aa4adbdc4b853e37c7d01932c8e50d013008007e49fb41cedd3caba24606abb5cda766703048d92516c52fbca3309c507b99083aee374c004d8b3f22b4b5b4df338ecd849d25116a7787725207ebcee66ebe86f21c3a47fc8b246720b17b1d2d020978d17787c3e48f9b08ec19a7a35fe96cf9e734584c5db8eb7ff89c9779ff417ab9331ec09a919d44c895737fd05ddb3f805ea93830f6278f630e5a1538bdf0174b685f3f4ae3b102facbbac82e9a391338f0a388a98e2afe0566276e715d20913ffe80f3862f7fc9d5c1177532d69db749c6688d7f5e4d02805a869cc25fec4a2ff17de9237c88644222d6400c2089fae4743680c78b061d5a80ca8f8b80d7c53851216854a120e89bc49e705fc0250bdb6ed4033fcd656486cc46754d1a93e248fc49101ea6b3fbb3cb99f658de7baccdd8dc149d91d9d5f09ce0fb95298871dd9005a44f966f0423ee3b78ab4a544afde74c36a5109a9cc70c8e6224dcf63f9887a57ba9a688e426b8a458bc5a3a3ee3af7a7ffa4a6291e1fd72f16eecb116639bd5a47fe40e54062ee0b55f6c65e66dd04bac22a99cc6cfb5e6ef485a43e6b5fa2a1444be229e843e917ca7cf65e024848c4e97c4e4364c66476e057902f92a89fc3cbff632a83c17b6e09a9b73cbc116ec548592221e8473734a7feb69d0a08bd0800782fcff80b0e547232bcfb7a7c6f5ed8b93cd8c6fe5de8c94aab47238b510f032d14d196f2920b0e19ee9ce9a86b69d1f87548b8526384f7b4490b23d99ffe671365c6ec36fd2ed6d31b78c28c8b228fd28e48082ed320f40f9bcf2c0af1cd014353b91a3eb8d973a544b2cb61d33bc01760e5dca3543a6a04635008ad0bbcbec3c67c37939d7d6908827d05ccb33812adb39b7ba3409731b1a2208d9b3bd0067a8075d3636ec17d9b1c1860f7eee3f7c04463	2026-11-23 01:32:13.715006+00	\N	\N
\.


--
-- Data for Name: sessions; Type: TABLE DATA; Schema: plugin_auth; Owner: -
--

COPY plugin_auth.sessions (token_digest, user_id, created_at, expires_at, ends_at_latest) FROM stdin;
\\xc26a5acedb17181f65c312d053973e6fa6629ae75d78fed009c0795d42e9e205	8452572d-e9e7-40a6-b9d1-b004b2b7be17	2026-11-23 01:32:13.468296+00	2026-11-30 01:32:13.468296+00	2026-12-21 01:32:13.468296+00
\\x52f2405449c2c44a7397fd948c3ed601a7539fcdf400b59cffa284e66c8f7720	e735e923-7738-47fd-85e8-b92d88e01a49	2026-11-23 01:32:13.967758+00	2026-11-30 01:32:13.967758+00	2026-12-21 01:32:13.967758+00
\.


--
-- Data for Name: sign_in_attempts; Type: TABLE DATA; Schema: plugin_auth; Owner: -
--

COPY plugin_auth.sign_in_attempts (address_digest, attempts, since) FROM stdin;
\.


--
-- Data for Name: team_applications; Type: TABLE DATA; Schema: plugin_auth; Owner: -
--

COPY plugin_auth.team_applications (team_id, application_id) FROM stdin;
\.


--
-- Data for Name: team_grants; Type: TABLE DATA; Schema: plugin_auth; Owner: -
--

COPY plugin_auth.team_grants (resource_type, resource_id, team_id, can_read, can_manage) FROM stdin;
catalog.system	shop	ed16480d-8414-448a-bf15-27db312e302e	t	f
\.


--
-- Data for Name: team_only_objects; Type: TABLE DATA; Schema: plugin_auth; Owner: -
--

COPY plugin_auth.team_only_objects (resource_type, resource_id) FROM stdin;
catalog.system	shop
\.


--
-- Data for Name: team_users; Type: TABLE DATA; Schema: plugin_auth; Owner: -
--

COPY plugin_auth.team_users (team_id, user_id) FROM stdin;
ed16480d-8414-448a-bf15-27db312e302e	e735e923-7738-47fd-85e8-b92d88e01a49
\.


--
-- Data for Name: teams; Type: TABLE DATA; Schema: plugin_auth; Owner: -
--

COPY plugin_auth.teams (id, name, description) FROM stdin;
ed16480d-8414-448a-bf15-27db312e302e	Payments	
\.


--
-- Data for Name: user_roles; Type: TABLE DATA; Schema: plugin_auth; Owner: -
--

COPY plugin_auth.user_roles (user_id, role_id, source) FROM stdin;
8452572d-e9e7-40a6-b9d1-b004b2b7be17	admin	admin
e735e923-7738-47fd-85e8-b92d88e01a49	helpdesk	admin
\.


--
-- Data for Name: users; Type: TABLE DATA; Schema: plugin_auth; Owner: -
--

COPY plugin_auth.users (id, email, name, password_hash, created_at) FROM stdin;
8452572d-e9e7-40a6-b9d1-b004b2b7be17	admin@example.com	Administrator	$argon2id$v=19$m=19456,t=2,p=1$xKmJJiRgm5EiIeJlWEW8GQ$mDrQMf1EKnXIg9P3teGVcG5YCfSW3OCeUGoqR+Y+Ee0	2026-11-23 01:32:13.333727+00
e735e923-7738-47fd-85e8-b92d88e01a49	ada@example.com	Ada	$argon2id$v=19$m=19456,t=2,p=1$bdZNPt/1nRTybekfqmwLfg$ksMgMh7NKA+744l1hai1wxGDMrYvsWxYuwH1U/fRULc	2026-11-23 01:32:13.867115+00
\.


--
-- Data for Name: migrations; Type: TABLE DATA; Schema: plugin_cache; Owner: -
--

COPY plugin_cache.migrations (version, description, installed_on, success, checksum, execution_time) FROM stdin;
1	cache	2026-11-23 01:32:13.226041+00	t	\\x176e4296c6352d40e61e1023c628efb41457fa8579a57f4707f16124b69a7dc92905b0bc28f519427dd8a0f0136c78cf	1400320
\.


--
-- Data for Name: settings; Type: TABLE DATA; Schema: plugin_cache; Owner: -
--

COPY plugin_cache.settings (id, value, changing_until) FROM stdin;
active	{"version": 1, "provider": "memory", "configuration": {"maxEntries": 500}}	\N
\.


--
-- Data for Name: __checkstack_migrations; Type: TABLE DATA; Schema: plugin_notes; Owner: -
--

COPY plugin_notes.__checkstack_migrations (version, name, hash, applied_at, additive, down) FROM stdin;
1	notes	sha256:05c60756bc1236080f3acf3c2d009caad5bfefe96ecca0ae5387ecb66b9ec30e	2026-11-23 01:32:13.739652+00	f	\N
\.


--
-- Data for Name: notes; Type: TABLE DATA; Schema: plugin_notes; Owner: -
--

COPY plugin_notes.notes (id, note) FROM stdin;
1	old
\.


--
-- Data for Name: migrations; Type: TABLE DATA; Schema: plugin_queue; Owner: -
--

COPY plugin_queue.migrations (version, description, installed_on, success, checksum, execution_time) FROM stdin;
1	queue	2026-11-23 01:32:13.212092+00	t	\\x6f3fc0a9d6b85d2d620dbe4ec1a9a22478671c5a4f825e444811c2f35809461f5d0fdf3810583b94aeab8ab1fd12e82e	2575756
\.


--
-- Data for Name: settings; Type: TABLE DATA; Schema: plugin_queue; Owner: -
--

COPY plugin_queue.settings (id, value, changing_until) FROM stdin;
lag-thresholds	\N	\N
active	{"version": 1, "provider": "postgres", "configuration": {"concurrency": 7}}	\N
\.


--
-- Data for Name: migrations; Type: TABLE DATA; Schema: plugin_secrets; Owner: -
--

COPY plugin_secrets.migrations (version, description, installed_on, success, checksum, execution_time) FROM stdin;
1	secrets	2026-11-23 01:32:13.195246+00	t	\\x0b23df5d0f297aa0fd84d18100984f981297b2fb0ea5b344be2239809e493de5bffae8ae1cf06e0715fca3a694a808d2	1655209
\.


--
-- Data for Name: secrets; Type: TABLE DATA; Schema: plugin_secrets; Owner: -
--

COPY plugin_secrets.secrets (name, ciphertext, description, revision, created_at, updated_at, updated_by) FROM stdin;
smtp	HIWmM5euxzYvZRJa:ndb17i8K8ugJx8UNk0D48g==:yfE9G1pqCUDB9rvrbOxbA8kGX5qn9Bk=		1	2026-11-23 01:32:13.520631+00	2026-11-23 01:32:13.520631+00	8452572d-e9e7-40a6-b9d1-b004b2b7be17
\.


--
-- Name: plugin_settings_revision_seq; Type: SEQUENCE SET; Schema: checkstack; Owner: -
--

SELECT pg_catalog.setval('checkstack.plugin_settings_revision_seq', 1, true);


--
-- Name: deliveries_id_seq; Type: SEQUENCE SET; Schema: checkstack_jobs; Owner: -
--

SELECT pg_catalog.setval('checkstack_jobs.deliveries_id_seq', 3, true);


--
-- Name: audit_records_id_seq; Type: SEQUENCE SET; Schema: plugin_auth; Owner: -
--

SELECT pg_catalog.setval('plugin_auth.audit_records_id_seq', 10, true);


--
-- Name: revisions; Type: SEQUENCE SET; Schema: plugin_secrets; Owner: -
--

SELECT pg_catalog.setval('plugin_secrets.revisions', 1, true);


--
-- Name: compiled_code compiled_code_pkey; Type: CONSTRAINT; Schema: checkstack; Owner: -
--

ALTER TABLE ONLY checkstack.compiled_code
    ADD CONSTRAINT compiled_code_pkey PRIMARY KEY (digest, target);


--
-- Name: core_migrations core_migrations_pkey; Type: CONSTRAINT; Schema: checkstack; Owner: -
--

ALTER TABLE ONLY checkstack.core_migrations
    ADD CONSTRAINT core_migrations_pkey PRIMARY KEY (version);


--
-- Name: instance instance_pkey; Type: CONSTRAINT; Schema: checkstack; Owner: -
--

ALTER TABLE ONLY checkstack.instance
    ADD CONSTRAINT instance_pkey PRIMARY KEY (only_row);


--
-- Name: package_essentials package_essentials_pkey; Type: CONSTRAINT; Schema: checkstack; Owner: -
--

ALTER TABLE ONLY checkstack.package_essentials
    ADD CONSTRAINT package_essentials_pkey PRIMARY KEY (digest);


--
-- Name: plugin_artifact_chunks plugin_artifact_chunks_pkey; Type: CONSTRAINT; Schema: checkstack; Owner: -
--

ALTER TABLE ONLY checkstack.plugin_artifact_chunks
    ADD CONSTRAINT plugin_artifact_chunks_pkey PRIMARY KEY (content, "position");


--
-- Name: plugin_artifacts plugin_artifacts_content_key; Type: CONSTRAINT; Schema: checkstack; Owner: -
--

ALTER TABLE ONLY checkstack.plugin_artifacts
    ADD CONSTRAINT plugin_artifacts_content_key UNIQUE (content);


--
-- Name: plugin_artifacts plugin_artifacts_pkey; Type: CONSTRAINT; Schema: checkstack; Owner: -
--

ALTER TABLE ONLY checkstack.plugin_artifacts
    ADD CONSTRAINT plugin_artifacts_pkey PRIMARY KEY (digest);


--
-- Name: plugin_configs plugin_configs_pkey; Type: CONSTRAINT; Schema: checkstack; Owner: -
--

ALTER TABLE ONLY checkstack.plugin_configs
    ADD CONSTRAINT plugin_configs_pkey PRIMARY KEY (plugin_id, config_id);


--
-- Name: plugin_databases plugin_databases_pkey; Type: CONSTRAINT; Schema: checkstack; Owner: -
--

ALTER TABLE ONLY checkstack.plugin_databases
    ADD CONSTRAINT plugin_databases_pkey PRIMARY KEY (plugin_id);


--
-- Name: plugin_databases plugin_databases_role_name_key; Type: CONSTRAINT; Schema: checkstack; Owner: -
--

ALTER TABLE ONLY checkstack.plugin_databases
    ADD CONSTRAINT plugin_databases_role_name_key UNIQUE (role_name);


--
-- Name: plugin_databases plugin_databases_schema_name_key; Type: CONSTRAINT; Schema: checkstack; Owner: -
--

ALTER TABLE ONLY checkstack.plugin_databases
    ADD CONSTRAINT plugin_databases_schema_name_key UNIQUE (schema_name);


--
-- Name: plugin_kv plugin_kv_pkey; Type: CONSTRAINT; Schema: checkstack; Owner: -
--

ALTER TABLE ONLY checkstack.plugin_kv
    ADD CONSTRAINT plugin_kv_pkey PRIMARY KEY (plugin_id, key);


--
-- Name: plugin_schema_users plugin_schema_users_pkey; Type: CONSTRAINT; Schema: checkstack; Owner: -
--

ALTER TABLE ONLY checkstack.plugin_schema_users
    ADD CONSTRAINT plugin_schema_users_pkey PRIMARY KEY (plugin_id, pod);


--
-- Name: plugin_settings plugin_settings_pkey; Type: CONSTRAINT; Schema: checkstack; Owner: -
--

ALTER TABLE ONLY checkstack.plugin_settings
    ADD CONSTRAINT plugin_settings_pkey PRIMARY KEY (plugin_id, setting_id, version);


--
-- Name: entities entities_pkey; Type: CONSTRAINT; Schema: checkstack_entities; Owner: -
--

ALTER TABLE ONLY checkstack_entities.entities
    ADD CONSTRAINT entities_pkey PRIMARY KEY (kind, entity_id);


--
-- Name: migrations migrations_pkey; Type: CONSTRAINT; Schema: checkstack_entities; Owner: -
--

ALTER TABLE ONLY checkstack_entities.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (version);


--
-- Name: sweeps sweeps_pkey; Type: CONSTRAINT; Schema: checkstack_entities; Owner: -
--

ALTER TABLE ONLY checkstack_entities.sweeps
    ADD CONSTRAINT sweeps_pkey PRIMARY KEY (singleton);


--
-- Name: transitions transitions_pkey; Type: CONSTRAINT; Schema: checkstack_entities; Owner: -
--

ALTER TABLE ONLY checkstack_entities.transitions
    ADD CONSTRAINT transitions_pkey PRIMARY KEY (kind, entity_id, field, sequence);


--
-- Name: counters counters_pkey; Type: CONSTRAINT; Schema: checkstack_jobs; Owner: -
--

ALTER TABLE ONLY checkstack_jobs.counters
    ADD CONSTRAINT counters_pkey PRIMARY KEY (queue);


--
-- Name: deliveries deliveries_pkey; Type: CONSTRAINT; Schema: checkstack_jobs; Owner: -
--

ALTER TABLE ONLY checkstack_jobs.deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (id);


--
-- Name: finished finished_pkey; Type: CONSTRAINT; Schema: checkstack_jobs; Owner: -
--

ALTER TABLE ONLY checkstack_jobs.finished
    ADD CONSTRAINT finished_pkey PRIMARY KEY (queue, state, place);


--
-- Name: groups groups_pkey; Type: CONSTRAINT; Schema: checkstack_jobs; Owner: -
--

ALTER TABLE ONLY checkstack_jobs.groups
    ADD CONSTRAINT groups_pkey PRIMARY KEY (queue, group_name);


--
-- Name: migrations migrations_pkey; Type: CONSTRAINT; Schema: checkstack_jobs; Owner: -
--

ALTER TABLE ONLY checkstack_jobs.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (version);


--
-- Name: schedules schedules_pkey; Type: CONSTRAINT; Schema: checkstack_jobs; Owner: -
--

ALTER TABLE ONLY checkstack_jobs.schedules
    ADD CONSTRAINT schedules_pkey PRIMARY KEY (queue, schedule_id);


--
-- Name: access_rules access_rules_pkey; Type: CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.access_rules
    ADD CONSTRAINT access_rules_pkey PRIMARY KEY (id);


--
-- Name: admin_secret admin_secret_pkey; Type: CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.admin_secret
    ADD CONSTRAINT admin_secret_pkey PRIMARY KEY (only_row);


--
-- Name: application_roles application_roles_pkey; Type: CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.application_roles
    ADD CONSTRAINT application_roles_pkey PRIMARY KEY (application_id, role_id);


--
-- Name: applications applications_pkey; Type: CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.applications
    ADD CONSTRAINT applications_pkey PRIMARY KEY (id);


--
-- Name: audit_records audit_records_pkey; Type: CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.audit_records
    ADD CONSTRAINT audit_records_pkey PRIMARY KEY (id);


--
-- Name: external_identities external_identities_pkey; Type: CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.external_identities
    ADD CONSTRAINT external_identities_pkey PRIMARY KEY (issuer, subject);


--
-- Name: migrations migrations_pkey; Type: CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (version);


--
-- Name: role_access_rules role_access_rules_pkey; Type: CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.role_access_rules
    ADD CONSTRAINT role_access_rules_pkey PRIMARY KEY (role_id, rule_id);


--
-- Name: roles roles_pkey; Type: CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.roles
    ADD CONSTRAINT roles_pkey PRIMARY KEY (id);


--
-- Name: service_keys service_keys_pkey; Type: CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.service_keys
    ADD CONSTRAINT service_keys_pkey PRIMARY KEY (id);


--
-- Name: sessions sessions_pkey; Type: CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (token_digest);


--
-- Name: sign_in_attempts sign_in_attempts_pkey; Type: CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.sign_in_attempts
    ADD CONSTRAINT sign_in_attempts_pkey PRIMARY KEY (address_digest);


--
-- Name: team_applications team_applications_pkey; Type: CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.team_applications
    ADD CONSTRAINT team_applications_pkey PRIMARY KEY (team_id, application_id);


--
-- Name: team_grants team_grants_pkey; Type: CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.team_grants
    ADD CONSTRAINT team_grants_pkey PRIMARY KEY (resource_type, resource_id, team_id);


--
-- Name: team_only_objects team_only_objects_pkey; Type: CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.team_only_objects
    ADD CONSTRAINT team_only_objects_pkey PRIMARY KEY (resource_type, resource_id);


--
-- Name: team_users team_users_pkey; Type: CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.team_users
    ADD CONSTRAINT team_users_pkey PRIMARY KEY (team_id, user_id);


--
-- Name: teams teams_name_key; Type: CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.teams
    ADD CONSTRAINT teams_name_key UNIQUE (name);


--
-- Name: teams teams_pkey; Type: CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.teams
    ADD CONSTRAINT teams_pkey PRIMARY KEY (id);


--
-- Name: user_roles user_roles_pkey; Type: CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.user_roles
    ADD CONSTRAINT user_roles_pkey PRIMARY KEY (user_id, role_id, source);


--
-- Name: users users_pkey; Type: CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);


--
-- Name: migrations migrations_pkey; Type: CONSTRAINT; Schema: plugin_cache; Owner: -
--

ALTER TABLE ONLY plugin_cache.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (version);


--
-- Name: settings settings_pkey; Type: CONSTRAINT; Schema: plugin_cache; Owner: -
--

ALTER TABLE ONLY plugin_cache.settings
    ADD CONSTRAINT settings_pkey PRIMARY KEY (id);


--
-- Name: __checkstack_migrations __checkstack_migrations_pkey; Type: CONSTRAINT; Schema: plugin_notes; Owner: -
--

ALTER TABLE ONLY plugin_notes.__checkstack_migrations
    ADD CONSTRAINT __checkstack_migrations_pkey PRIMARY KEY (version);


--
-- Name: notes notes_pkey; Type: CONSTRAINT; Schema: plugin_notes; Owner: -
--

ALTER TABLE ONLY plugin_notes.notes
    ADD CONSTRAINT notes_pkey PRIMARY KEY (id);


--
-- Name: migrations migrations_pkey; Type: CONSTRAINT; Schema: plugin_queue; Owner: -
--

ALTER TABLE ONLY plugin_queue.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (version);


--
-- Name: settings settings_pkey; Type: CONSTRAINT; Schema: plugin_queue; Owner: -
--

ALTER TABLE ONLY plugin_queue.settings
    ADD CONSTRAINT settings_pkey PRIMARY KEY (id);


--
-- Name: migrations migrations_pkey; Type: CONSTRAINT; Schema: plugin_secrets; Owner: -
--

ALTER TABLE ONLY plugin_secrets.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (version);


--
-- Name: secrets secrets_pkey; Type: CONSTRAINT; Schema: plugin_secrets; Owner: -
--

ALTER TABLE ONLY plugin_secrets.secrets
    ADD CONSTRAINT secrets_pkey PRIMARY KEY (name);


--
-- Name: plugin_kv_expires_at; Type: INDEX; Schema: checkstack; Owner: -
--

CREATE INDEX plugin_kv_expires_at ON checkstack.plugin_kv USING btree (expires_at) WHERE (expires_at IS NOT NULL);


--
-- Name: plugin_schema_users_pod; Type: INDEX; Schema: checkstack; Owner: -
--

CREATE INDEX plugin_schema_users_pod ON checkstack.plugin_schema_users USING btree (pod);


--
-- Name: entities_removed; Type: INDEX; Schema: checkstack_entities; Owner: -
--

CREATE INDEX entities_removed ON checkstack_entities.entities USING btree (changed_at) WHERE (NOT present);


--
-- Name: transitions_age; Type: INDEX; Schema: checkstack_entities; Owner: -
--

CREATE INDEX transitions_age ON checkstack_entities.transitions USING btree (transitioned_at);


--
-- Name: deliveries_active; Type: INDEX; Schema: checkstack_jobs; Owner: -
--

CREATE INDEX deliveries_active ON checkstack_jobs.deliveries USING btree (queue) WHERE (owner IS NOT NULL);


--
-- Name: deliveries_named; Type: INDEX; Schema: checkstack_jobs; Owner: -
--

CREATE INDEX deliveries_named ON checkstack_jobs.deliveries USING btree (queue, group_name, job_id) WHERE named;


--
-- Name: deliveries_once; Type: INDEX; Schema: checkstack_jobs; Owner: -
--

CREATE UNIQUE INDEX deliveries_once ON checkstack_jobs.deliveries USING btree (queue, group_name, once_key) WHERE (once_key IS NOT NULL);


--
-- Name: deliveries_schedule; Type: INDEX; Schema: checkstack_jobs; Owner: -
--

CREATE INDEX deliveries_schedule ON checkstack_jobs.deliveries USING btree (queue, schedule) WHERE (schedule IS NOT NULL);


--
-- Name: deliveries_waiting; Type: INDEX; Schema: checkstack_jobs; Owner: -
--

CREATE INDEX deliveries_waiting ON checkstack_jobs.deliveries USING btree (queue, group_name, priority DESC, run_at, id) WHERE (owner IS NULL);


--
-- Name: deliveries_without_group; Type: INDEX; Schema: checkstack_jobs; Owner: -
--

CREATE INDEX deliveries_without_group ON checkstack_jobs.deliveries USING btree (queue) WHERE (group_name = ''::text);


--
-- Name: groups_lease; Type: INDEX; Schema: checkstack_jobs; Owner: -
--

CREATE INDEX groups_lease ON checkstack_jobs.groups USING btree (lease_until) WHERE (lease_until IS NOT NULL);


--
-- Name: schedules_next_run; Type: INDEX; Schema: checkstack_jobs; Owner: -
--

CREATE INDEX schedules_next_run ON checkstack_jobs.schedules USING btree (next_run);


--
-- Name: application_roles_role_id; Type: INDEX; Schema: plugin_auth; Owner: -
--

CREATE INDEX application_roles_role_id ON plugin_auth.application_roles USING btree (role_id);


--
-- Name: external_identities_user_id; Type: INDEX; Schema: plugin_auth; Owner: -
--

CREATE INDEX external_identities_user_id ON plugin_auth.external_identities USING btree (user_id);


--
-- Name: role_access_rules_rule_id; Type: INDEX; Schema: plugin_auth; Owner: -
--

CREATE INDEX role_access_rules_rule_id ON plugin_auth.role_access_rules USING btree (rule_id);


--
-- Name: sessions_expires_at; Type: INDEX; Schema: plugin_auth; Owner: -
--

CREATE INDEX sessions_expires_at ON plugin_auth.sessions USING btree (expires_at);


--
-- Name: sessions_user_id; Type: INDEX; Schema: plugin_auth; Owner: -
--

CREATE INDEX sessions_user_id ON plugin_auth.sessions USING btree (user_id);


--
-- Name: sign_in_attempts_since; Type: INDEX; Schema: plugin_auth; Owner: -
--

CREATE INDEX sign_in_attempts_since ON plugin_auth.sign_in_attempts USING btree (since);


--
-- Name: team_applications_application_id; Type: INDEX; Schema: plugin_auth; Owner: -
--

CREATE INDEX team_applications_application_id ON plugin_auth.team_applications USING btree (application_id);


--
-- Name: team_grants_team_id; Type: INDEX; Schema: plugin_auth; Owner: -
--

CREATE INDEX team_grants_team_id ON plugin_auth.team_grants USING btree (team_id);


--
-- Name: team_users_user_id; Type: INDEX; Schema: plugin_auth; Owner: -
--

CREATE INDEX team_users_user_id ON plugin_auth.team_users USING btree (user_id);


--
-- Name: user_roles_role_id; Type: INDEX; Schema: plugin_auth; Owner: -
--

CREATE INDEX user_roles_role_id ON plugin_auth.user_roles USING btree (role_id);


--
-- Name: users_email; Type: INDEX; Schema: plugin_auth; Owner: -
--

CREATE UNIQUE INDEX users_email ON plugin_auth.users USING btree (lower(email));


--
-- Name: compiled_code compiled_code_digest_fkey; Type: FK CONSTRAINT; Schema: checkstack; Owner: -
--

ALTER TABLE ONLY checkstack.compiled_code
    ADD CONSTRAINT compiled_code_digest_fkey FOREIGN KEY (digest) REFERENCES checkstack.plugin_artifacts(digest) ON DELETE CASCADE;


--
-- Name: package_essentials package_essentials_digest_fkey; Type: FK CONSTRAINT; Schema: checkstack; Owner: -
--

ALTER TABLE ONLY checkstack.package_essentials
    ADD CONSTRAINT package_essentials_digest_fkey FOREIGN KEY (digest) REFERENCES checkstack.plugin_artifacts(digest) ON DELETE CASCADE;


--
-- Name: plugin_artifact_chunks plugin_artifact_chunks_content_fkey; Type: FK CONSTRAINT; Schema: checkstack; Owner: -
--

ALTER TABLE ONLY checkstack.plugin_artifact_chunks
    ADD CONSTRAINT plugin_artifact_chunks_content_fkey FOREIGN KEY (content) REFERENCES checkstack.plugin_artifacts(content) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;


--
-- Name: transitions transitions_kind_entity_id_fkey; Type: FK CONSTRAINT; Schema: checkstack_entities; Owner: -
--

ALTER TABLE ONLY checkstack_entities.transitions
    ADD CONSTRAINT transitions_kind_entity_id_fkey FOREIGN KEY (kind, entity_id) REFERENCES checkstack_entities.entities(kind, entity_id) ON DELETE CASCADE;


--
-- Name: application_roles application_roles_application_id_fkey; Type: FK CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.application_roles
    ADD CONSTRAINT application_roles_application_id_fkey FOREIGN KEY (application_id) REFERENCES plugin_auth.applications(id) ON DELETE CASCADE;


--
-- Name: application_roles application_roles_role_id_fkey; Type: FK CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.application_roles
    ADD CONSTRAINT application_roles_role_id_fkey FOREIGN KEY (role_id) REFERENCES plugin_auth.roles(id) ON DELETE CASCADE;


--
-- Name: external_identities external_identities_user_id_fkey; Type: FK CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.external_identities
    ADD CONSTRAINT external_identities_user_id_fkey FOREIGN KEY (user_id) REFERENCES plugin_auth.users(id) ON DELETE CASCADE;


--
-- Name: role_access_rules role_access_rules_role_id_fkey; Type: FK CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.role_access_rules
    ADD CONSTRAINT role_access_rules_role_id_fkey FOREIGN KEY (role_id) REFERENCES plugin_auth.roles(id) ON DELETE CASCADE;


--
-- Name: role_access_rules role_access_rules_rule_id_fkey; Type: FK CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.role_access_rules
    ADD CONSTRAINT role_access_rules_rule_id_fkey FOREIGN KEY (rule_id) REFERENCES plugin_auth.access_rules(id) ON DELETE CASCADE;


--
-- Name: sessions sessions_user_id_fkey; Type: FK CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.sessions
    ADD CONSTRAINT sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES plugin_auth.users(id) ON DELETE CASCADE;


--
-- Name: team_applications team_applications_application_id_fkey; Type: FK CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.team_applications
    ADD CONSTRAINT team_applications_application_id_fkey FOREIGN KEY (application_id) REFERENCES plugin_auth.applications(id) ON DELETE CASCADE;


--
-- Name: team_applications team_applications_team_id_fkey; Type: FK CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.team_applications
    ADD CONSTRAINT team_applications_team_id_fkey FOREIGN KEY (team_id) REFERENCES plugin_auth.teams(id) ON DELETE CASCADE;


--
-- Name: team_grants team_grants_team_id_fkey; Type: FK CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.team_grants
    ADD CONSTRAINT team_grants_team_id_fkey FOREIGN KEY (team_id) REFERENCES plugin_auth.teams(id) ON DELETE CASCADE;


--
-- Name: team_users team_users_team_id_fkey; Type: FK CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.team_users
    ADD CONSTRAINT team_users_team_id_fkey FOREIGN KEY (team_id) REFERENCES plugin_auth.teams(id) ON DELETE CASCADE;


--
-- Name: team_users team_users_user_id_fkey; Type: FK CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.team_users
    ADD CONSTRAINT team_users_user_id_fkey FOREIGN KEY (user_id) REFERENCES plugin_auth.users(id) ON DELETE CASCADE;


--
-- Name: user_roles user_roles_role_id_fkey; Type: FK CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.user_roles
    ADD CONSTRAINT user_roles_role_id_fkey FOREIGN KEY (role_id) REFERENCES plugin_auth.roles(id) ON DELETE CASCADE;


--
-- Name: user_roles user_roles_user_id_fkey; Type: FK CONSTRAINT; Schema: plugin_auth; Owner: -
--

ALTER TABLE ONLY plugin_auth.user_roles
    ADD CONSTRAINT user_roles_user_id_fkey FOREIGN KEY (user_id) REFERENCES plugin_auth.users(id) ON DELETE CASCADE;


--
-- PostgreSQL database dump complete
--


