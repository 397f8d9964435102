"""What JSON is made of: blanks, digits, texts and their escapes; compiled."""

from segments.compiled.functions import BOOLEAN, BYTES, INT, PAIR, UNSIGNED, Bytes, compiled, load_word, trailing_zeros
from segments.compiled.plan import WORD

ESCAPED = 1
"""The lowest bit of a text's cell; above it 31 bits of length, and from there on where it begins."""
_HALVES, _LOW_HALVES, _BEHIND_HALVES = 0xD800, 0xDC00, 0xE000
"""Of the characters beyond 65,535: two of them, a high one and a low one, make one."""
_TAB, _CR, _SPACE, _QUOTE, _BACKSLASH, _SLASH, _ZERO, _NINE = map(ord, '\t\r "\\/09')
_LETTER_A, _LETTER_B, _LETTER_F, _LETTER_L, _LETTER_N, _LETTER_R, _LETTER_T, _LETTER_U = map(ord, "abflnrtu")
_UPPER_A, _UPPER_F = map(ord, "AF")
_ONES = UNSIGNED(0x0101010101010101)
_QUOTES, _BACKSLASHES, _SPACES = (UNSIGNED(0x0101010101010101 * byte) for byte in (_QUOTE, _BACKSLASH, _SPACE))
_HIGHEST = UNSIGNED(0x8080808080808080)


@compiled(INT(BYTES, INT))
def skip_blanks(text: Bytes, at: int) -> int:
    while text[at] == _SPACE or text[at] == _TAB or text[at] == _CR:
        at += 1
    return at


@compiled(BOOLEAN(BYTES, INT))
def is_null(text: Bytes, at: int) -> bool:
    return (
        text[at] == _LETTER_N and text[at + 1] == _LETTER_U and text[at + 2] == _LETTER_L and text[at + 3] == _LETTER_L
    )


@compiled(INT(BYTES, INT))
def digit_at(text: Bytes, at: int) -> int:
    """-1 when there is none."""
    digit = INT(text[at]) - _ZERO
    return digit if 0 <= digit <= 9 else -1


@compiled(INT(INT, INT))
def text_cell(begin: int, end: int) -> int:
    return begin << 32 | (end - begin) << 1


@compiled(INT(BYTES, INT))
def four_hex_digits(text: Bytes, at: int) -> int:
    """-1 when they are none."""
    value: int = INT(0)
    for place in range(at, at + 4):
        character = INT(text[place])
        if _ZERO <= character <= _NINE:
            digit = character - _ZERO
        elif _LETTER_A <= character <= _LETTER_F:
            digit = character - _LETTER_A + 10
        elif _UPPER_A <= character <= _UPPER_F:
            digit = character - _UPPER_A + 10
        else:
            return -1
        value = value * 16 + digit
    return value


@compiled(INT(BYTES, INT))
def escape_bytes(text: Bytes, at: int) -> int:
    """Of the escape whose backslash is at `at` and has a `u` behind it: 6, or 12 for two halves; -1 when it is no character."""
    value = four_hex_digits(text, at + 2)
    if value < 0 or _LOW_HALVES <= value < _BEHIND_HALVES:
        return -1
    if value < _HALVES or value >= _BEHIND_HALVES:
        return 6
    if text[at + 6] != _BACKSLASH or text[at + 7] != _LETTER_U:
        return -1
    value = four_hex_digits(text, at + 8)
    return 12 if _LOW_HALVES <= value < _BEHIND_HALVES else -1


@compiled(INT(BYTES, INT))
def _skip_plain(text: Bytes, at: int) -> int:
    """Behind characters that mean themselves in a text, eight at a time: to the first quote, backslash or control character."""
    while True:
        word = load_word(text, at)
        quotes, backslashes = word ^ _QUOTES, word ^ _BACKSLASHES
        # Each takes 1, or a space, from every byte, and asks which of those below 128 have gone below 0; the lowest is right.
        found = (quotes - _ONES) & ~quotes | (backslashes - _ONES) & ~backslashes | (word - _SPACES) & ~word
        found &= _HIGHEST
        if found:
            place: int = at + INT(trailing_zeros(found) >> UNSIGNED(3))
            return place
        at += WORD


@compiled(PAIR(BYTES, INT))
def read_text(text: Bytes, at: int) -> tuple[int, int]:
    """`at` is behind the quote. The cell says where the text is, and whether anything in it is escaped."""
    begin = at
    escaped = INT(0)
    while True:
        at = _skip_plain(text, at)
        character = text[at]
        if character == _QUOTE:
            return at + 1, text_cell(begin, at) | escaped
        if character != _BACKSLASH:
            return -1, 0
        escaped = ESCAPED
        character = text[at + 1]
        if character == _LETTER_U:
            size = escape_bytes(text, at)
            if size < 0:
                return -1, 0
            at += size
        elif (
            character == _QUOTE or character == _BACKSLASH or character == _SLASH or character == _LETTER_B
            or character == _LETTER_F or character == _LETTER_N or character == _LETTER_R or character == _LETTER_T
        ):  # fmt: skip
            at += 2
        else:
            return -1, 0
