"""One file a vendor: its requests verified, its JSON read into alerts. Pure: no I/O, no clock."""
