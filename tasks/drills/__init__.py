"""What a rehearsal does to throw-away hosts, and to no others."""
