-- A session in use is prolonged, but not beyond this time. None: it is not prolonged (as those of releases before this one).
ALTER TABLE plugin_auth.sessions ADD COLUMN ends_at_latest timestamptz;
