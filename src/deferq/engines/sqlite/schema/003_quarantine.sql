-- How often the worker of a task died while it ran, and what was seen of an attempt in quarantine.

alter table deferq_task add column crashes integer not null default 0
  constraint crashes_never_negative check (crashes >= 0);
alter table deferq_failure add column report text not null default '';
