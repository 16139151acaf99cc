"""Writes weights of the llama architecture as GGUF v3, little endian, with a vocabulary of vocabulary.py.

Layout: magic, version, counts, key-value pairs, tensor directory, then the tensors, each padded to 32
bytes. Dimensions are written fastest first. Matrices are Q8_0 (blocks of 32: an f16 scale and 32 signed
bytes), vectors F32. `python3 gguf.py FILE` reads such a file and checks that writing it again gives
the same bytes.
"""
import struct
import sys
from array import array
from dataclasses import dataclass

from vocabulary import BEGIN, CONTROL, END, FIRST_BYTE, UNKNOWN

ALIGN = 32
BLOCK = 32
F32, Q8_0 = 0, 8
FILE_TYPE_Q8_0 = 7
TYPES = {"u32": (4, "<I"), "i32": (5, "<i"), "f32": (6, "<f"), "bool": (7, "<?")}
STRING, ARRAY = 8, 9
NORMAL, UNKNOWN_TYPE, CONTROL_TYPE, UNUSED, BYTE = 1, 2, 3, 5, 6
UNUSED_SCORE = -1e4

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

Pair = tuple[str, str, object]  # key, type (`[type]` for an array), value


@dataclass
class Shape:
    context: int
    width: int
    layers: int
    heads: int
    hidden: int
    vocabulary: int


@dataclass
class Tensor:
    name: str
    dims: list[int]
    kind: int
    data: bytes


def model_pairs(name: str, shape: Shape) -> list[Pair]:
    return [
        ("general.architecture", "str", "llama"),
        ("general.name", "str", name),
        ("general.file_type", "u32", FILE_TYPE_Q8_0),
        ("llama.context_length", "u32", shape.context),
        ("llama.embedding_length", "u32", shape.width),
        ("llama.block_count", "u32", shape.layers),
        ("llama.feed_forward_length", "u32", shape.hidden),
        ("llama.attention.head_count", "u32", shape.heads),
        ("llama.attention.head_count_kv", "u32", shape.heads),
        ("llama.attention.layer_norm_rms_epsilon", "f32", 1e-5),
        ("llama.rope.freq_base", "f32", 10000.0),
        ("llama.rope.dimension_count", "u32", shape.width // shape.heads),
        ("llama.vocab_size", "u32", shape.vocabulary),
    ]


def vocabulary_pairs(pieces: list[str], size: int) -> list[Pair]:
    """Ids as in vocabulary.py, filled up to `size` with tokens that nothing makes."""
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + CONTROL + pieces
    kinds = [UNKNOWN_TYPE, CONTROL_TYPE, CONTROL_TYPE] + [BYTE] * 256
    kinds += [CONTROL_TYPE] * len(CONTROL) + [NORMAL] * len(pieces)
    scores = [0.0] * (len(tokens) - len(pieces)) + [-float(rank + 1) for rank in range(len(pieces))]
    while len(tokens) < size:
        tokens.append(f"<|unused{len(tokens)}|>")
        kinds.append(UNUSED)
        scores.append(UNUSED_SCORE)
    turn_end = FIRST_BYTE + 257
    return [
        ("tokenizer.ggml.model", "str", "llama"),
        ("tokenizer.ggml.pre", "str", "default"),
        ("tokenizer.ggml.tokens", "[str]", tokens),
        ("tokenizer.ggml.scores", "[f32]", scores),
        ("tokenizer.ggml.token_type", "[i32]", kinds),
        ("tokenizer.ggml.bos_token_id", "u32", BEGIN),
        ("tokenizer.ggml.eos_token_id", "u32", turn_end),
        ("tokenizer.ggml.unknown_token_id", "u32", UNKNOWN),
        ("tokenizer.ggml.add_bos_token", "bool", True),
        ("tokenizer.ggml.add_eos_token", "bool", False),
        ("tokenizer.ggml.add_space_prefix", "bool", False),
        ("tokenizer.ggml.eot_token_id", "u32", turn_end),
        ("tokenizer.chat_template", "str", CHATML),
    ]


def tensor(name: str, dims: list[int], values: array) -> Tensor:
    """@param values float32, row by row; a matrix is quantised, a vector is not"""
    kind = F32 if len(dims) == 1 else Q8_0
    return Tensor(name, dims, kind, values.tobytes() if kind == F32 else quantise(values))


def quantise(values: array) -> bytes:
    out = bytearray()
    for at in range(0, len(values), BLOCK):
        block = values[at : at + BLOCK]
        scale = max(abs(value) for value in block) / 127
        inverse = 1 / scale if scale else 0.0
        out += struct.pack(f"<e{BLOCK}b", scale, *(round(value * inverse) for value in block))
    return bytes(out)


def file_bytes(pairs: list[Pair], tensors: list[Tensor]) -> bytes:
    out = bytearray(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)))
    for key, kind, value in pairs:
        out += string(key) + typed(kind, value)
    offset = 0
    for item in tensors:
        dims = struct.pack(f"<I{len(item.dims)}Q", len(item.dims), *item.dims)
        out += string(item.name) + dims + struct.pack("<IQ", item.kind, offset)
        offset += padded(len(item.data))
    out += bytes(padded(len(out)) - len(out))
    for item in tensors:
        out += item.data + bytes(padded(len(item.data)) - len(item.data))
    return bytes(out)


