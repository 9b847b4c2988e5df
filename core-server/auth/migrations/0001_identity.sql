-- Who there is, and who may do what. Times are those of the database.

CREATE TABLE plugin_auth.users (
    id            uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    -- As it was given; one address has one user, however it is written.
    email         text        NOT NULL,
    name          text        NOT NULL,
    -- argon2id, in PHC form. None: cannot sign in with a password.
    password_hash text,
    created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX users_email ON plugin_auth.users (lower(email));

CREATE TABLE plugin_auth.sessions (
    -- SHA-256 of what the cookie has.
    token_digest bytea       PRIMARY KEY,
    user_id      uuid        NOT NULL REFERENCES plugin_auth.users ON DELETE CASCADE,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL
);
CREATE INDEX sessions_user_id ON plugin_auth.sessions (user_id);
CREATE INDEX sessions_expires_at ON plugin_auth.sessions (expires_at);

-- Programs outside, each with a key `ck_<id>_<secret>`.
CREATE TABLE plugin_auth.applications (
    id            uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    name          text        NOT NULL,
    description   text        NOT NULL DEFAULT '',
    -- SHA-256 of the secret, which has more than 190 bits.
    secret_digest bytea       NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    last_used_at  timestamptz
);

CREATE TABLE plugin_auth.roles (
    id          text    COLLATE "C" PRIMARY KEY,
    name        text    NOT NULL,
    description text    NOT NULL DEFAULT '',
    -- Cannot be deleted.
    is_system   boolean NOT NULL DEFAULT false
);
INSERT INTO plugin_auth.roles (id, name, description, is_system) VALUES
    ('admin', 'Administrators', 'May do everything', true),
    ('users', 'Users', 'What everybody may do who signs in', true),
    ('anonymous', 'Anonymous', 'What may be done without signing in', true),
    ('applications', 'Applications', 'What every application may do', true);

-- Defined by plugins: `<plugin>.<resource>.<level>`.
CREATE TABLE plugin_auth.access_rules (
    id          text    COLLATE "C" PRIMARY KEY,
    description text    NOT NULL,
    is_default  boolean NOT NULL,
    is_public   boolean NOT NULL
);

CREATE TABLE plugin_auth.role_access_rules (
    role_id text COLLATE "C" NOT NULL REFERENCES plugin_auth.roles ON DELETE CASCADE,
    rule_id text COLLATE "C" NOT NULL REFERENCES plugin_auth.access_rules ON DELETE CASCADE,
    PRIMARY KEY (role_id, rule_id)
);
CREATE INDEX role_access_rules_rule_id ON plugin_auth.role_access_rules (rule_id);

CREATE TABLE plugin_auth.user_roles (
    user_id uuid NOT NULL REFERENCES plugin_auth.users ON DELETE CASCADE,
    role_id text COLLATE "C" NOT NULL REFERENCES plugin_auth.roles ON DELETE CASCADE,
    PRIMARY KEY (user_id, role_id)
);
CREATE INDEX user_roles_role_id ON plugin_auth.user_roles (role_id);

CREATE TABLE plugin_auth.application_roles (
    application_id uuid NOT NULL REFERENCES plugin_auth.applications ON DELETE CASCADE,
    role_id        text COLLATE "C" NOT NULL REFERENCES plugin_auth.roles ON DELETE CASCADE,
    PRIMARY KEY (application_id, role_id)
);
CREATE INDEX application_roles_role_id ON plugin_auth.application_roles (role_id);

CREATE TABLE plugin_auth.teams (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name        text NOT NULL UNIQUE,
    description text NOT NULL DEFAULT ''
);

CREATE TABLE plugin_auth.team_users (
    team_id uuid NOT NULL REFERENCES plugin_auth.teams ON DELETE CASCADE,
    user_id uuid NOT NULL REFERENCES plugin_auth.users ON DELETE CASCADE,
    PRIMARY KEY (team_id, user_id)
);
CREATE INDEX team_users_user_id ON plugin_auth.team_users (user_id);

CREATE TABLE plugin_auth.team_applications (
    team_id        uuid NOT NULL REFERENCES plugin_auth.teams ON DELETE CASCADE,
    application_id uuid NOT NULL REFERENCES plugin_auth.applications ON DELETE CASCADE,
    PRIMARY KEY (team_id, application_id)
);
CREATE INDEX team_applications_application_id ON plugin_auth.team_applications (application_id);

-- What teams were granted of single objects. A type is `<plugin>.<resource>`.
CREATE TABLE plugin_auth.team_grants (
    resource_type text    COLLATE "C" NOT NULL,
    resource_id   text    COLLATE "C" NOT NULL,
    team_id       uuid    NOT NULL REFERENCES plugin_auth.teams ON DELETE CASCADE,
    can_read      boolean NOT NULL,
    can_manage    boolean NOT NULL,
    PRIMARY KEY (resource_type, resource_id, team_id)
);
CREATE INDEX team_grants_team_id ON plugin_auth.team_grants (team_id);

-- Objects that teams have for themselves.
CREATE TABLE plugin_auth.team_only_objects (
    resource_type text COLLATE "C" NOT NULL,
    resource_id   text COLLATE "C" NOT NULL,
    PRIMARY KEY (resource_type, resource_id)
);

-- The Secret of the first admin, as it was taken over last.
CREATE TABLE plugin_auth.admin_secret (
    only_row      boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    username      text    NOT NULL,
    password_hash text    NOT NULL
);

-- Who changed what. Nothing is ever changed or deleted here, and no secret is written.
CREATE TABLE plugin_auth.audit_records (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT now(),
    -- user, application, service or system
    actor_type text        NOT NULL,
    actor_id   text        NOT NULL,
    actor_name text        NOT NULL,
    action     text        NOT NULL,
    object     text        NOT NULL,
    details    jsonb       NOT NULL
);
