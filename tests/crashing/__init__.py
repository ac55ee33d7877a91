"""`deferq.testing.assert_idempotent` and the fault points: real files, real processes, real kills."""
