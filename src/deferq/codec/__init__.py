"""What a task carries: the name of what it calls, its arguments, its context, and the signature over all of it."""
