-- name: standings
-- Of those of `:queues` that are limited: limits, bucket, whether it is paused, and how many of its tasks are leased.
select name, rate, bucket_size, max_concurrent, full_at, full_at_parts, paused,
  case when max_concurrent is null then 0
       else (select count(*) from deferq_task indexed by deferq_held where state = 1 and queue = q.name) end
from deferq_queue q
where name in (select value from json_each(:queues))
  and (rate is not null or max_concurrent is not null);

-- name: spend
update deferq_queue set full_at = ?, full_at_parts = ? where name = ?;

-- name: is_due
-- twin: delivered_is_due
-- The lanes of a queue, until one has a task that is due.
with recursive lane (priority) as (
  select max(priority) from deferq_task indexed by deferq_ready where state = 0 and url is null and queue = :queue
  union all
  select (select max(priority) from deferq_task indexed by deferq_ready
          where state = 0 and url is null and queue = :queue and priority < lane.priority)
  from lane where priority is not null
),
half (at_most_once) as (values (0), (1))
select 1 from lane cross join half
where priority is not null and exists (
  select 1 from deferq_task indexed by deferq_ready
  where state = 0 and url is null and queue = :queue and priority = lane.priority
    and at_most_once = half.at_most_once and leasable_at <= :now)
limit 1;
