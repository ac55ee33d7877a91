-- name: expired
-- All ids in one row and so in one step: between steps other threads may hold up whoever has the write lock.
select json_group_array(id) from (
  select id from deferq_task indexed by deferq_expiring
  where state = 0 and expires_at is not null and expires_at <= :now limit :limit);

-- name: past_retention
select json_group_array(id) from (
  select id from deferq_task indexed by deferq_finished
  where state >= 2 and state = :state and finished_at <= :before order by finished_at limit :limit);

-- name: nth_newest
-- When the task finished that is the first one too many. It walks over those that are kept: not under the write lock.
select finished_at from deferq_task indexed by deferq_finished
where state >= 2 and state = :state order by finished_at desc limit 1 offset :keep;

-- name: drop_tombstones
delete from deferq_name
where until <= :now
  and (queue, name) in (select queue, name from deferq_name indexed by deferq_name_until
                        where until is not null and until <= :now limit :limit);

-- name: fold_totals
insert into deferq_total (at, folded, queue, target, attempts, failures, duration_us, duration_us_max)
select at / 60000000 * 60000000, 1, queue, target, sum(attempts), sum(failures), sum(duration_us), max(duration_us_max)
from deferq_total where folded = 0 and at < :before
group by at / 60000000, queue, target;

-- name: drop_folded
delete from deferq_total where folded = 0 and at < :before;

-- name: drop_old_totals
delete from deferq_total where folded = 1 and at < :before;
