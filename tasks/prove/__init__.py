"""Look again, then behave like a client: the only keys that are touched are those of the proof itself."""
