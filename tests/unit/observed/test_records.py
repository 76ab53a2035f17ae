"""What a host prints is data: any bytes in it are read, or refused in one short line, and nothing else happens."""

import base64
import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.compare.fitness import unfit
from tasks.compare.host import compare
from tasks.observed.listeners import read_listeners
from tasks.observed.nft import HEADER
from tasks.observed.reader import parse_look
from tasks.observed.records import LIMIT, Unreadable, number, read_records, split_parts, unframe
from tasks.observed.state import FileState, Listener, Observed, Unseen
from tests.unit.builders import FIVE, as_desired, desired
from tests.unit.observed.printed import MARK, look_text, printed, record
from tests.unit.observed.test_reader import RECORDED, begin, with_text

HOST = desired(*FIVE)
FIELDS = settings(max_examples=300, deadline=2000, suppress_health_check=[HealthCheck.too_slow])


def process(text: bytes) -> Observed:
    """What a look becomes whose host printed this between the marks."""
    return read_look([f"{MARK} <{base64.b64encode(text).decode()}> {MARK}"])


def read_look(lines: list[str]) -> Observed:
    """What a look becomes whose host printed these lines."""
    return parse_look(unframe(lines, MARK), MARK)


def read_or_refuse(action: Callable[[], Observed]) -> None:
    """A reading that can be compared and judged, or one short printable refusal."""
    try:
        observed = action()
    except Unreadable as error:
        assert str(error).isprintable()
        assert len(str(error)) < 300
        return
    differences = compare(HOST, observed)
    list(unfit(HOST, observed, differences))


@given(output=st.lists(st.text(), max_size=5))
def test_any_output_is_read_or_refused(output: list[str]) -> None:
    read_or_refuse(lambda: read_look(output))


@FIELDS
@given(data=st.data(), junk=st.binary(max_size=40), length=st.integers(0, 30))
def test_any_bytes_anywhere_in_a_look_are_read_or_refused(data: st.DataObject, junk: bytes, length: int) -> None:
    text = RECORDED.encode()
    at = data.draw(st.integers(0, len(text)))
    read_or_refuse(lambda: process(text[:at] + junk + text[at + length :]))


WORDS = [line.split() for line in RECORDED.replace("\0", "\n").split("\n")]
TOKENS = sorted({part for words in WORDS for word in words for part in (word, word.rpartition("=")[2]) if part})


@FIELDS
@given(token=st.sampled_from(TOKENS), junk=st.text(max_size=40) | st.integers().map(str))
def test_any_text_in_place_of_a_field_is_read_or_refused(token: str, junk: str) -> None:
    read_or_refuse(lambda: process(RECORDED.replace(token, junk, 1).encode(errors="replace")))


@given(
    junk=st.text(alphabet="\0\n =:@%\"'(),/19aL", max_size=200), part=st.sampled_from(["found", "listeners", "units"])
)
def test_any_text_in_a_part_is_read_or_refused(junk: str, part: str) -> None:
    read_or_refuse(lambda: process(with_text(part, junk).encode()))


# Names


@pytest.mark.parametrize(
    "name",
    [
        "a\nb",
        f"x\n{begin('units')[1:]}Id=redis-x$(reboot).service\n",
        f"\n\n{MARK} end\n",
        "\x1b]0;title\x07",
        "f 0 1 1 1:1 600 1 0.0 0.0",
        "=",
        "\udcff",
    ],
)
def test_a_file_s_name_is_only_a_name(name: str) -> None:
    state = as_desired(desired("crypto"))
    top = "/var/lib/redis/crypto"
    for path, target in ((f"{top}/{name}", ""), (f"{top}/link", name), (f"{top}/link", f"{MARK} end\n")):
        text = look_text(state)
        text = text.replace(
            begin("found"), begin("found") + record("f 1 7 0 1:1 600 1 0.0 0.0", "u", "g", top, path, target)
        )
        observed = process(text.encode(errors="surrogateescape"))
        shown = path.encode(errors="surrogateescape").decode(errors="replace")
        files, stored = {**state.data_files, shown: 7}, {**state.stored, shown: FileState("file", "u", "g", "0600", "")}
        assert observed == replace(state, servers={}, data_files=files, stored=stored, data_used=observed.data_used)


@pytest.mark.parametrize("path", ["/etc/shadow", "/var/lib/redis/crypt", "/var/lib/redis/cryptox/y", "../x"])
def test_a_file_that_lies_elsewhere_than_it_was_looked_for_is_refused(path: str) -> None:
    text = record("f 1 7 0 1:1 600 1 0.0 0.0", "redis", "redis", "/var/lib/redis/crypto", path, "")
    with pytest.raises(Unreadable, match="lies below"):
        parse_look(with_text("found", text), MARK)


