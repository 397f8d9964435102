"""`python -m query` is `siltstone`."""

from query.cli import main

main()
