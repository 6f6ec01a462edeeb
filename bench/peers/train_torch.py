"""Training speed of PyTorch on the batches that tandem_bench trained on.

usage: train_torch.py 'transformer|lstm PRECISION OF ITS PARTNER' TRAIN.INDEX THREADS

The same lengths (read from the corpus index, docs/formats.md), the same number of target tokens a step, the same model shapes,
optimiser, label smoothing and clipping. Batches hold sentences of one length, as nearly as can be, so padding is slight.
In float32, whatever its partner has.
"""
import json
import random
import resource
import struct
import sys
import time

import torch
from torch import nn

WORDS, BATCH_TOKENS, STEPS, WARM, REPORT = 10000, 4096, 12, 2, 4
kind, index, threads = sys.argv[1].split()[0], sys.argv[2], int(sys.argv[3])
torch.set_num_threads(threads)
torch.manual_seed(0)


def batches():
    with open(index, "rb") as file:
        lengths = [(t, s) for _, _, s, t, _, _ in struct.iter_unpack("=QQIIII", file.read())]
    lengths.sort()
    made, batch, tokens = [], [], 0
    for target, source in lengths:
        if batch and tokens + target > BATCH_TOKENS:
            made.append(batch)
            batch, tokens = [], 0
        batch.append((target, source))
        tokens += target
    made.append(batch)
    random.Random(0).shuffle(made)
    return made


def tensors(batch):
    source = torch.zeros(len(batch), max(s for _, s in batch), dtype=torch.long)
    target = torch.zeros(len(batch), max(t for t, _ in batch), dtype=torch.long)
    for row, (t, s) in enumerate(batch):
        source[row, :s] = torch.randint(4, WORDS, (s,))
        target[row, :t] = torch.randint(4, WORDS, (t,))
    return source, target


class Transformer(nn.Module):
    def __init__(self, width=128, inner=256, heads=4, layers=4):
        super().__init__()
        self.embedding = nn.Embedding(WORDS, width, padding_idx=0)
        self.body = nn.Transformer(width, heads, layers, layers, inner, 0.3, batch_first=True)
        self.positions = nn.Parameter(torch.randn(512, width), requires_grad=False)
        self.scale = width**0.5

    def embed(self, ids):
        return self.embedding(ids) * self.scale + self.positions[: ids.shape[1]]

    def forward(self, source, target):
        future = torch.triu(torch.ones(target.shape[1], target.shape[1], dtype=torch.bool), 1)
        out = self.body(
            self.embed(source), self.embed(target), tgt_mask=future, src_key_padding_mask=source == 0,
            tgt_key_padding_mask=target == 0, memory_key_padding_mask=source == 0,
        )
        return out @ self.embedding.weight.t()


class Lstm(nn.Module):
    """Luong 2015 with the general score."""

    def __init__(self, embedding=256, width=512):
        super().__init__()
        self.source = nn.Embedding(WORDS, embedding, padding_idx=0)
        self.target = nn.Embedding(WORDS, embedding, padding_idx=0)
        self.encoder = nn.LSTM(embedding, width, batch_first=True)
        self.decoder = nn.LSTM(embedding, width, batch_first=True)
        self.score = nn.Linear(width, width, bias=False)
        self.combine = nn.Linear(2 * width, width)
        self.output = nn.Linear(width, WORDS)
        self.dropout = nn.Dropout(0.3)

    def forward(self, source, target):
        lengths = (source != 0).sum(1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(self.dropout(self.source(source)), lengths, batch_first=True, enforce_sorted=False)
        memory, state = self.encoder(packed)
        memory, _ = nn.utils.rnn.pad_packed_sequence(memory, batch_first=True, total_length=source.shape[1])
        hidden, _ = self.decoder(self.dropout(self.target(target)), state)
        weights = (self.score(hidden) @ memory.transpose(1, 2)).masked_fill((source == 0)[:, None], -1e9).softmax(-1)
        return self.output(self.dropout(torch.tanh(self.combine(torch.cat([hidden, weights @ memory], -1)))))


model = Transformer() if kind == "transformer" else Lstm()
optimizer = torch.optim.Adam(model.parameters(), 1e-3, betas=(0.9, 0.98))
loss_of = nn.CrossEntropyLoss(ignore_index=0, label_smoothing=0.1)


def step(batch):
    source, target = tensors(batch)
    logits = model(source, torch.roll(target, 1, 1))
    loss = loss_of(logits.reshape(-1, WORDS), target.reshape(-1))
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return int((target != 0).sum())


work = batches()
while len(work) < STEPS + WARM:
    work += work
for batch in work[:WARM]:
    step(batch)
best, all_tokens, processor = 0.0, 0, time.process_time()
for first in range(WARM, WARM + STEPS, REPORT):
    start = time.time()
    tokens = sum(step(batch) for batch in work[first : first + REPORT])
    best = max(best, tokens / (time.time() - start))
    all_tokens += tokens
processor = time.process_time() - processor
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
print(json.dumps({"tokens_per_second": best, "tokens_per_processor_second": all_tokens / processor, "peak_memory_mb": memory, "torch": torch.__version__, "threads": threads}))
