"""What redis-check-aof says of a log, read as far as it can be relied on; its words as both versions print them."""

import pytest

from tasks.steps.log import Checked, check_script, is_growing, read_check, way_back
from tests.unit.builders import desired
from tests.unit.scripts import call

BASE = "AOF analyzed: filename=appendonly.aof.1.base.rdb, size=89, ok_up_to=89, ok_up_to_line=1, diff=0\n"
INCR = "AOF analyzed: filename=/var/lib/redis/x/appendonlydir/appendonly.aof.1.incr.aof, size=1585, ok_up_to={}, "
NOT_VALID = "AOF appendonly.aof.1.incr.aof is not valid. Use the --fix option to try fixing it.\n"  # on standard error
CUT = BASE + "0x  62e: Expected to read 6 bytes, got 3 bytes\n" + INCR + "ok_up_to_line=376, diff=82\n" + NOT_VALID


def test_a_log_is_whole_when_the_line_says_so() -> None:
    rest = "ok_up_to_line=376, diff=0\nINCR AOF F is valid\nAll AOF files and manifest are valid\n"
    said = BASE + INCR.format(1585) + rest
    assert read_check(said) == Checked(True)


@pytest.mark.parametrize(
    "said",
    [
        "AOF appendonly.aof.manifest is empty\n",  # it ends with 0 then
        "Cannot open file appendonly.aof.1.incr.aof: Permission denied, aborting...\n",
        "Cannot open file appendonly.aof.1.incr.aof: No such file or directory\n",
        "--- RDB ERROR DETECTED ---\nRDB preamble of AOF file is not sane, aborting.\n",
        "Out Of Memory allocating 100000000001 bytes!\n",
        "INCR AOF All AOF files and manifest are valid is valid\n",  # a file's name is only a name
        "",  # killed when its time was over
        "AOF F format error\n",
    ],
)
def test_a_log_of_which_anything_else_is_said_is_not_whole(said: str) -> None:
    checked = read_check(said)
    assert not checked.whole
    assert checked.why
    assert not checked.file


def test_of_a_damaged_log_it_is_known_how_far_it_is_whole() -> None:
    checked = read_check(CUT.format(1503))
    assert (checked.whole, checked.size, checked.good) == (False, 1585, 1503)
    assert "appendonly.aof.1.incr.aof" in checked.file
    assert "is not valid" in checked.why


@pytest.mark.parametrize(("before", "after", "growing"), [(1503, 1585, True), (1503, 1503, False)])
def test_a_log_that_grows_is_whole_further_at_the_next_look_and_one_that_is_damaged_is_not(
    before: int, after: int, growing: bool
) -> None:
    assert is_growing(read_check(CUT.format(before)), read_check(CUT.format(after))) == growing


def test_the_way_back_begins_with_a_copy() -> None:
    instance = desired("crypto").instances[0]
    way = way_back(instance, read_check(CUT.format(1503)))
    assert way.startswith("keep a copy first (cp -a /var/lib/redis/crypto/appendonlydir /root/crypto-log)")
    assert "would keep the first 1503 of its 1585 bytes and lose 82" in way


def test_a_log_is_checked_by_its_manifest_and_not_for_ever() -> None:
    run = call(call(check_script(desired("crypto").instances[0])).parameters["job"])
    assert run.parameters == {
        "manifest": "/var/lib/redis/crypto/appendonlydir/appendonly.aof.manifest",
        "patience": "600",
    }
