-- name: settle_succeeded
-- The common case: tasks of one lease that returned.
update deferq_task
set state = 2, attempts = attempts + (attempts < 9223372036854775807), parks = 0, finished_at = :now, reason = null
where id in (select value from json_each(:ids)) and lease_id = :lease_id and state = 1;

-- name: settle
-- `:rows` is [[id, lease_id, state, eta, attempts, parks, started, finished_at, reason, only_if_over,
-- crashes], ...].
update deferq_task
set state = o.state, eta = o.eta, leasable_at = o.eta, attempts = o.attempts, parks = o.parks,
    starts = starts - (not o.started), finished_at = o.finished_at, reason = o.reason,
    crashes = o.crashes
from (select value ->> 0 as id, value ->> 1 as lease_id, value ->> 2 as state, value ->> 3 as eta,
             value ->> 4 as attempts, value ->> 5 as parks, value ->> 6 as started, value ->> 7 as finished_at,
             value ->> 8 as reason, value ->> 9 as only_if_over, value ->> 10 as crashes
      from json_each(:rows)) as o
where deferq_task.id = o.id and deferq_task.lease_id = o.lease_id and deferq_task.state = 1
  and (not o.only_if_over or deferq_task.leasable_at <= :now);

-- name: standing
-- How these tasks stand, to tell leases that hold from those that were lost.
select +id, +lease_id, +state, +attempts, +leasable_at from deferq_task where id in (select value from json_each(:ids));

-- name: bury_names
update deferq_name set until = :until where task_id in (select value from json_each(:ids)) and until is null;

-- name: insert_failures
insert into deferq_failure (task_id, attempt, at, kind, error_type, message, traceback, report)
select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7
from json_each(:rows);

-- name: trim_failures
-- Keeps the newest :keep of a task.
delete from deferq_failure
where task_id = :id
  and id <= (select id from deferq_failure where task_id = :id order by id desc limit 1 offset :keep);

-- name: insert_result
insert into deferq_result (id, body) values (?, ?) on conflict (id) do update set body = excluded.body;

-- name: insert_totals
insert into deferq_total (at, queue, target, attempts, failures, duration_us, duration_us_max)
select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6 from json_each(:rows);
