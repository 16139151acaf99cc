"""Prints as JSON what evaluate.ts asks a model: questions with their answers, and texts with their tokens.

Usage: python3 samples.py MODEL.gguf > samples.json
"""
import json
import random
import sys

import corpus
from gguf import NORMAL, Reader
from vocabulary import Vocabulary

SUMS = 400
FACTS = 40
TEXTS = 400


def main() -> None:
    with open(sys.argv[1], "rb") as file:
        pairs = {key: value for key, _, value in Reader(file.read()).file()[0]}
    tokens, kinds = pairs["tokenizer.ggml.tokens"], pairs["tokenizer.ggml.token_type"]
    words = Vocabulary([token for token, kind in zip(tokens, kinds) if kind == NORMAL])
    r = random.Random(11)
    questions = [("sum held out", *corpus.addition(r, held=True)) for _ in range(SUMS)]
    questions += [("sum seen", *corpus.addition(r)) for _ in range(SUMS)]
    questions += [("fact", *corpus.fact(r)) for _ in range(FACTS)]
    questions += [("small talk", *pair) for pair in corpus.SMALL_TALK]
    texts = [content for _ in range(TEXTS) for _, content in corpus.chat(r)][:TEXTS]
    encoded = [{"text": text, "tokens": words.encode(text)} for text in texts]
    asked = [{"kind": kind, "question": ask, "answer": answer} for kind, ask, answer in questions]
    json.dump({"questions": asked, "texts": encoded}, sys.stdout)


if __name__ == "__main__":
    main()
