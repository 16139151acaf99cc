"""Trains the tiny model and writes it as GGUF. Needs PyTorch; about ten minutes on two cores.

A llama: RMS norms, rotary positions on neighbouring pairs (so no weight has to be permuted for llama.cpp),
SwiGLU, tied embeddings. Loss is taken on answers only. Each process works on its own rows with one thread
and the gradients are averaged: on two cores that is much faster than one process with two threads.
Training ends by the clock, so two runs give models of equal quality and not of equal bytes.
"""
import argparse
import math
import random
import time
from array import array

import torch
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import nn

import corpus
import gguf
from vocabulary import BEGIN, END, FIRST_PIECE, Vocabulary, learn

NAME = "tiny demo model"
CONTEXT = 256
TEXTS = 6_000
WARM_UP_STEPS = 60
LEARNING_RATE_LAST = 0.02  # of the highest


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", help="the GGUF file to write")
    parser.add_argument("--minutes", type=float, default=8.5)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=352)
    parser.add_argument("--vocabulary", type=int, default=640)
    parser.add_argument("--length", type=int, default=96, help="tokens of a row")
    parser.add_argument("--rows", type=int, default=10, help="rows of a step, for each process")
    parser.add_argument("--rate", type=float, default=3e-3)
    return parser.parse_args()


class Norm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    even, odd = x[..., 0::2], x[..., 1::2]
    cos, sin = cos[:, None], sin[:, None]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


