-- Everything deferq stores in an SQLite database. The tables may stand beside an application's own.
-- Times are microseconds since the epoch, UTC.

create table deferq_meta (
  key   text primary key,
  value text not null
) strict, without rowid;

-- A queue springs into being with its first task.
create table deferq_queue (
  name   text primary key,
  paused integer not null default 0,
  constraint paused_is_a_truth_value check (paused in (0, 1))
) strict, without rowid;

create table deferq_task (
  id               integer primary key,         -- time-ordered, made by the caller
  queue            text    not null,
  target           text    not null,            -- module:qualname
  state            integer not null default 0,  -- 0 pending, 1 leased, 2 succeeded, 3 dead, 4 cancelled
  priority         integer not null default 0,
  leasable_at      integer not null,            -- the eta while pending, the end of the lease while leased
  eta              integer not null,            -- when it is due, or was
  first_due        integer not null,            -- when it was due for the first time: its age counts from here
  attempts         integer not null default 0,  -- executions spent
  starts           integer not null default 0,  -- leases that counted as starts; a snooze starts without spending
  parks            integer not null default 0,  -- how often in a row no worker knew its target
  at_most_once     integer not null default 0,  -- its policy allows a single start
  cancel_requested integer not null default 0,
  lease_id         integer,                     -- the fence; kept after settling, so that a repeated settlement is known
  expires_at       integer,
  finished_at      integer,
  name             text,
  route            text,
  url              text,
  options          text,                        -- JSON of what differs from the defaults
  reason           text,
  payload          blob,                        -- signed envelope; null: it is large and stands in deferq_payload
  constraint state_is_known        check (state between 0 and 4),
  constraint priority_is_bounded   check (priority between -100 and 100),
  constraint leased_has_a_lease    check (state <> 1 or lease_id is not null),
  constraint finished_has_a_time   check ((state >= 2) = (finished_at is not null)),
  constraint pending_is_due_at_eta check (state <> 0 or leasable_at = eta),
  constraint counts_never_negative check (attempts >= 0 and starts >= 0 and parks >= 0)
) strict;

-- The pending ones of a lane (queue and priority) stand together in due order, those of a single start apart, since they
-- are leased for free slots alone. Tasks with an url need a deliverer.
create index deferq_ready on deferq_task (queue, priority desc, at_most_once, leasable_at, id)
  where state = 0 and url is null;
create index deferq_delivered on deferq_task (queue, priority desc, leasable_at, id)
  where state = 0 and url is not null;
create index deferq_held on deferq_task (queue, leasable_at) where state = 1;
create index deferq_finished on deferq_task (state, finished_at) where state >= 2;
create index deferq_expiring on deferq_task (expires_at) where state = 0 and expires_at is not null;
create index deferq_parked on deferq_task (id) where state = 0 and parks > 0;
create index deferq_dead on deferq_task (id) where state = 3;

-- Large envelopes and results have rows of their own, since every update of a task rewrites its row.
create table deferq_payload (id integer primary key, body blob not null) strict;
create table deferq_result (id integer primary key, body blob not null) strict;

-- What went wrong, for people to read.
create table deferq_failure (
  id         integer primary key,
  task_id    integer not null,
  attempt    integer not null,
  at         integer not null,
  kind       text    not null,
  error_type text    not null,
  message    text    not null,
  traceback  text    not null
) strict;
create index deferq_failure_task on deferq_failure (task_id, id);

-- Names stand apart: only named tasks pay for them, and a tombstone outlives its task.
create table deferq_name (
  queue   text    not null,
  name    text    not null,
  task_id integer not null,
  until   integer,                              -- null while the task lives, then the end of the tombstone
  primary key (queue, name)
) strict, without rowid;
create index deferq_name_task on deferq_name (task_id);
create index deferq_name_until on deferq_name (until) where until is not null;

-- One row per settlement group, queue and target; folded into minutes later. No row is ever updated.
create table deferq_total (
  at              integer not null,
  folded          integer not null default 0,
  queue           text    not null,
  target          text    not null,
  attempts        integer not null,
  failures        integer not null,
  duration_us     integer not null,
  duration_us_max integer not null,
  constraint folded_is_a_truth_value check (folded in (0, 1))
) strict;
create index deferq_total_at on deferq_total (folded, at);

-- Small versioned documents: workers now, schedules and runs later.
create table deferq_record (
  kind     text    not null,
  key      text    not null,
  version  integer not null,
  due      integer,
  document text    not null,
  primary key (kind, key)
) strict, without rowid;
