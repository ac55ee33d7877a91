-- Whether somebody has begun with a leased task who is not its dispatcher: a handler, to whom it was pushed.

alter table deferq_task add column taken_up integer;  -- the last lease that was; no lease id is used twice
