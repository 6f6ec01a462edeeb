#!/usr/bin/env python3
"""Writes tests/golden/copying.json: the mixture of generating and copying (See 2017) in plain PyTorch, with label smoothing over the
vocabulary's softmax and the coverage loss: log-probabilities over vocabulary and extended ids, losses, gradients."""
import json
import math
import pathlib

import torch

torch.set_default_dtype(torch.float64)
WORDS, WIDTH, TARGETS = 7, 3, [0, 2, 5]
SOURCES = [[1, 8, 4, 8, 7, 0], [3, 3, 7]]
LABELS = [8, 4, 7, 3, 2]
SMOOTHING, COVERAGE = 0.15, 0.6


def wave(*shape, seed):
    """Rounded to float32: both sides start from the very same numbers."""
    values = [1.2 * math.sin(1.7 * i + seed) + 0.4 * math.cos(3.1 * i) for i in range(math.prod(shape))]
    return torch.tensor(values).float().double().reshape(shape).requires_grad_()


hidden, weight, bias = wave(5, WIDTH, seed=1), wave(WORDS, WIDTH, seed=2), wave(1, WORDS, seed=3)
gate, raw = wave(5, 1, seed=4), wave(5, 6, seed=5)
width = WORDS + 2
attention = torch.zeros(5, 6)
rows, loss, overlap = [], 0.0, 0.0
for i, source in enumerate(SOURCES):
    covered = torch.zeros(6)
    for t in range(TARGETS[i], TARGETS[i + 1]):
        # The weights themselves are the inputs, positive and not summing to one: the loss is defined for them all the same.
        a = torch.cat([raw[t, :len(source)].abs() / 6 + 0.01, torch.zeros(6 - len(source))])
        log_words = (hidden[t] @ weight.T + bias[0]).log_softmax(0)
        generate = torch.sigmoid(gate[t, 0])
        p = torch.cat([generate * log_words.exp(), torch.zeros(width - WORDS)])
        p = p.index_add(0, torch.tensor(source), (1 - generate) * a[:len(source)])
        rows.append(p)
        loss = loss - (1 - SMOOTHING) * p[LABELS[t]].log() - SMOOTHING * log_words.mean()
        overlap = overlap + torch.minimum(a, covered).sum()
        covered = covered + a
        a.retain_grad()
        attention[t] = a.detach()
(loss + COVERAGE * overlap).backward()


def rounded(x):
    return [round(v, 10) if math.isfinite(v) else None for v in x.detach().flatten().tolist()]


sign = torch.where(raw.detach() < 0, -6.0, 6.0)
mask = torch.tensor([[1.0] * 6] * 2 + [[1.0] * 3 + [0.0] * 3] * 3)
result = dict(log_probabilities=rounded(torch.stack(rows).log()), loss=loss.item(), overlap=overlap.item(), attention=rounded(attention),
              hidden=rounded(hidden.grad), weight=rounded(weight.grad), bias=rounded(bias.grad), gate=rounded(gate.grad),
              weights=rounded(raw.grad * sign * mask))
path = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/copying.json"
path.write_text(json.dumps(result, indent=0) + "\n")
