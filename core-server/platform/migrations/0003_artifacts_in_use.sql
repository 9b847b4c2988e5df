-- Since when nothing has needed an artifact: it is deleted some time after that.
ALTER TABLE checkstack.plugin_artifacts ADD COLUMN unneeded_since timestamptz;
