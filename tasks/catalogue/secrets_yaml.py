"""The YAML of passwords, read so that whatever is wrong with it is said without a word of it. Pure.

It may come from any program: bounded in depth, and a name may stand once in its block.
"""

from __future__ import annotations

from typing import Any

import yaml

DEEPEST = 8  # levels; ROLE: {USER: [PASSWORD]} has three, and the reader in C ends this process at some ten thousand
WRONG = "not readable as YAML: correct it"
TWICE = "a name stands there that its block has already: put what is below both below one"


class _Loader(yaml.CSafeLoader):
    """Of two equal names the last would win without a word, and the passwords of the first be missed."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set[str]()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(TWICE, problem_mark=key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else "")
        return super().construct_mapping(node, deep)


def load_passwords(source: str, text: bytes) -> tuple[object, str]:
    """The data in `text`, and what is wrong with it, empty when nothing is; {} where nothing is in it."""
    try:
        decoded = text.decode()
        if _too_deep(decoded):
            return {}, f"{source}: more than {DEEPEST} levels, expected ROLE: {{USER: PASSWORD}}: correct it"
        return yaml.load(decoded, Loader=_Loader) or {}, ""
    except Exception as error:  # of any kind, for odd values; most quote the text around the fault: that is a password
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = "" if line is None else f", line {line + 1}"
        words = TWICE if getattr(error, "context", None) == TWICE else WRONG
        return {}, f"{source}{where}: {words}"


def _too_deep(text: str) -> bool:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            return True
    return False
