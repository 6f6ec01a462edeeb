#!/usr/bin/env python3
"""Writes tests/golden/recurrent_layers.json: torch.nn's LSTM, GRU and RNN over packed batches: outputs, final states, and sums of all
gradients, for every kind and flag. Inputs and weights are a formula, which the test repeats."""
import itertools
import json
import pathlib

import torch
from torch import nn

torch.set_default_dtype(torch.float64)
INPUT, HIDDEN, TIME = 3, 4, 5
LENGTHS = {"ragged": [3, 5, 1], "full": None}


def wave(count, seed):
    i = torch.arange(count).double()
    return (0.6 * torch.sin(0.37 * i * (i % 7 + 1) + seed)).float().double()


def sums(values):
    flat = values.flatten()
    return [round(flat.sum().item(), 9), round((flat * torch.sin(torch.arange(len(flat)).double())).sum().item(), 9)]


def run(kind, layers, bidirectional, bias, states, lengths):
    options = dict(num_layers=layers, bidirectional=bidirectional, bias=bias, batch_first=True)
    cell = {"lstm": nn.LSTM, "gru": nn.GRU, "tanh": nn.RNN, "relu": nn.RNN}[kind]
    if cell is nn.RNN:
        options["nonlinearity"] = kind
    layer = cell(INPUT, HIDDEN, **options)
    for name, p in layer.named_parameters():
        p.data = wave(p.numel(), sum(name.encode()) % 97).reshape(p.shape)
    batch, rows = 3, layers * (2 if bidirectional else 1)
    x = wave(batch * TIME * INPUT, 1).reshape(batch, TIME, INPUT).requires_grad_()
    starts = [wave(rows * batch * HIDDEN, 2 + i).reshape(rows, batch, HIDDEN).requires_grad_() for i in range(2 if kind == "lstm" else 1)]
    packed = x if lengths is None else nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    given = () if not states else (tuple(starts) if kind == "lstm" else starts[0],)
    y, finals = layer(packed, *given)
    if lengths is not None:
        y, _ = nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=TIME)
    finals = finals if kind == "lstm" else (finals,)
    loss = sum((v.flatten() * torch.cos(torch.arange(v.numel()).double() + i)).sum() for i, v in enumerate((y, *finals)))
    loss.backward()
    entry = dict(kind=kind, layers=layers, bidirectional=bidirectional, bias=bias, states=states, lengths=lengths)
    entry["output"] = [round(v, 7) for v in y.flatten().tolist()] if layers == 1 and states else sums(y)
    entry["finals"] = [sums(v) for v in finals]
    entry["input"] = sums(x.grad)
    entry["starts"] = [sums(v.grad) for v in starts] if states else []
    entry["weights"] = {name: sums(p.grad) for name, p in layer.named_parameters()}
    return entry


if __name__ == "__main__":
    flags = itertools.product(("lstm", "gru", "tanh", "relu"), (1, 2), (False, True), (True, False), (False, True), LENGTHS.values())
    lines = [json.dumps(run(*f)) for f in flags]
    path = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/recurrent_layers.json"
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")
