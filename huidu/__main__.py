"""`python -m huidu` is the command `huidu`."""

from huidu.cli import main

main()
