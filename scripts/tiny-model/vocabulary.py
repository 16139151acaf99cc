"""A small vocabulary in the manner of SentencePiece, and an encoder that agrees with llama.cpp's.

Ids: 0 unknown, 1 begin, 2 end, 3-258 the bytes, 259 and 260 the marks of a turn, then pieces of text, the
frequent ones first. Digits are always alone, so that sums can be worked digit by digit. A space is written
as U+2581.
"""
import collections
import functools
import re
from collections.abc import Iterable

SPACE = "\u2581"
UNKNOWN, BEGIN, END = 0, 1, 2
FIRST_BYTE = 3
TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"
CONTROL = [TURN_START, TURN_END]
FIRST_PIECE = FIRST_BYTE + 256 + len(CONTROL)

# Words with the space before them; everything else by the character.
WORD = re.compile(SPACE + r"?[A-Za-z']+|[^A-Za-z']")
SEEN_MIN = 5


def words(text: str) -> list[str]:
    return WORD.findall(text.replace(" ", SPACE))


def learn(texts: Iterable[str], count: int) -> list[str]:
    """`count` pieces: the printable ASCII characters, then byte pairs by how often they are seen."""
    seen = collections.Counter(word for text in texts for word in words(text))
    pieces = [SPACE] + [chr(code) for code in range(33, 127)]
    split = {word: list(word) for word in seen if len(word) > 1}
    while len(pieces) < count:
        pairs: collections.Counter[str] = collections.Counter()
        for word, parts in split.items():
            for left, right in zip(parts, parts[1:]):
                pairs[left + right] += seen[word]
        known = set(pieces)
        new = (pair for pair in pairs if pair not in known)
        best = max(new, key=lambda pair: (pairs[pair], pair), default=None)
        if best is None or pairs[best] < SEEN_MIN:
            break
        pieces.append(best)
        split = {word: join(parts, best) for word, parts in split.items()}
    return pieces


def join(parts: list[str], pair: str) -> list[str]:
    out: list[str] = []
    at = 0
    while at < len(parts):
        both = at + 1 < len(parts) and parts[at] + parts[at + 1] == pair
        out.append(pair if both else parts[at])
        at += 2 if both else 1
    return out


class Vocabulary:
    def __init__(self, pieces: list[str]) -> None:
        self.pieces = pieces
        self.ids = {piece: FIRST_PIECE + at for at, piece in enumerate(pieces)}
        self.texts = {at: piece for piece, at in self.ids.items()}
        self.size = FIRST_PIECE + len(pieces)
        self.turn_start, self.turn_end = FIRST_BYTE + 256, FIRST_BYTE + 257
        self.newline = FIRST_BYTE + ord("\n")
        self._word = functools.cache(self._encode_word)

    def _encode_word(self, word: str) -> tuple[int, ...]:
        """The pair with the lowest id first, the leftmost of equals: as llama.cpp merges."""
        parts = list(word)
        while True:
            found = [
                (self.ids[left + right], at)
                for at, (left, right) in enumerate(zip(parts, parts[1:]))
                if left + right in self.ids
            ]
            if not found:
                break
            at = min(found)[1]
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        out: list[int] = []
        for part in parts:
            one = self.ids.get(part)
            out += [FIRST_BYTE + byte for byte in part.encode()] if one is None else [one]
        return tuple(out)

    def encode(self, text: str) -> list[int]:
        return [token for word in words(text) for token in self._word(word)]

    def decode(self, tokens: Iterable[int]) -> str:
        def raw(token: int) -> bytes:
            if token in self.texts:
                return self.texts[token].encode()
            return bytes([token - FIRST_BYTE]) if FIRST_BYTE <= token < FIRST_BYTE + 256 else b""

        return b"".join(map(raw, tokens)).decode("utf8", "replace").replace(SPACE, " ")

    def chat(
        self, messages: Iterable[tuple[str, str]], opened: bool = False
    ) -> tuple[list[int], list[int]]:
        """ChatML: the tokens, and a 1 for each that is to be learnt (an answer and its end)."""
        tokens: list[int] = []
        learnt: list[int] = []
        for role, content in messages:
            head = [self.turn_start, *self.encode(role), self.newline]
            body = [*self.encode(content), self.turn_end]
            tokens += [*head, *body, self.newline]
            learnt += [0] * len(head) + [int(role == "assistant")] * len(body) + [0]
        if opened:
            head = [self.turn_start, *self.encode("assistant"), self.newline]
            tokens += head
            learnt += [0] * len(head)
        return tokens, learnt