def padded(length: int) -> int:
    return -(-length // ALIGN) * ALIGN


def string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def typed(kind: str, value: object) -> bytes:
    if kind == "str":
        return struct.pack("<I", STRING) + string(str(value))
    if kind == "[str]":
        return struct.pack("<IIQ", ARRAY, STRING, len(value)) + b"".join(map(string, value))
    if kind.startswith("["):
        code, form = TYPES[kind[1:-1]]
        return struct.pack("<IIQ", ARRAY, code, len(value)) + b"".join(struct.pack(form, v) for v in value)
    code, form = TYPES[kind]
    return struct.pack("<I", code) + struct.pack(form, value)


class Reader:
    """Reads what this file writes, and no more."""

    def __init__(self, raw: bytes) -> None:
        self.raw, self.at = raw, 0

    def take(self, form: str):
        (value,) = struct.unpack_from(form, self.raw, self.at)
        self.at += struct.calcsize(form)
        return value

    def string(self) -> str:
        length = self.take("<Q")
        self.at += length
        return self.raw[self.at - length : self.at].decode()

    def value(self, code: int) -> tuple[str, object]:
        if code == STRING:
            return "str", self.string()
        if code == ARRAY:
            inner, count = self.take("<I"), self.take("<Q")
            values = [self.value(inner) for _ in range(count)]
            return f"[{values[0][0]}]", [value for _, value in values]
        name, form = next((name, form) for name, (known, form) in TYPES.items() if known == code)
        return name, self.take(form)

    def file(self) -> tuple[list[Pair], list[Tensor]]:
        self.at = 8
        tensors, pairs = self.take("<Q"), self.take("<Q")
        read = []
        for _ in range(pairs):
            key = self.string()
            read.append((key, *self.value(self.take("<I"))))
        directory = []
        for _ in range(tensors):
            name = self.string()
            dims = [self.take("<Q") for _ in range(self.take("<I"))]
            directory.append((name, dims, self.take("<I"), self.take("<Q")))
        start = padded(self.at)
        return read, [Tensor(*head, self.data(start + offset, head)) for *head, offset in directory]

    def data(self, start: int, head: list) -> bytes:
        _, dims, kind = head
        count = dims[0] * (dims[1] if len(dims) > 1 else 1)
        length = count * 4 if kind == F32 else count // BLOCK * (BLOCK + 2)
        return self.raw[start : start + length]


def dequantise(raw: bytes) -> array:
    out = array("f")
    for scale, *bytes_ in struct.iter_unpack(f"<e{BLOCK}b", raw):
        out.extend(scale * byte for byte in bytes_)
    return out


def check(path: str) -> None:
    with open(path, "rb") as file:
        raw = file.read()
    pairs, tensors = Reader(raw).file()
    for item in tensors:
        if item.kind == Q8_0 and quantise(dequantise(item.data)) != item.data:
            sys.exit(f"{item.name}: quantising again gives other bytes")
    if file_bytes(pairs, tensors) != raw:
        sys.exit("written again, the file has other bytes")
    shape = {key: value for key, _, value in pairs}
    kinds = shape["tokenizer.ggml.token_type"]
    known = [piece for piece, kind in zip(shape["tokenizer.ggml.tokens"], kinds) if kind == NORMAL]
    size = shape["llama.vocab_size"]
    made = model_pairs(
        shape["general.name"],
        Shape(
            shape["llama.context_length"], shape["llama.embedding_length"], shape["llama.block_count"],
            shape["llama.attention.head_count"], shape["llama.feed_forward_length"], size,
        ),
    ) + vocabulary_pairs(known, size)
    if file_bytes(made, tensors) != raw:
        sys.exit("the pairs are not those that training writes")
    print(f"{path}: {len(pairs)} pairs, {len(tensors)} tensors, {len(raw)} bytes, the same again")


if __name__ == "__main__":
    check(sys.argv[1])
