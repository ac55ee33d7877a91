"""What `deferq doctor` looks at: one small check after another, each a function of a Case."""
