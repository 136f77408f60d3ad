"""What the programs of this CRM are told on the command line, refused there when it can mean nothing."""

import argparse

import psycopg
from psycopg.conninfo import conninfo_to_dict


def address(text: str) -> tuple[str, int]:
    """HOST:PORT."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host, int(port)


def database(text: str) -> str:
    """A libpq connection string. One that is none would be tried for ever, as if the server were away."""
    try:
        conninfo_to_dict(text)
    except psycopg.ProgrammingError as error:
        raise argparse.ArgumentTypeError(f"no connection string: {str(error).strip()}") from None
    return text
