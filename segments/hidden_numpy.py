"""numpy stays out of a process until machine code needs it.

pyarrow imports numpy if there is one, which costs every start of ours 70 ms and 10 MB, for nothing: pyarrow does without as well.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _Hidden(MetaPathFinder):
    def find_spec(
        self, fullname: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "numpy":
            raise ModuleNotFoundError("numpy is hidden from pyarrow", name=fullname)
        return None


_HIDDEN = _Hidden()


def hide() -> None:
    """From now on; what has imported it already keeps it."""
    if _HIDDEN not in sys.meta_path:
        sys.meta_path.insert(0, _HIDDEN)


def show() -> None:
    """It can be imported again."""
    if _HIDDEN in sys.meta_path:
        sys.meta_path.remove(_HIDDEN)
