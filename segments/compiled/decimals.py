"""A decimal of up to 19 digits -> the nearest float; compiled.

The way is that of Daniel Lemire, "Number Parsing at a Gigabyte per Second" (2021): the digits times a power of five, of which
128 bits are known, decide in nearly all cases, and with at most POINT_MAX digits behind the point in all of them.
"""

from segments.compiled.functions import INT, UNSIGNED, compiled, high_product, leading_zeros

POINT_MAX = 27


def _inverse(power: int) -> tuple[int, int]:
    """The first 128 bits of 5 ** -power, rounded up, as two numbers."""
    if power == 0:
        return 1 << 63, 0
    five = 5**power
    bits = (1 << (five - 1).bit_length() + 127) // five + 1
    return bits >> 64, bits & (1 << 64) - 1


_POWERS = 32
"""The compiler sees that no other is asked for, and leaves out what numba does about one."""
_HIGH = tuple(UNSIGNED(_inverse(power)[0]) for power in range(_POWERS))
_LOW = tuple(UNSIGNED(_inverse(power)[1]) for power in range(_POWERS))
_ONE = UNSIGNED(1)
_MANTISSA_BITS = 52
_KEPT = UNSIGNED(64 - _MANTISSA_BITS - 3)
"""Bits of a product that are dropped: what stays is the mantissa, its leading one, and two to round by."""
_LOWER_MASK = UNSIGNED((1 << 9) - 1)
_ROUNDED_EVEN_MAX = 4
"""With so many digits behind the point a decimal can lie just between two floats."""
_EXPONENT_ZERO = 1023


@compiled(INT(UNSIGNED, INT))
def float_bits(digits: int, point: int) -> int:
    """The bits of the float nearest to digits / 10 ** point."""
    if digits == 0:
        return 0
    point &= _POWERS - 1
    shift = leading_zeros(digits)
    digits <<= shift
    high, low = high_product(digits, _HIGH[point]), digits * _HIGH[point]
    if high & _LOWER_MASK == _LOWER_MASK:
        more = high_product(digits, _LOW[point])
        low += more
        if low < more:
            high += _ONE
    upper = high >> UNSIGNED(63)
    dropped = upper + _KEPT
    mantissa = high >> dropped
    exponent: int = INT(-217706 * point >> 16) + 63 + INT(upper) - INT(shift) + _EXPONENT_ZERO
    if low <= _ONE and point <= _ROUNDED_EVEN_MAX and mantissa & UNSIGNED(3) == _ONE and mantissa << dropped == high:
        # Just between two: the even one of them.
        mantissa -= _ONE
    mantissa = (mantissa + (mantissa & _ONE)) >> _ONE
    if mantissa >> UNSIGNED(_MANTISSA_BITS + 1):
        mantissa = mantissa >> _ONE
        exponent += 1
    bits: int = INT(mantissa) - (1 << _MANTISSA_BITS) + (exponent << _MANTISSA_BITS)
    return bits