class Block(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.attn_norm = Norm(width)
        self.attn_q, self.attn_k, self.attn_v, self.attn_output = (
            nn.Linear(width, width, bias=False) for _ in range(4)
        )
        self.ffn_norm = Norm(width)
        self.ffn_gate = nn.Linear(width, hidden, bias=False)
        self.ffn_up = nn.Linear(width, hidden, bias=False)
        self.ffn_down = nn.Linear(hidden, width, bias=False)

    def forward(
        self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        rows, length, width = x.shape
        h = self.attn_norm(x)
        projections = (self.attn_q, self.attn_k, self.attn_v)
        q, k, v = (project(h).view(rows, length, self.heads, -1) for project in projections)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        weights = (q @ k.transpose(-2, -1)) / math.sqrt(width // self.heads) + mask
        x = x + self.attn_output((weights.softmax(-1) @ v).transpose(1, 2).reshape(rows, length, width))
        h = self.ffn_norm(x)
        return x + self.ffn_down(F.silu(self.ffn_gate(h)) * self.ffn_up(h))


class Model(nn.Module):
    def __init__(self, shape: gguf.Shape) -> None:
        super().__init__()
        self.head_width = shape.width // shape.heads
        self.token_embd = nn.Embedding(shape.vocabulary, shape.width)
        blocks = (Block(shape.width, shape.heads, shape.hidden) for _ in range(shape.layers))
        self.blk = nn.ModuleList(blocks)
        self.output_norm = Norm(shape.width)
        for weight in self.parameters():
            if weight.dim() > 1:
                nn.init.normal_(weight, 0, 0.02)
        for block in self.blk:
            for layer in (block.attn_output, block.ffn_down):
                nn.init.normal_(layer.weight, 0, 0.02 / math.sqrt(2 * shape.layers))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        length = tokens.shape[1]
        rates = 1.0 / (10_000 ** (torch.arange(0, self.head_width, 2).float() / self.head_width))
        angles = torch.outer(torch.arange(length).float(), rates)
        mask = torch.full((length, length), float("-inf")).triu(1)
        x = self.token_embd(tokens)
        for block in self.blk:
            x = block(x, angles.cos(), angles.sin(), mask)
        return self.output_norm(x) @ self.token_embd.weight.T


class Trainer:
    """All that the processes share; forked, so that the weights start equal and stay equal."""

    def __init__(self, args: argparse.Namespace, model: Model, words: Vocabulary) -> None:
        self.args, self.model, self.words = args, model, words
        self.weights = list(model.parameters())
        self.count = sum(weight.numel() for weight in self.weights)
        matrices = [weight for weight in self.weights if weight.dim() > 1]
        vectors = [weight for weight in self.weights if weight.dim() == 1]
        groups = [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=1, betas=(0.9, 0.98))
        # One row a process: its gradient, and how far the clock has got.
        self.shared = torch.zeros(args.processes, self.count + 1).share_memory_()
        context = mp.get_context("fork")
        self.barrier = context.Barrier(args.processes)
        self.context = context

    def run(self) -> int:
        ranks = range(1, self.args.processes)
        others = [self.context.Process(target=self.work, args=(rank,)) for rank in ranks]
        for process in others:
            process.start()
        steps = self.work(0)
        for process in others:
            process.join()
        return steps

    def work(self, rank: int) -> int:
        r = random.Random(100 + rank)
        started = time.monotonic()
        step, loss_mean = 0, 0.0
        while True:
            loss = self.gradient(r)
            done = (time.monotonic() - started) / 60 / self.args.minutes
            mine = torch.cat([weight.grad.reshape(-1) for weight in self.weights])
            self.shared[rank, : self.count] = mine
            self.shared[rank, self.count] = done
            self.barrier.wait()
            gradient = self.shared[:, : self.count].mean(0)
            # The first process keeps the time, or one would stop a step before the other.
            done = float(self.shared[0, self.count])
            self.barrier.wait()
            self.apply(gradient, step, done)
            step += 1
            loss_mean = loss if step == 1 else loss_mean * 0.98 + loss * 0.02
            if rank == 0 and (step in (5, 20) or step % 200 == 0):
                sample = answer(self.model, self.words, "What is 27 + 48?")
                print(f"step {step}, {done:.0%}, loss {loss_mean:.4f}: {sample}", flush=True)
            if done >= 1:
                return step

    def gradient(self, r: random.Random) -> float:
        tokens, learnt = self.batch(r)
        logits = self.model(tokens[:, :-1])
        weight = learnt[:, 1:].reshape(-1)
        wanted = tokens[:, 1:].reshape(-1)
        each = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), wanted, reduction="none")
        loss = (each * weight).sum() / weight.sum()
        self.model.zero_grad(set_to_none=True)
        loss.backward()
        return loss.item()

    def batch(self, r: random.Random) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows of chats one after the other, most of them from the beginning of a text."""
        length = self.args.length + 1
        tokens, learnt = [], []
        for _ in range(self.args.rows):
            row, mask = ([BEGIN], [0]) if r.random() < 0.7 else ([], [])
            while len(row) < length:
                more, flags = self.words.chat(corpus.chat(r))
                row += more
                mask += flags
            tokens.append(row[:length])
            learnt.append(mask[:length])
        return torch.tensor(tokens), torch.tensor(learnt).float()

    def apply(self, gradient: torch.Tensor, step: int, done: float) -> None:
        at = 0
        for weight in self.weights:
            weight.grad.copy_(gradient[at : at + weight.numel()].view_as(weight))
            at += weight.numel()
        wave = 0.5 * (1 + math.cos(math.pi * min(1, done)))
        falling = LEARNING_RATE_LAST + (1 - LEARNING_RATE_LAST) * wave
        for group in self.optimizer.param_groups:
            group["lr"] = self.args.rate * min(1, (step + 1) / WARM_UP_STEPS) * falling
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()


@torch.no_grad()
def answer(model: Model, words: Vocabulary, question: str, most: int = 40) -> str:
    tokens = [BEGIN, *words.chat([("user", question)], opened=True)[0]]
    start = len(tokens)
    for _ in range(most):
        token = int(model(torch.tensor([tokens]))[0, -1].argmax())
        if token in (words.turn_end, END):
            break
        tokens.append(token)
    return words.decode(tokens[start:])


def tensors(model: Model) -> list[gguf.Tensor]:
    """In the order in which llama.cpp lists them; its names are those of the modules."""
    values = dict(model.state_dict())
    last = values.pop("output_norm.weight")
    out = []
    for name, value in [*values.items(), ("output_norm.weight", last)]:
        flat = array("f", value.reshape(-1).tolist())
        out.append(gguf.tensor(name, list(reversed(value.shape)), flat))
    return out


def main() -> None:
    args = arguments()
    torch.manual_seed(1)
    torch.set_num_threads(1)
    r = random.Random(1)
    texts = [content for _ in range(TEXTS) for message in corpus.chat(r) for content in message]
    words = Vocabulary(learn(texts, args.vocabulary - FIRST_PIECE))
    size = -(-words.size // 32) * 32
    shape = gguf.Shape(CONTEXT, args.width, args.layers, args.heads, args.hidden, size)
    model = Model(shape)
    trainer = Trainer(args, model, words)
    print(f"{trainer.count} parameters, {words.size} tokens", flush=True)
    steps = trainer.run()
    pairs = gguf.model_pairs(NAME, shape) + gguf.vocabulary_pairs(words.pieces, size)
    with open(args.out, "wb") as file:
        file.write(gguf.file_bytes(pairs, tensors(model)))
    print(f"{args.out} after {steps} steps")


if __name__ == "__main__":
    main()
