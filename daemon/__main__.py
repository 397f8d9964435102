"""`python -m daemon` is `siltstoned`."""

from daemon.cli import main

main()
