-- Sign-ins with a password, by address, while they may be guesses. Not worth a log: after a crash counting begins anew.
CREATE UNLOGGED TABLE plugin_auth.sign_in_attempts (
    -- SHA-256 of the address in lower case: people type passwords into the wrong field.
    address_digest bytea       PRIMARY KEY,
    attempts       integer     NOT NULL,
    -- When the first was made.
    since          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sign_in_attempts_since ON plugin_auth.sign_in_attempts (since);
