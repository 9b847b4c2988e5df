-- How each target is: what others hear the changes of.
CREATE TABLE states (
    target text PRIMARY KEY,
    up boolean NOT NULL,
    -- Why it is not up, for a person.
    problem text
);

INSERT INTO states (target, up, problem)
SELECT DISTINCT ON (target) target, up, problem FROM results ORDER BY target, checked_at DESC, id DESC;
