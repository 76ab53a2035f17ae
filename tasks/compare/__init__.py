"""Desired and observed state: the differences, and what makes a host unfit. Pure."""
