-- What a new pod needs of a package beside its compiled code, so that it need not unpack the package. It is
-- authenticated by whoever uses it.
CREATE TABLE checkstack.package_essentials (
    digest     text  PRIMARY KEY REFERENCES checkstack.plugin_artifacts (digest) ON DELETE CASCADE,
    essentials bytea NOT NULL
);
