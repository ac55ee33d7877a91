-- name: insert_tasks
-- One task or, with the parenthesis repeated, many in one step.
insert into deferq_task (id, queue, target, priority, leasable_at, eta, first_due, expires_at, at_most_once,
                         name, route, url, options, payload)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (id) do nothing;

-- name: insert_payload
insert into deferq_payload (id, body) values (?, ?) on conflict (id) do nothing;

-- name: insert_spill
insert into deferq_spill (id, body) values (?, ?) on conflict (id) do update set body = excluded.body;

-- name: insert_queue
insert into deferq_queue (name) values (?) on conflict (name) do nothing;

-- name: stored_payload
-- Tells our own repeated put from somebody else's task with the same id.
select coalesce(t.payload, (select body from deferq_payload p where p.id = t.id)) from deferq_task t where t.id = ?;

-- name: holder_of_name
-- Who has the name: task, end of its tombstone, and the task's state if its row is still there.
-- Expressions, here and below: a column would pass through converters that a caller's connection may have.
select +n.task_id, +n.until, +t.state
from deferq_name n left join deferq_task t on t.id = n.task_id
where n.queue = ? and n.name = ?;

-- name: take_name
insert into deferq_name (queue, name, task_id) values (?, ?, ?)
on conflict (queue, name) do update set task_id = excluded.task_id, until = null;

-- name: become_nameless
update deferq_task set name = null where id = ? and state = 1;

-- name: cancel_replaced
update deferq_task set state = 4, finished_at = :now, reason = 'replaced', name = null where id = :id and state = 0;
