"""What helps to test with deferq, and to test deferq itself."""
