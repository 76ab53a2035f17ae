"""One run of a command: its options, its data at the door, one look at all hosts, and how it ends."""
