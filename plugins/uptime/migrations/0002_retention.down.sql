DROP INDEX results_by_time;
