-- Users that sign in at an OpenID provider. Who they are there never changes; their address may.
CREATE TABLE plugin_auth.external_identities (
    issuer     text        COLLATE "C" NOT NULL,
    subject    text        COLLATE "C" NOT NULL,
    user_id    uuid        NOT NULL REFERENCES plugin_auth.users ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX external_identities_user_id ON plugin_auth.external_identities (user_id);

-- Where a role of a user comes from: an admin has given it, or a group at the provider has. One may come from both.
ALTER TABLE plugin_auth.user_roles
    ADD COLUMN source text COLLATE "C" NOT NULL DEFAULT 'admin' CHECK (source IN ('admin', 'group')),
    DROP CONSTRAINT user_roles_pkey,
    ADD PRIMARY KEY (user_id, role_id, source);
