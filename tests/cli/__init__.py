"""The command line: reading verbs in this process, workers in processes of their own."""
