-- name: states
select id, state from deferq_task where id in (select value from json_each(:ids));

-- name: cancel_pending
update deferq_task set state = 4, finished_at = :now, reason = :reason
where id in (select value from json_each(:ids)) and state = 0;

-- name: request_cancel
update deferq_task set cancel_requested = 1 where id in (select value from json_each(:ids)) and state = 1;

-- name: reschedule
update deferq_task
set eta = :eta, leasable_at = :eta, first_due = case when attempts = 0 then :eta else first_due end
where id in (select value from json_each(:ids)) and state = 0;

-- name: delete_tasks
delete from deferq_task where id in (select value from json_each(:ids)) and state <> 1;

-- name: delete_payloads
delete from deferq_payload where id in (select value from json_each(:ids));

-- name: delete_spills
delete from deferq_spill where id in (select value from json_each(:ids));

-- name: delete_results
delete from deferq_result where id in (select value from json_each(:ids));

-- name: delete_failures
delete from deferq_failure where task_id in (select value from json_each(:ids));

-- name: some_pending
select id from deferq_task indexed by deferq_ready where state = 0 and url is null and queue = :queue
union all
select id from deferq_task indexed by deferq_delivered where state = 0 and url is not null and queue = :queue
limit :limit;

-- name: names_of_ended
-- Ended tasks that have a name, and who has that name now: a tombstone that is over has it no more.
select t.id, t.queue, t.name, n.task_id
from deferq_task t left join deferq_name n
  on n.queue = t.queue and n.name = t.name and (n.until is null or n.until > :now)
where t.id in (select value from json_each(:ids)) and t.state in (3, 4) and t.name is not null;

-- name: take_name_back
insert into deferq_name (queue, name, task_id) values (?, ?, ?)
on conflict (queue, name) do update set task_id = excluded.task_id, until = null;

-- name: requeue
update deferq_task
set state = 0, eta = :now, leasable_at = :now, first_due = :now, attempts = 0, parks = 0, crashes = 0,
    finished_at = null, cancel_requested = 0, expires_at = case when expires_at > :now then expires_at end, reason = 'requeued'
where id in (select value from json_each(:ids)) and state in (3, 4);

-- name: drop_names
update deferq_task set name = null where id in (select value from json_each(:ids));

-- name: parked
select json_group_array(id) from (
  select id from deferq_task indexed by deferq_parked
  where state = 0 and parks > 0 and leasable_at > :now
    and (:reason is null or reason = :reason)
    and (:queues is null or queue in (select value from json_each(:queues)))
    and (:routes is null or coalesce(route, '') in (select value from json_each(:routes)))
    and (:delivers or url is null)
  limit :limit);

-- name: wake
update deferq_task set eta = :now, leasable_at = :now where id in (select value from json_each(:ids));

-- name: write_queue
-- A bucket goes on under another rate; the fraction of a microsecond has no meaning there.
insert into deferq_queue (name, paused, pull, declared, chosen, rate, bucket_size, max_concurrent)
values (?, ?, ?, ?, ?, ?, ?, ?)
on conflict (name) do update set
  paused = excluded.paused, pull = excluded.pull, declared = excluded.declared, chosen = excluded.chosen, bucket_size = excluded.bucket_size,
  max_concurrent = excluded.max_concurrent, full_at_parts = iif(rate is excluded.rate, full_at_parts, 0),
  rate = excluded.rate;

-- name: records
select kind, key, version, due, document from deferq_record where kind = ? and key > ? order by key limit ?;

-- name: insert_record
insert into deferq_record (kind, key, version, due, document) values (?, ?, 1, ?, ?) on conflict do nothing;

-- name: update_record
update deferq_record set version = version + 1, due = ?, document = ? where kind = ? and key = ? and version = ?;

-- name: delete_record
delete from deferq_record where kind = ? and key = ? and version = ?;
