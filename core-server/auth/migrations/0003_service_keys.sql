-- RSA keys that tokens of services are signed with. The id is the `kid` of the tokens.
CREATE TABLE plugin_auth.service_keys (
    id                 uuid        PRIMARY KEY,
    -- Big-endian, without leading zeros.
    modulus            bytea       NOT NULL,
    exponent           bytea       NOT NULL,
    -- PKCS #8, encrypted with a key of the instance and bound to the columns above.
    sealed_private_key bytea       NOT NULL,
    created_at         timestamptz NOT NULL DEFAULT now(),
    -- None: it signs. Else a newer one does, and this one counts until then.
    expires_at         timestamptz,
    -- Does not count any more.
    revoked_at         timestamptz
);
