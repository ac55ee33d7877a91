-- What somebody asks who looks for what is wrong. Each reads `:cap` rows at most.

-- name: parked
-- By target and by the error that parked them, the most first. Suspects that wait for quarantine are no such.
select target, error_type, count(*), max(id) from (
  select id, target,
    (select error_type from deferq_failure f where f.task_id = t.id and f.kind = 'parked' order by f.id desc limit 1)
      as error_type
  from deferq_task t indexed by deferq_parked
  where state = 0 and parks > 0 and (crashes < 2 or reason = 'parked') limit :cap)
group by target, error_type order by count(*) desc, target;

-- name: waiting_targets
select target, count(*), max(id) from (
  select id, target from deferq_task indexed by deferq_ready where state = 0 and url is null
  union all
  select id, target from deferq_task indexed by deferq_held where state = 1
  limit :cap)
group by target order by target;

-- name: suspects
select target, count(*), max(id) from (
  select id, target, crashes from deferq_task indexed by deferq_ready where state = 0 and url is null limit :cap)
where crashes >= 2 group by target order by count(*) desc, target;

-- name: heads
-- How the envelopes of waiting tasks begin: magic, version, codec and key id. Large ones stand in a table of their own,
-- and reading the head of one reads it whole; a few of them will do.
select head, count(*), max(id) from (
  select * from (
    select id, substr(payload, 1, 8) as head from deferq_task indexed by deferq_ready
    where state = 0 and url is null and payload is not null limit :cap)
  union all
  select * from (
    select id, substr(payload, 1, 8) as head from deferq_task indexed by deferq_delivered
    where state = 0 and url is not null and payload is not null limit :cap)
  union all
  select * from (
    select t.id, substr(p.body, 1, 8) as head from deferq_payload p cross join deferq_task t on t.id = p.id
    where t.state = 0 limit 20))
group by head order by count(*) desc;

-- name: own_urls
select queue, route, count(*), min(leasable_at) from (
  select queue, route, leasable_at from deferq_task indexed by deferq_delivered
  where state = 0 and url is not null and not parks and leasable_at <= :due limit :cap)
group by queue, route order by queue, route;

-- name: stalled
select queue, count(*), min(leasable_at) from (
  select queue, leasable_at from deferq_task indexed by deferq_held where state = 1 and leasable_at < :before limit :cap)
group by queue order by queue;

-- name: leased_far_ahead
select count(*), max(leasable_at) from (
  select leasable_at from deferq_task indexed by deferq_held where state = 1 and leasable_at > :after limit :cap);

-- name: due_far_ahead
select count(*), max(leasable_at) from (
  select leasable_at from deferq_task indexed by deferq_ready where state = 0 and url is null limit :cap)
where leasable_at > :after;

-- name: made_later
select count(*), max(id) from (select id from deferq_task where id > :id order by id desc limit :cap);

-- name: totals_later
select count(*), max(at) from (
  select at from deferq_total where folded in (0, 1) and at > :after limit :cap);

-- name: dead_lately
select target, reason, count(*), max(finished_at) from (
  select target, reason, finished_at from deferq_task indexed by deferq_finished
  where state >= 2 and state = 3 and finished_at > :since limit :cap)
group by target, reason order by count(*) desc, target limit 20;

-- name: errors_lately
-- The types alone: messages may hold what belongs to nobody else.
select error_type, kind, count(*), max(at) from (select error_type, kind, at from deferq_failure order by id desc limit :cap)
where error_type <> '' group by error_type, kind order by max(at) desc limit 20;

-- name: tables_beside
select count(*) from sqlite_master
where type = 'table' and name not like 'deferq~_%' escape '~' and name not like 'sqlite~_%' escape '~';
