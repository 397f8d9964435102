"""How functions become machine code: numba compiles them when their modules are imported, which only `make` does.

They see memory as C does: a pointer and an index, nothing checked. So whoever calls them vouches that every buffer is as
large as they say; and what they read ends with a line feed, at which every loop over text stops by itself, or less than a word
behind it.
"""

from collections.abc import Callable, MutableSequence
from typing import Any, TypeVar, cast

from llvmlite import ir
from numba import cfunc, njit
from numba import types as numba_types
from numba.extending import intrinsic

Bytes = MutableSequence[int]
Ints = MutableSequence[int]
F = TypeVar("F", bound=Callable[..., Any])

types: Any = numba_types
INT = types.int64
UNSIGNED = types.uint64
BOOLEAN = types.boolean
INT32 = types.int32
PAIR = types.UniTuple(INT, 2)
BYTES = types.CPointer(types.uint8)
INT16S = types.CPointer(types.int16)
INT32S = types.CPointer(types.int32)
INTS = types.CPointer(types.int64)


def compiled(signature: object) -> Callable[[F], F]:
    """Of a function that only other such functions call."""
    return cast(Callable[[F], F], njit(signature, nogil=True, error_model="numpy"))


def library(name: str, signature: object) -> Callable[..., Any]:
    """A function of the C library, as the process has it."""
    return cast(Callable[..., Any], types.ExternalFunction(name, signature))


def entry(signature: object) -> Callable[[F], Any]:
    """Of a function that is called from outside, as C functions are."""
    return cast(Callable[[F], Any], cfunc(signature, error_model="numpy"))


def _high_product(_typing: object, _one: object, _other: object) -> Any:
    """The upper 64 of the 128 bits of a product."""

    def generate(_context: object, builder: Any, _signature: object, arguments: Any) -> Any:
        wide = [builder.zext(argument, ir.IntType(128)) for argument in arguments]
        product = builder.lshr(builder.mul(*wide), ir.Constant(ir.IntType(128), 64))
        return builder.trunc(product, ir.IntType(64))

    return UNSIGNED(UNSIGNED, UNSIGNED), generate


def _load_word(_typing: object, _text: object, _at: object) -> Any:
    """Eight bytes, the first of them lowest; they may stand anywhere."""

    def generate(_context: object, builder: Any, _signature: object, arguments: Any) -> Any:
        place = builder.gep(arguments[0], [arguments[1]])
        return builder.load(builder.bitcast(place, ir.IntType(64).as_pointer()), align=1)

    return UNSIGNED(BYTES, INT), generate


def _trailing_zeros(_typing: object, _value: object) -> Any:
    """Of a number that is not 0."""

    def generate(_context: object, builder: Any, _signature: object, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return UNSIGNED(UNSIGNED), generate


def _leading_zeros(_typing: object, _value: object) -> Any:
    """Of a number that is not 0."""

    def generate(_context: object, builder: Any, _signature: object, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return UNSIGNED(UNSIGNED), generate


high_product = cast(Callable[[int, int], int], intrinsic(_high_product))
leading_zeros = cast(Callable[[int], int], intrinsic(_leading_zeros))
trailing_zeros = cast(Callable[[int], int], intrinsic(_trailing_zeros))
load_word = cast(Callable[[Bytes, int], int], intrinsic(_load_word))
