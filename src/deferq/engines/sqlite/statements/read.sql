-- name: get
select id, queue, target, state, priority, eta, leasable_at, first_due, attempts, starts, parks, expires_at, name,
  route, url, options, lease_id, cancel_requested, finished_at, reason,
  coalesce(length(payload), (select length(body) from deferq_payload p where p.id = t.id), 0), crashes
from deferq_task t
where id in (select value from json_each(:ids));

-- name: find
-- By id, newest first; the primary key pages.
select id, queue, target, state, priority, eta, leasable_at, first_due, attempts, starts, parks, expires_at, name,
  route, url, options, lease_id, cancel_requested, finished_at, reason,
  coalesce(length(payload), (select length(body) from deferq_payload p where p.id = t.id), 0), crashes
from deferq_task t
where id < :after
  and (:queue is null or queue = :queue)
  and (:state is null or state = :state)
  and (:target is null or target = :target)
  and (:name is null or name = :name)
order by id desc limit :limit;

-- name: find_dead
-- The same for dead tasks alone, which an index keeps apart from a long history.
select id, queue, target, state, priority, eta, leasable_at, first_due, attempts, starts, parks, expires_at, name,
  route, url, options, lease_id, cancel_requested, finished_at, reason,
  coalesce(length(payload), (select length(body) from deferq_payload p where p.id = t.id), 0), crashes
from deferq_task t indexed by deferq_dead
where id < :after and state = 3
  and (:queue is null or queue = :queue)
  and (:target is null or target = :target)
  and (:name is null or name = :name)
order by id desc limit :limit;

-- name: details
select coalesce(payload, (select body from deferq_payload p where p.id = t.id)),
  (select body from deferq_result r where r.id = t.id)
from deferq_task t where id = ?;

-- name: spill
select body from deferq_spill where id = ?;

-- name: failures
select attempt, at, kind, error_type, message, traceback, report from deferq_failure where task_id = ? order by id;

-- name: holders
-- Who has these names of a queue, alive or as a tombstone.
select name, task_id from deferq_name
where queue = :queue and name in (select value from json_each(:names)) and (until is null or until > :now);

-- name: queues
select +name, +paused, +declared, +chosen from deferq_queue order by name;

-- name: count_pending
-- Of one queue, at most `:cap` steps: ready, scheduled, retrying, parked, oldest ready. Pending tasks stand in two
-- indexes; over both at once SQLite would read the whole table.
select
  sum(leasable_at <= :now and not parks), sum(leasable_at > :now and not attempts and not parks),
  sum(leasable_at > :now and attempts and not parks), sum(parks > 0),
  min(case when leasable_at <= :now and not parks then leasable_at end)
from (
  select leasable_at, attempts, parks from deferq_task indexed by deferq_ready
  where state = 0 and url is null and queue = :queue
  union all
  select leasable_at, attempts, parks from deferq_task indexed by deferq_delivered
  where state = 0 and url is not null and queue = :queue
  limit :cap);

-- name: count_held
select count(*) from (select 1 from deferq_task indexed by deferq_held where state = 1 and queue = :queue limit :cap);

-- name: count_finished
select count(*) from (select 1 from deferq_task indexed by deferq_finished where state >= 2 and state = :state limit :cap);

-- name: totals
select at, queue, target, attempts, failures, duration_us, duration_us_max
from deferq_total where folded in (0, 1) and at >= ? and at < ? order by at;
