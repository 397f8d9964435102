"""docs/http-api.md from the statements that tests/e2e/contract makes: each sentence beside the test that shows it."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
CONTRACT = ROOT / "tests/e2e/contract"
PAGE = ROOT / "docs/http-api.md"
HEAD = """# The HTTP interface

Made by `scripts/http-api` from the tests in `tests/e2e/contract`, which run against a real daemon: every statement stands beside the
test that shows it, and a test fails when this page is not up to date.
"""


def main() -> None:
    """Write the page, or with --check exit with 1 when it is not what would be written."""
    page = render()
    if "--check" not in sys.argv:
        PAGE.write_text(page)
    elif PAGE.read_text() != page:
        sys.exit("docs/http-api.md is not up to date; run scripts/http-api")


def render() -> str:
    """The whole page."""
    lines = [HEAD]
    number = 0
    for path in sorted(CONTRACT.glob("test_*.py")):
        tree = ast.parse(path.read_text())
        title = (ast.get_docstring(tree) or path.stem).partition("\n")[0].removesuffix(".")
        lines.append(f"## {title}\n\n| | statement | shown by |\n| --- | --- | --- |")
        for sentence, test in statements(tree):
            number += 1
            lines.append(f"| {number} | {sentence.replace('|', '&#124;')} | `{path.name}::{test}` |")
        lines.append("")
    return "\n".join(lines)


def statements(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The sentences that stand over tests as `@states(...)`, each with its test's name."""
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef):
            continue
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == "states":
                for argument in decorator.args:
                    yield ast.literal_eval(argument), node.name


if __name__ == "__main__":
    main()
