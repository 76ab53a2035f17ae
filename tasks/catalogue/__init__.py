"""What an operator writes: roles.yaml, secrets and requests become frozen, validated models; what a directive means."""
