"""One file a table; every difference between engines stays in this room."""
