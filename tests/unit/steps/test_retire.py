"""What is kept of roles that left a host, and how it is deleted (tasks/steps/retire.py)."""

from tasks.steps.retire import purge_command


def test_a_directory_is_deleted_only_after_everybody_left_it() -> None:
    first, *_, last = purge_command("old").split("; ")
    assert first == "user=redis-old.service"
    assert last == "rm -rf --one-file-system /var/lib/redis/old"
