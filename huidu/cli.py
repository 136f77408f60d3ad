"""The command `huidu`: the only importer of rooms, each imported when it is called."""

def main() -> None:
    raise SystemExit(0)
