-- name: lanes
-- twin: delivered_lanes
-- Walks the lanes (queue, priority) that hold pending tasks, by one index seek each: whether one is due, and when the
-- next one will be; tasks of a single start apart. Limited queues are marked.
with recursive lane (queue, limited, priority) as (
  select q.name, q.rate is not null or q.max_concurrent is not null,
    (select max(priority) from deferq_task indexed by deferq_ready
     where state = 0 and url is null and queue = q.name)
  from deferq_queue q
  where not q.paused and q.pull = :pulls and (:queues is null or q.name in (select value from json_each(:queues)))
  union all
  select queue, limited,
    (select max(priority) from deferq_task indexed by deferq_ready
     where state = 0 and url is null and queue = lane.queue and priority < lane.priority)
  from lane where priority is not null
),
half (at_most_once) as (values (0), (1))
select queue, limited, priority, half.at_most_once,
  (select min(leasable_at) from deferq_task indexed by deferq_ready
   where state = 0 and url is null and queue = lane.queue and priority = lane.priority
     and at_most_once = half.at_most_once) <= :now as due,
  (select min(leasable_at) from deferq_task indexed by deferq_ready
   where state = 0 and url is null and queue = lane.queue and priority = lane.priority
     and at_most_once = half.at_most_once and leasable_at > :now) as next
from lane cross join half where priority is not null;

-- name: candidates
-- twin: delivered_candidates
-- For each of `:lanes` [[queue, priority, at_most_once, limited], ...] the first due tasks [[due, id], ...], all in one
-- row and so in one step: between steps other threads of the process may hold up whoever has the write lock.
-- Queues that were paused or limited since somebody looked, or became pull queues, give nothing.
select json_group_array(json_array(lane.key, json((
  select json_group_array(json_array(leasable_at, id)) from (
    select leasable_at, id from deferq_task indexed by deferq_ready
    where state = 0 and url is null and queue = lane.value ->> 0 and priority = lane.value ->> 1
      and at_most_once = lane.value ->> 2 and leasable_at <= :now
      and (:routes is null or coalesce(route, '') in (select value from json_each(:routes)))
    order by leasable_at, id limit :limit)))))
from json_each(:lanes) as lane cross join deferq_queue as q
where q.name = lane.value ->> 0 and not q.paused and q.pull = :pulls
  and (lane.value ->> 3 or (q.rate is null and q.max_concurrent is null));

-- name: lease
-- One step for the whole batch. A damaged row may stand at the last number there is, and must not hold up the others.
update deferq_task set state = 1, lease_id = :lease_id, leasable_at = :until, starts = starts + (starts < 9223372036854775807)
where id in (select value from json_each(:ids));

-- name: lease_first
-- The task of one queue that is to be served first, leased and read by one statement that is a transaction of its own;
-- none of a limited queue, and none if a deliverer asks, and the queue has tasks that may come before it.
update deferq_task set state = 1, lease_id = :lease_id, leasable_at = :until, starts = starts + (starts < 9223372036854775807)
where id = (
  select id from (select leasable_at, id from (
    select leasable_at, id from deferq_task indexed by deferq_ready
    where state = 0 and url is null and queue = :queue and at_most_once = 0 and leasable_at <= :now
      and priority = (select max(priority) from deferq_task indexed by deferq_ready
                      where state = 0 and url is null and queue = :queue)
      and (:routes is null or coalesce(route, '') in (select value from json_each(:routes)))
    order by leasable_at, id limit 1)
  union all select leasable_at, id from (
    select leasable_at, id from deferq_task indexed by deferq_ready
    where state = 0 and url is null and queue = :queue and at_most_once = 1 and leasable_at <= :now
      and priority = (select max(priority) from deferq_task indexed by deferq_ready
                      where state = 0 and url is null and queue = :queue)
      and (:routes is null or coalesce(route, '') in (select value from json_each(:routes)))
    order by leasable_at, id limit 1)
  ) order by leasable_at, id limit 1)
and exists (select 1 from deferq_queue q
            where q.name = :queue and not q.pull and not q.paused and q.rate is null and q.max_concurrent is null)
and not (:delivers and exists (select 1 from deferq_task indexed by deferq_delivered
                               where state = 0 and url is not null and queue = :queue))
returning id, queue, target, priority, eta, attempts, starts, parks, expires_at, name, route, url, options,
  coalesce(payload, (select body from deferq_payload p where p.id = deferq_task.id), x''),
  first_due, lease_id, leasable_at, cancel_requested, crashes;

-- name: leased
-- What the lease took: they share the end of the lease, and it is in the index.
select id, queue, target, priority, eta, attempts, starts, parks, expires_at, name, route, url, options,
  coalesce(payload, (select body from deferq_payload p where p.id = t.id), x''),
  first_due, lease_id, leasable_at, cancel_requested, crashes
from deferq_task t indexed by deferq_held
where state = 1 and queue in (select value from json_each(:queues)) and leasable_at = :until
  and lease_id = :lease_id;

-- name: stalled
select t.id, t.queue, t.target, t.priority, t.eta, t.attempts, t.starts, t.parks, t.expires_at, t.name, t.route, t.url,
  t.options, x'', t.first_due, t.lease_id, t.leasable_at, t.cancel_requested, t.crashes
from deferq_queue q cross join deferq_task t indexed by deferq_held
where (:queue is null or q.name = :queue) and t.state = 1 and t.queue = q.name and t.leasable_at <= :now
limit :limit;

-- name: orphaned
-- What the dispatchers in `:holders` hold and what is not over yet: looks at every leased task. What was taken up runs
-- in another process, which may be well.
select t.id, t.queue, t.target, t.priority, t.eta, t.attempts, t.starts, t.parks, t.expires_at, t.name, t.route, t.url,
  t.options, x'', t.first_due, t.lease_id, t.leasable_at, t.cancel_requested, t.crashes
from deferq_queue q cross join deferq_task t indexed by deferq_held
where t.state = 1 and t.queue = q.name and t.leasable_at > :now
  and t.lease_id >> :bits in (select value from json_each(:holders)) and t.taken_up is not t.lease_id
limit :limit;

-- name: renew
update deferq_task set leasable_at = :until
where id in (select value from json_each(:ids)) and lease_id = :lease_id and state = 1;

-- name: still_held
-- Those that are, each with whether somebody asked to cancel it; in one step.
select json_group_array(json_array(id, cancel_requested)) from deferq_task
where id in (select value from json_each(:ids)) and lease_id = :lease_id and state = 1;

-- name: take_up
-- Whether it was taken up now shows by the number of changed rows.
update deferq_task set taken_up = :lease_id
where id = :id and state = 1 and lease_id = :lease_id and leasable_at > :now and taken_up is not :lease_id;

-- name: why_not
-- How a task stands that could not be taken up.
select state, lease_id, leasable_at, taken_up from deferq_task where id = :id;
