"""What is decided, and nothing else: pure functions; `now` is an argument."""
