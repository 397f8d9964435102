"""Long runs of the fault tests; each command says what it does to the store and prints how to repeat what it finds."""

import sys

import click


@click.group(help=__doc__)
def main() -> None:
    pass


if __name__ == "__main__":
    sys.exit(main())