@pytest.mark.parametrize("name", ["redis-$(reboot).service", "redis-a b.service", "redis-.service", "redis-A.service"])
def test_a_unit_whose_name_is_none_of_ours_is_not_ours(name: str) -> None:
    line = f"/etc/systemd/system/{name}:# Written by the CAAS Redis repository\n"
    observed = parse_look(with_text("matches", line), MARK)
    assert observed.our_units == parse_look(RECORDED, MARK).our_units


def listeners(*lines: str) -> list[Listener]:
    return list(read_listeners("\n".join(lines).split("\n")))


@pytest.mark.parametrize(
    "name", ['x",pid=430', 'x",pid=1,fd=1', 'x",pid=1,fd=1)', "a\nb", "\n@@ end", "a b)", '")),((",']
)
def test_a_process_cannot_pass_for_another_by_its_name(name: str) -> None:
    line = f'LISTEN 0      511    172.28.2.5:6383 0.0.0.0:* users:(("{name}",pid=999,fd=3))'
    after = 'LISTEN 0 5 127.0.0.1:53 0.0.0.0:* users:(("named",pid=9,fd=3),("named",pid=10,fd=3))'
    assert listeners(line, after) == [
        Listener("172.28.2.5", 6383, name, 999),
        Listener("127.0.0.1", 53, "named", 9, (10,)),
    ]


@pytest.mark.parametrize("name", ["\nLISTEN 0 5 a", "x\nLISTEN ", "LISTEN \nLISTEN"])
def test_a_name_that_looks_like_another_line_hides_no_listener(name: str) -> None:
    line = f'LISTEN 0 511 172.28.2.5:6383 0.0.0.0:* users:(("{name}",pid=999,fd=3))'
    after = 'LISTEN 0 5 127.0.0.1:53 0.0.0.0:* users:(("named",pid=9,fd=3))'
    assert [(item.port, item.pid) for item in listeners(line, after)] == [(6383, 999), (53, 9)]


@pytest.mark.parametrize(
    "line", ["", "LISTEN 0 0 a:1", "ESTAB 0 0 1.2.3.4:5 6.7.8.9:1", "LISTEN 0 5 1.2.3.4:x 0.0.0.0:*"]
)
def test_what_is_no_socket_is_refused(line: str) -> None:
    with pytest.raises(Unreadable, match="expected a socket that listens"):
        listeners(line)


# What stands around


def test_what_a_login_prints_before_and_after_is_skipped() -> None:
    greeting = [f"Welcome {MARK}", f"{MARK} <", "sudo: unable to resolve host", f"no line end {printed('text')}", "bye"]
    greeting.remove(f"{MARK} <")
    assert unframe(greeting, MARK) == "text"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "it printed nothing"),
        (["This account is currently not available."], "it printed 'This account is currently not available.' instead"),
        ([f"{MARK} <aGVs"], "it is cut off"),
        ([f"{MARK} <a$b> {MARK}"], "it is damaged"),
        (["x" * (LIMIT * 2)], "it is larger than 8 MiB"),
        ([f"{MARK} <{base64.b64encode(bytes(LIMIT)).decode()}> {MARK}"], "it is larger than 8 MiB"),
    ],
)
def test_what_is_no_reading_is_refused_in_words(lines: list[str], words: str) -> None:
    with pytest.raises(Unreadable, match=words):
        unframe(lines, MARK)


