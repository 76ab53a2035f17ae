"""A connection that is refused is told from one that nobody answers: paramiko says the same words of both."""

import errno

import pytest
from paramiko.ssh_exception import NoValidConnectionsError
from pyinfra.api.exceptions import ConnectError

from tasks.compare.promotion import REFUSED
from tasks.run.entry import connect


@pytest.mark.parametrize(("number", "is_there"), [(errno.ECONNREFUSED, True), (errno.EHOSTUNREACH, False)])
def test_a_host_that_refuses_ssh_is_said_to(number: int, is_there: bool) -> None:
    def connector() -> None:
        try:
            raise NoValidConnectionsError({("172.28.2.1", 22): OSError(number, "")})
        except OSError as error:
            raise ConnectError(f"Could not connect ({error})")  # noqa: B904  # as pyinfra does

    with pytest.raises(ConnectError) as caught:
        connect(connector)
    assert str(caught.value).endswith(REFUSED) == is_there
