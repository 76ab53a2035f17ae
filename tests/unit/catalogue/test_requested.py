"""What an operator asks for (tasks/catalogue/requested.py): names of roles, or a refusal."""

from types import MappingProxyType

import pytest

from tasks.catalogue.requested import malformed, named_roles, unknown_adoptions


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (None, ()),
        ("gateway", ("gateway",)),
        ("gateway, socket,gateway", ("gateway", "socket")),
        (["gateway"], ("gateway",)),
        *(
            (wrong, None)
            for wrong in ("", "..", "/", ".", "a/b", "-rf", "a b", "A", "gateway,", "$x", "a\nb", 5, [1], True)
        ),
    ],
)
def test_only_names_that_a_role_can_have_are_taken(value: object, names: tuple[str, ...] | None) -> None:
    assert named_roles(value) == names
    wrong = list(malformed("host-1", MappingProxyType({"purge": value})))
    assert len(wrong) == (names is None)


def test_roles_that_nobody_carries_cannot_adopt() -> None:
    asked = [(["gateway"], ["gateway", "socket", "gatway"]), ([], ["gateway", "socket", "gatway"])]
    assert list(unknown_adoptions(asked, ["gateway", "socket"])) == [
        "adopt=gatway: no such role, expected one of gateway, socket: correct the name",
        "adopt=socket: no host of the inventory carries socket, expected one: put it into group redis_socket",
    ]
