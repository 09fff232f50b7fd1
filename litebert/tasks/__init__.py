"""Rows to examples, what a head says of them to answers, and answers to metrics: one file a task, one line each."""
