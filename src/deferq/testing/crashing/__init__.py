"""What `assert_idempotent` is made of: a task is killed at every point, run again, and what is left is compared.

`trials` leads. It sets the scene for each trial (`scene`, `databases`, `trialstore`), has a process live through the
task (`children` starts it, `life` is what it does), and compares what is left (`tables`, `aftermath`). In the process,
`points` counts what it comes past, told by `commits`, `awaits` and the fault points, and kills it where it was told to.
"""
