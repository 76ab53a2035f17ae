"""`python -m tests.golden.update`: take what the templates render now for right. Read the diff before committing it."""

from tests.golden import rights
from tests.golden.rendered import FILES, committed, rendered


def main() -> None:
    """files/ holds exactly what is rendered, and docs/rights.md what the catalogue says; what changed is named."""
    wanted, found = rendered(), committed()
    for path in sorted(found.keys() - wanted.keys()):
        (FILES / path).unlink()
        print(f"removed tests/golden/files/{path}")
    for path, text in wanted.items():
        if found.get(path) != text:
            (FILES / path).parent.mkdir(parents=True, exist_ok=True)
            (FILES / path).write_text(text)
            print(f"wrote tests/golden/files/{path}")
    if rights.PAGE.read_text() != rights.page():
        rights.PAGE.write_text(rights.page())
        print("wrote docs/rights.md")


if __name__ == "__main__":
    main()
