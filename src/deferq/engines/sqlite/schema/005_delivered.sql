-- Tasks with an url stand in lanes as the others do: those of a single start apart.

drop index deferq_delivered;
create index deferq_delivered on deferq_task (queue, priority desc, at_most_once, leasable_at, id)
  where state = 0 and url is not null;
