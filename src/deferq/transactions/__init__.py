"""Tasks in a transaction of the caller's: they exist if and only if it commits.

What other rooms of deferq use of it:

    options["within"]              None or left out: a transaction that is open here, if one is found (`find`);
                                   True: the same, and NoTransaction if none is found (`_transactional=True`);
                                   False: none, whatever is open (`_transactional=False`);
                                   else a connection, a session, or an alias of Django's
    joining.chosen(engine, within) -> Transaction | None     what an option comes to
    joining.resolve(within)        -> Transaction            the adapter of a connection or session
    detecting.find(engine)         -> Transaction | None     the transaction that is open in this thread or coroutine
    engine.within                  -> Within | None          how an engine writes in it (engines/within.py)
    storing.store(...)             the tasks into it, and a ring for those that commit
    settling.Settler               behind `current_task().settle_within(connection, result=None)`
    errors                         TransactionError and those below it; NoTransaction is App Engine's
                                   BadTransactionStateError

A task with a name may be stored in a transaction. App Engine refuses that, and so does `deferq.compat.appengine`.
"""
