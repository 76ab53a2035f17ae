"""The fixed commands of the steps."""

from tasks.steps.operations import remove_commands


def test_files_and_what_a_killed_proof_left_are_removed_each_in_its_way() -> None:
    assert remove_commands(["/etc/a", "/var/lib/caas-redis-proof/x", "/etc/b"]) == [
        "rm -f /etc/a /etc/b",
        "rm -rf --one-file-system /var/lib/caas-redis-proof/x",
    ]
    assert remove_commands([]) == []
