-- What belongs to a task and is too large to go with every delivery; it is gone with the task.

create table deferq_spill (id integer primary key, body blob not null) strict;
