-- Limits of queues. What was declared and what an operator has set stand apart; what holds has columns of its own.

alter table deferq_queue add column declared text;        -- JSON of the limits that the application declares
alter table deferq_queue add column chosen text;          -- JSON of those that an operator has set; null in it: no limit
alter table deferq_queue add column rate text;            -- such as 5/s
alter table deferq_queue add column bucket_size integer;
alter table deferq_queue add column max_concurrent integer
  constraint max_concurrent_is_positive check (max_concurrent > 0);
-- The bucket of tokens: when it is full, and so many parts of a microsecond later.
alter table deferq_queue add column full_at integer not null default 0;
alter table deferq_queue add column full_at_parts integer not null default 0;
