"""What an operator asks for (tasks/catalogue/requested.py): names of roles, or a refusal."""

from types import MappingProxyType

import pytest

from tasks.catalogue.requested import WORDS, malformed, named_roles, requests, unmet


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


@pytest.mark.parametrize("word", [word for word in WORDS if word != "purge"])
def test_nothing_can_be_asked_for_a_role_that_nobody_carries(word: str) -> None:
    wish = requests({word: "gateway,socket,gatway"})
    assert list(unmet([(["gateway"], wish), ([], wish)], ["gateway", "socket"])) == [
        f"{word}=gatway: no such role, expected one of gateway, socket: correct the name",
        f"{word}=socket: no host of the inventory carries socket, expected one: put it into group redis_socket",
    ]


def test_data_of_a_role_that_nobody_carries_any_more_can_be_purged() -> None:
    assert list(unmet([(["gateway"], requests({"purge": "before"}))], ["gateway"])) == []
