"""Failures that users of other task queues reported, and the test that shows that deferq does not have them."""
