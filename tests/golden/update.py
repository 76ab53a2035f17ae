"""`python -m tests.golden.update`: take what the templates render now for right. Read the diff before committing it."""

from tests.golden.rendered import FILES, committed, rendered


def main() -> None:
    """files/ holds exactly what is rendered; what changed is named."""
    wanted, found = rendered(), committed()
    for path in sorted(found.keys() - wanted.keys()):
        (FILES / path).unlink()
        print(f"removed {path}")
    for path, text in wanted.items():
        if found.get(path) != text:
            (FILES / path).parent.mkdir(parents=True, exist_ok=True)
            (FILES / path).write_text(text)
            print(f"wrote {path}")


if __name__ == "__main__":
    main()
