-- Secrets that admins have set. Migrations only go forward, and each must leave the release before it able to work.
CREATE SEQUENCE plugin_secrets.revisions AS bigint;
CREATE TABLE plugin_secrets.secrets (
    name        text        COLLATE "C" PRIMARY KEY,
    -- AES-256-GCM, `<IV>:<tag>:<content>` in base64; what is encrypted begins with the name.
    ciphertext  text        NOT NULL,
    description text        NOT NULL DEFAULT '',
    -- Another one whenever the value is another.
    revision    bigint      NOT NULL DEFAULT nextval('plugin_secrets.revisions'),
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    updated_by  text        NOT NULL
);
