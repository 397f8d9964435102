"""Runs one target under atheris: `python -m tests.faults.fuzz TARGET [libFuzzer options]`, with the corpus in the repository.

What it finds is written to the working directory; put it, made small, into the corpus, where the suite runs it from then on.
"""

import sys

import atheris

with atheris.instrument_imports(include=["segments"]):
    from tests.faults.fuzz_targets import CORPUS, TARGETS


def main() -> None:
    target = TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:], str(CORPUS / sys.argv[1])], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
