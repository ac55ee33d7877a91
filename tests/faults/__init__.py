"""An error, a lost answer, a dropped connection or the end of the process at every statement of the SQLite engine.

`trap` stands between the engine and SQLite, `acts` use every method of the engine, `stage` plays an act with one fault
and then looks whether the store is what it would be without it.
"""
