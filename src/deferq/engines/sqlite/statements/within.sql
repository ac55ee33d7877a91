-- What is asked by a connection of the caller's, or on its behalf. What the caller's own settings would change on its way
-- to us (converters of declared types) is asked as an expression, which has no declared type.

-- name: database_id
select value from main.deferq_meta where key = 'database_id';

-- name: lock
-- Changes nothing, and takes the write lock. SQLite waits for it only as long as the transaction has not read.
update main.deferq_meta set value = value where key = '';

-- name: whose
-- Whether this is the database of that id; and whether temporary tables of the same names stand before ours.
select coalesce((select value = :id from main.deferq_meta where key = 'database_id'), 0),
  exists (select 1 from temp.sqlite_master where name glob 'deferq_*');

-- name: any_stored
select id from deferq_task where id in (select value from json_each(:ids)) limit 1;
