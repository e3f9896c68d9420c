"""Which encoding a text has that is no UTF-8: decoded by each, one of them looks like a language.

What it looks like are the letters beyond ASCII: in the right encoding they are the frequent ones of
one script, in lower case but for the first of a word. In a wrong one they are anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# Letters by how common they are; what comes with every script.
_ALL = "’‘“”„«»–—…·°§©®€£\u00a0"
_WESTERN = "éáäöåèàíóñüß¿¡çúêâôîùãæøœëïìòýõûÉÄÖÜÀÅØÇÑÁÚÓÍÆºª" + _ALL
_CENTRAL = "ąćęłńóśźżáčďéěíňřšťúůýžöüőűäôľĺđăâîşţßŁŚŻŽŠČŘÁÉÖÜŐŞŢÍÚÓŹĆ" + _ALL
_TURKISH = "ışğüçöâîûİŞÇÖÜĞ" + _ALL
_BALTIC = "āčēģīķļņšūžąęėįųõäöüĀČĒŠŪŽÕÄÖÜ" + _ALL
_CYRILLIC = "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъёіїєґјљњћђџўѓќ" + _ALL
_GREEK = "ατοιενσρκπυμςλίδόάγήέθχώύφβξζψϊϋΐΰ" + _ALL
_HEBREW = "יוהלאתמרבשנדקעחפטצגסכזםןךףץ" + _ALL
_ARABIC = "اليمنرتبةعدسفهكقأحجشطصخضذزثءغىظئإآؤ،؟ًٌٍَُِّْپچگی" + _ALL
_THAI = "".join(map(chr, (*range(0xE01, 0xE3B), *range(0xE3F, 0xE5C)))) + _ALL
_LETTERS = {
    "cp1252": _WESTERN,
    "cp1250": _CENTRAL,
    "iso8859_2": _CENTRAL,
    "cp1251": _CYRILLIC,
    "koi8_r": _CYRILLIC,
    "koi8_u": _CYRILLIC,
    "cp866": _CYRILLIC,
    "iso8859_5": _CYRILLIC,
    "mac_cyrillic": _CYRILLIC,
    "cp1253": _GREEK,
    "iso8859_7": _GREEK,
    "cp1254": _TURKISH,
    "cp1257": _BALTIC,
    "cp1255": _HEBREW,
    "cp1256": _ARABIC,
    "iso8859_6": _ARABIC,
    "cp874": _THAI,
    "mac_roman": _WESTERN,
    "cp850": _WESTERN,
    "cp437": _WESTERN,
    "cp852": _CENTRAL,
}
# The most frequent of scripts with thousands of letters; kana and Hangul are told by their range.
_HAN = (
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过"
    "這個們來為國說時會對於著過發後裡樣學開從沒見動經還長進種點當問將頭實間與年月日本本事者"
)
_WIDE = {
    "euc_jp": "kana",
    "shift_jis": "kana",
    "gb18030": "han",
    "big5": "han",
    "euc_kr": "hangul",
}
# Of 1 at most, that is, were every letter beyond ASCII the most frequent one.
_SURE = 0.6
_LONGEST_WORDS = 60  # on average, in letters
_RARE = 0.6  # so much less the rarest is value
_CAPITALS = 0.9  # of a text in capitals
_USUAL = {"cp1252": 0.03}  # where others are as likely
_UTF16 = ("utf_16_le", "utf_16_be", "utf_32_le", "utf_32_be")
_UTF16_SEPARATORS = " \n\r,.、。"


def guess(sample: bytes) -> str | None:
    """The encoding of a text that is neither UTF-8 nor marked; None if no one fits.

    Args:
        sample: some thousands of bytes around one that is no UTF-8.
    """
    scored = [*_scores(sample)]
    score, best = max(scored, key=lambda pair: pair[0], default=(0.0, ""))
    return best if score >= _SURE else None


def guess_wide(head: bytes) -> str | None:
    """Which UTF-16 or UTF-32 a text without a mark has; None: it is none.

    Args:
        head: its first bytes.
    """
    found: list[tuple[int, str]] = []
    for encoding in _UTF16:
        width = 4 if encoding.startswith("utf_32") else 2
        try:
            text = head[: len(head) // width * width].decode(encoding)
        except UnicodeDecodeError as error:
            if len(head) - error.start > width * 2:  # more than a pair that was cut
                continue
            text = head[: error.start].decode(encoding)
        strange = sum(not (c.isprintable() or c in "\n\r\t\f\ufeff") for c in text)
        separators = sum(text.count(separator) for separator in _UTF16_SEPARATORS)
        if separators and strange * 100 <= len(text):
            found.append((separators * width, encoding))  # as many bytes
    return max(found)[1] if found else None


def _scores(sample: bytes) -> Iterator[tuple[float, str]]:
    """How much each encoding looks like a language, at most 1."""
    for encoding, letters in _LETTERS.items():
        text = _decoded(sample, encoding)
        if text is not None:
            yield _alphabet_score(text, letters) + _USUAL.get(encoding, 0.0), encoding
    for encoding, script in _WIDE.items():
        text = _decoded(sample, encoding)
        if text is not None:
            yield _script_score(text, script), encoding


def _decoded(sample: bytes, encoding: str) -> str | None:
    """The sample may begin and end within a letter; a few mistakes are a damaged text."""
    text = sample.decode(encoding, errors="replace")
    beyond = sum(not letter.isascii() for letter in text)
    return text if text.count("\ufffd") * 50 <= beyond + 100 else None


def _alphabet_score(text: str, letters: str) -> float:
    rank = {letter: place / len(letters) for place, letter in enumerate(letters)}
    is_latin = letters[0] < "\u0370"
    total, count = 0.0, 0
    if len(text.split()) * _LONGEST_WORDS < len(text):  # EBCDIC, for one
        return 0.0
    for before, letter, after in zip(f" {text}", text, f"{text[1:]} ", strict=False):
        if not letter.isascii():
            count += 1
            if not letter.isalpha() or _fits(before, after, is_latin):
                total += _likely(letter, before, rank)
    return total / count if count else 0.0


def _fits(before: str, after: str, is_latin: bool) -> bool:
    """A letter of another script than Latin does not stand beside one of ASCII, nor one of Latin
    between two that are both beyond it.
    """
    neighbours = [letter for letter in (before, after) if letter.isalpha()]
    if is_latin:
        return len(neighbours) < 2 or any(letter.isascii() for letter in neighbours)
    return not any(letter.isascii() for letter in neighbours)


def _likely(letter: str, before: str, rank: dict[str, float]) -> float:
    """Less for a rare one. A capital after a small letter is of no language."""
    lower = letter.lower()
    place = rank.get(letter, rank.get(lower))
    if place is None:
        return 0.0
    value = 1 - _RARE * place
    if letter != lower and before.isalpha():
        return _CAPITALS * value if before.isupper() else 0.0
    return value


def _script_score(text: str, script: str) -> float:
    beyond = [letter for letter in text if not letter.isascii()]
    beside_ascii = re.findall(r"(?<=[A-Za-z])[^\x00-\x7f]|[^\x00-\x7f](?=[A-Za-z])", text)
    if not beyond or len(beside_ascii) * 5 > len(beyond):
        return 0.0
    han = sum("\u4e00" <= letter <= "\u9fff" for letter in beyond)
    common = sum(letter in _HAN for letter in beyond)
    kana = sum("\u3040" <= letter <= "\u30ff" for letter in beyond)
    hangul = sum("\uac00" <= letter <= "\ud7a3" for letter in beyond)
    marks = sum("\u3000" <= letter <= "\u303f" or letter > "\uff00" for letter in beyond)
    own = {"kana": kana + han + marks, "hangul": hangul + marks, "han": han + marks}[script]
    if script == "kana" and kana * 5 < len(beyond):
        return 0.0
    if script == "han" and common * 10 < len(beyond):
        return 0.0
    return own / len(beyond)
