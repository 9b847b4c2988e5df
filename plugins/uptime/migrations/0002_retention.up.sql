-- For the removal of old results, which goes by time alone.
CREATE INDEX results_by_time ON results (checked_at);
