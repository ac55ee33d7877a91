-- Whether a queue's tasks are leased by whoever asks for them by its name. Workers pass it over.

alter table deferq_queue add column pull integer not null default 0
  constraint pull_is_a_truth_value check (pull in (0, 1));