def test_the_time_that_a_reading_takes_does_not_grow_faster_than_it() -> None:
    size = LIMIT // 8
    top = "/var/lib/redis/crypto"
    one = record("f 1 7 0 1:1 600 1 0.0 0.0", "redis", "redis", top, f"{top}/\n\n\n", "")
    many, breaks = one * (size // len(one)), "\n" * size
    for part, junk in (("found", many), *((part, breaks) for part in ("listeners", "units", "texts", "matches"))):
        text = with_text(part, junk).encode()
        began = time.monotonic()
        read_or_refuse(lambda text=text: process(text))  # type: ignore[misc]
        assert time.monotonic() - began < 5, part  # it takes a quarter of one


@pytest.mark.parametrize(
    "text",
    [
        RECORDED.replace(begin("texts"), begin("digests")),
        RECORDED.replace(begin("texts"), begin("texts") + begin("texts")),
        RECORDED.replace(begin("end"), begin("end") + "more"),
        f"before{RECORDED}",
    ],
)
def test_parts_in_another_order_are_refused(text: str) -> None:
    with pytest.raises(Unreadable, match="its parts are not in their order"):
        parse_look(text, MARK)


def test_a_part_without_another_is_read() -> None:
    assert split_parts(f"\0{MARK} a\none\n\0{MARK} end\n", MARK, ["a"]) == {"a": "one\n"}


@pytest.mark.parametrize("part", ["a", "a\0", "a\0=b\0c\0", "a\0=b"])
def test_a_record_that_is_not_whole_is_refused(part: str) -> None:
    with pytest.raises(Unreadable, match="a record of it is"):
        list(read_records(part, 2 if part != "a\0=b\0c\0" else 3))


@pytest.mark.parametrize("text", ["", "-1", "1.5", "٣", "1" * 16, "0x1", "1\n", " 1"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(Unreadable, match="expected a number"):
        number(text, "it")


NFT = "table ip redis_inner_port {"


@pytest.mark.parametrize(
    ("line", "unseen"),
    [
        ("listeners ss 127 ", Unseen("ss is not installed", missing=True)),
        ("listeners ss 1 Cannot open netlink\x1b[2J", Unseen(r"ss ended with 1 and said 'Cannot open netlink\x1b[2J'")),
        ("forwards nft 1 ", Unseen("nft ended with 1")),
        ("forwards nft 124 ", Unseen("nft has not ended within 20 s")),
        ("disk df 137 ", Unseen("df has not ended within 20 s")),
    ],
)
def test_a_program_of_the_look_that_failed_leaves_its_part_unseen(line: str, unseen: Unseen) -> None:
    part = line.split()[0]
    read = parse_look(with_text("unseen", f"{line}\n"), MARK)
    assert read.unseen == {part: unseen}
    assert replace(read, **SEEN) == replace(parse_look(RECORDED, MARK), **SEEN)


# What only these parts say.
SEEN: dict[str, Any] = {
    "unseen": {},
    "listeners": (),
    "forwards": frozenset(),
    "takings": (),
    "disk_free": 0,
    "free_of": {},
}


@pytest.mark.parametrize(
    ("part", "text", "because"),
    [
        ("listeners", "usage: ss [ OPTIONS ]\n", "ss says 'usage: ss [ OPTIONS ]"),
        ("listeners", None, "ss printed nothing"),
        ("disk", "Filesystem Avail\nfull\n", "what df says of the free disk space is"),
        ("disk", None, "what df says of the free disk space is"),
        ("forwards", "nft\n", "nft printed nothing, not even of what it always knows"),
        ("forwards", "nft\nhello\n", "nft says 'hello', expected what it knows"),
        ("forwards", f"nft\n{HEADER}x\nhello\n", "nft says 'hello', expected tables"),
        ("forwards", f"{NFT}\n}}\n", "nft printed nothing, not even of what it always knows"),
    ],
)
def test_a_part_that_says_something_else_is_unseen_by_itself(part: str, text: str | None, because: str) -> None:
    lines = re.compile(re.escape(begin(part)) + r"[^\0]*")
    read = parse_look(lines.sub(lambda _: begin(part) + (text or ""), RECORDED), MARK)
    assert list(read.unseen) == [part]
    assert read.unseen[part].because.startswith(because)
    assert not read.unseen[part].missing
    assert replace(read, **SEEN) == replace(parse_look(RECORDED, MARK), **SEEN)


def test_a_host_without_nft_has_no_rules_and_one_whose_nft_knows_of_none_has_none() -> None:
    lines = re.compile(re.escape(begin("forwards")) + r"[^\0]*")
    for text in ("", f"nft\n{HEADER}datatype integer (integer), 8 bits\n"):
        read = parse_look(lines.sub(lambda _, text=text: begin("forwards") + text, RECORDED), MARK)  # type: ignore[misc]
        assert (read.unseen, read.forwards) == ({}, frozenset())


def test_without_an_answer_of_systemd_nothing_is_known_of_the_host() -> None:
    text = with_text("unseen", "units systemctl 1 Failed to connect to bus\n")
    with pytest.raises(Unreadable, match="the state of its units: systemctl ended with 1 and said 'Failed to connect"):
        parse_look(text, MARK)


@pytest.mark.parametrize(
    ("program", "pattern"),
    [
        ("find", r"d 0 4096 8 2048:2 .*?=/\0=/\0=\0"),
        ("sha256sum", r"0{64}  /dev/null\n"),
        ("systemctl", r"Id=.*?(?=\0)"),
    ],
)
def test_a_program_that_answers_nothing_has_seen_nothing(program: str, pattern: str) -> None:
    text = re.sub(pattern, "", look_text(as_desired(desired("crypto"))), count=1, flags=re.DOTALL)
    with pytest.raises(Unreadable, match=f"{program} answered nothing"):
        parse_look(text, MARK)
