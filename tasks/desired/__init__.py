"""What must be true of one host: desired state, the texts of its files, and where they lie. Nothing looks at a host."""
