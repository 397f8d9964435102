"""Make the machine code, and print it: one object file that needs nothing of numba, or of Python.

Being one module whose only doors are `NAMES`, it is optimised as a whole: functions become part of their callers, and what
numba does about exceptions, which none of them raises, goes away.
"""

import sys
from typing import Any

import llvmlite.binding as llvm

from segments import hidden_numpy
from segments.compiled.load import NAMES, target, with_digest

_NEEDED = {"memset", "memmove", "memcpy", "read", "write", "pwrite", "fdatasync", "__errno_location"}
"""What the object file may ask of the C library."""


def make() -> bytes:
    """Takes several seconds. Raises RuntimeError when a function turns out to need more than there is."""
    if sys.byteorder != "little":
        raise RuntimeError("there is no machine code for processors whose numbers begin with their highest byte")
    hidden_numpy.show()
    from segments.compiled.append import append  # noqa: PLC0415 -- importing them compiles them
    from segments.compiled.pack import pack  # noqa: PLC0415
    from segments.compiled.scan import count, scan  # noqa: PLC0415

    machine = target()
    module: Any = llvm.parse_assembly("")
    for name, function in zip(NAMES, (scan, pack, count, append), strict=True):
        module.link_in(llvm.parse_assembly(function.inspect_llvm()))
        module.get_function(function.native_name).name = name
    for value in (*module.functions, *module.global_variables):
        if not value.is_declaration and value.name not in NAMES:
            value.linkage = "internal"
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    builder.getModulePassManager().run(module, builder)
    module.verify()
    needed = {function.name for function in module.functions if function.is_declaration}
    if more := {name for name in needed if not name.startswith("llvm.")} - _NEEDED:
        raise RuntimeError(f"machine code that needs {', '.join(sorted(more))}")
    return bytes(machine.emit_object(module))


if __name__ == "__main__":
    sys.stdout.buffer.write(with_digest(make()))
