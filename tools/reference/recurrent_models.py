#!/usr/bin/env python3
"""Writes tests/golden/recurrent_models.json: recurrent encoder-decoders written plainly in PyTorch, sentence by sentence and step by
step, with hidden states, attention and sums of gradients. Weights are a formula of their names, which the test repeats."""
import json
import math
import pathlib

import torch
from torch import nn

torch.set_default_dtype(torch.float64)
SOURCE = [[5, 6, 7, 2], [8, 2], [9, 5, 4, 3, 6, 2]]
TARGET = [[0, 4, 5], [0, 6, 7, 8, 9], [0, 3]]
BASE = dict(model_type="tandem-rnn", vocab_size=10, embedding_size=4, hidden_size=6, encoder_layers=1, decoder_layers=1,
            pad_token_id=1, eos_token_id=2, decoder_start_token_id=0)
CASES = {
    "lstm": dict(cell="lstm", encoder_layers=2, decoder_layers=2),
    "lstm reversed source": dict(cell="lstm", encoder_layers=2, decoder_layers=3, reverse_source=True, tie_embeddings="three-way"),
    "gru context": dict(cell="gru", encoder_bidirectional=True, context_feeding=True, encoder_hidden_size=3),
    "rnn relu": dict(cell="rnn", nonlinearity="relu"),
    "rnn tanh context": dict(cell="rnn", context_feeding=True, decoder_layers=2),
    "gru additive": dict(cell="gru", attention="additive", encoder_bidirectional=True, encoder_layers=2),
    "lstm additive coverage": dict(cell="lstm", attention="additive", encoder_bidirectional=True, coverage=True, decoder_layers=2,
                                   attention_size=5),
    "gru additive tied": dict(cell="gru", attention="additive", encoder_bidirectional=True, tie_embeddings="two-way"),
    "lstm dot": dict(cell="lstm", attention="dot", tie_embeddings="two-way"),
    "gru general feeding": dict(cell="gru", attention="general", encoder_bidirectional=True, input_feeding=True, decoder_layers=2),
    "lstm general": dict(cell="lstm", attention="general", encoder_bidirectional=True, decoder_layers=2),
    "lstm concat": dict(cell="lstm", attention="concat", encoder_hidden_size=5),
    "lstm concat coverage feeding": dict(cell="lstm", attention="concat", input_feeding=True, coverage=True, tie_embeddings="three-way"),
    "rnn concat coverage": dict(cell="rnn", attention="concat", coverage=True),
    "speech lstm": dict(model_type="tandem-rnn-speech", feature_size=5, cell="lstm", encoder_bidirectional=True, encoder_layers=2,
                        attention="additive"),
    "speech convolutions": dict(model_type="tandem-rnn-speech", feature_size=3, cell="gru", encoder_bidirectional=True,
                                subsampling=[2, 2], attention="general", input_feeding=True, subsampling_channels=4, ctc=True),
    "speech pyramid": dict(model_type="tandem-rnn-speech", feature_size=4, cell="lstm", encoder_layers=3, pyramid_layers=2,
                           encoder_bidirectional=True, attention="concat", decoder_layers=2, tie_embeddings="two-way"),
    "speech both": dict(model_type="tandem-rnn-speech", feature_size=2, cell="gru", encoder_layers=2, pyramid_layers=1,
                        subsampling=[3], subsampling_kernel=5, attention="dot"),
    "picture lstm": dict(model_type="tandem-rnn-image", feature_size=5, cell="lstm"),
    "picture attention": dict(model_type="tandem-rnn-image", feature_size=4, cell="lstm", attention="additive", memory_size=7,
                              decoder_layers=2),
    "picture gru": dict(model_type="tandem-rnn-image", feature_size=3, cell="gru", attention="general", memory_size=4,
                        tie_embeddings="two-way", embedding_size=5),
}


class Weights(dict):
    """Made when first asked for."""

    def get(self, name, *shape):
        if name not in self:
            seed = sum(name.encode()) % 97
            count = math.prod(shape)
            values = [0.5 * math.sin(0.37 * i * (i % 7 + 1) + seed) for i in range(count)]
            self[name] = torch.tensor(values, dtype=torch.float32).double().reshape(shape).requires_grad_()
        return self[name]


def linear(weights, name, x, outputs):
    return weights.get(name + ".weight", outputs, x.shape[-1]) @ x + weights.get(name + ".bias", outputs)


def recurrent(weights, prefix, kind, inputs, hidden, layers, bidirectional, layer=None):
    """The layer of torch.nn with our weights in it, kept on the tape. layer: of a longer stack's encoder, whose only one it stands for."""
    options = dict(num_layers=layers, bidirectional=bidirectional)
    cell = {"lstm": nn.LSTM, "gru": nn.GRU, "tanh": nn.RNN, "relu": nn.RNN}[kind]
    if cell is nn.RNN:
        options["nonlinearity"] = kind
    module = cell(inputs, hidden, **options)
    stored = (lambda name: prefix + name) if layer is None else (lambda name: "encoder.rnn." + name.replace("_l0", f"_l{layer}"))
    named = {name: weights.get(stored(name), *p.shape) for name, p in module.named_parameters()}
    return lambda *args: torch.func.functional_call(module, named, args)


def features(width):
    """Rounded to float32, cut as the sources are."""
    rows = torch.tensor([math.sin(1.7 * i + 0.3) for i in range(12 * width)]).float().double().reshape(12, width)
    return rows.split([4, 2, 6])


def convolve(weights, c, x):
    channels, kernel = c.get("subsampling_channels", c.get("encoder_hidden_size", c["hidden_size"])), c.get("subsampling_kernel", 3)
    for i, stride in enumerate(c.get("subsampling", [])):
        name = f"encoder.convolution.{i}."
        x = nn.functional.conv1d(x.T[None], weights.get(name + "weight", channels, x.shape[1], kernel), weights.get(name + "bias", channels),
                                 stride=stride, padding=kernel // 2)[0].T.relu()
    return x


def pyramid(weights, c, kind, x, hidden, two):
    """Layer by layer, so that rows can be joined between; final states as PyTorch stacks them."""
    finals = []
    for layer in range(c["encoder_layers"]):
        part = recurrent(weights, "", kind, x.shape[1], hidden, 1, two, layer)
        x, final = part(x)
        finals.append(final if kind == "lstm" else (final,))
        if layer < c.get("pyramid_layers", 0):
            if len(x) % 2:
                x = torch.cat([x, torch.zeros(1, x.shape[1])])
            x = x.reshape(len(x) // 2, -1)
    finals = [torch.cat(f) for f in zip(*finals)]
    return x, finals if kind == "lstm" else finals[0]


def run(config):
    c = {**BASE, "attention": "none", "nonlinearity": "tanh", "tie_embeddings": "none", **config}
    w = Weights()
    kind = c["nonlinearity"] if c["cell"] == "rnn" else c["cell"]
    lstm, tie, attention = kind == "lstm", c["tie_embeddings"], c["attention"]
    E, H, M1 = c["embedding_size"], c["hidden_size"], c.get("encoder_hidden_size", c["hidden_size"])
    two = c.get("encoder_bidirectional", False)
    M, A, L = M1 * (2 if two else 1), c.get("attention_size", H), c["decoder_layers"]
    R = E if attention == "additive" else H
    names = ("shared.weight",) * 2 if tie == "three-way" else ("encoder.embedding.weight", "decoder.embedding.weight")
    source_kind = c["model_type"].removeprefix("tandem-rnn").lstrip("-")
    if not source_kind:
        encoder = recurrent(w, "encoder.rnn.", kind, E, M1, c["encoder_layers"], two)
    if source_kind == "image":
        M = c.get("memory_size", H)
    feed = M if attention == "additive" or c.get("context_feeding") else R if c.get("input_feeding") else 0
    decoder = recurrent(w, "decoder.rnn.", kind, E + feed, H, L, False)
    hiddens, attentions = [], []
    for source, target in zip(features(c["feature_size"]) if source_kind else SOURCE, TARGET):
        x = convolve(w, c, source) if source_kind else w.get(names[0], 10, E)[torch.tensor(source)]
        if c.get("reverse_source"):
            x = x.flip(0)
        if source_kind == "image":
            memory = x @ w.get("encoder.projection.weight", M, x.shape[1]).T + w.get("encoder.projection.bias", M)
            final = (memory.mean(0),) * 2 if lstm else memory.mean(0)
        else:
            memory, final = pyramid(w, c, kind, x, M1, two) if source_kind else encoder(x)
        if c.get("reverse_source"):
            memory = memory.flip(0)
        final = [f.reshape(c["encoder_layers"], M) for f in (final if lstm else (final,))]
        states = []
        for letter, f in zip("hc", final):
            rows = [f[min(i, c["encoder_layers"] - 1)] for i in range(L)]
            if two or M1 != H or source_kind == "image":
                rows = [torch.tanh(linear(w, f"bridge.{letter}.{i}", row, H)) for i, row in enumerate(rows)]
            states.append(torch.stack(rows))
        context_fixed, fed, coverage = final[0][-1], torch.zeros(R), torch.zeros(len(memory))

        def attend(query):
            nonlocal coverage
            if attention in ("dot", "general"):
                keys = memory if attention == "dot" else memory @ w.get("attention.key.weight", H, M).T
                scores = keys @ query
            else:
                if attention == "additive":
                    sums = memory @ w.get("attention.key.weight", A, M).T + w.get("attention.key.bias", A)
                    sums = sums + w.get("attention.query.weight", A, H) @ query
                else:
                    both = torch.cat([query.expand(len(memory), H), memory], 1)
                    sums = both @ w.get("attention.weight", A, H + M).T
                if c.get("coverage"):
                    sums = sums + coverage[:, None] * w.get("attention.coverage", A)
                scores = torch.tanh(sums) @ w.get("attention.v", A)
            weights = torch.softmax(scores, 0)
            coverage = coverage + weights
            attentions.append(weights)
            return weights @ memory

        for word in target:
            embedding = w.get(names[1], 10, E)[word]
            parts = [embedding]
            if attention == "additive":
                context = attend(states[0][-1])
                parts.append(context)
            elif c.get("context_feeding"):
                parts.append(context_fixed)
            elif c.get("input_feeding"):
                parts.append(fed)
            start = tuple(states) if lstm else states[0]
            y, end = decoder(torch.cat(parts)[None], start)
            states, hidden = list(end) if lstm else [end], y[0]
            if attention == "additive":
                hidden = torch.tanh(linear(w, "readout", torch.cat([hidden, context, embedding]), R))
            elif attention != "none":
                hidden = fed = torch.tanh(linear(w, "readout", torch.cat([hidden, attend(hidden)]), R))
            if tie != "none" and hidden.shape[0] != E:
                hidden = linear(w, "reduce", hidden, E)
            hiddens.append(hidden)
    flat = torch.cat(hiddens)
    (flat * torch.cos(torch.arange(len(flat)).double())).sum().backward()
    sums = {}
    for name, weight in w.items():
        g = weight.grad.flatten()
        sums[name] = [round(g.sum().item(), 9), round((g * torch.sin(torch.arange(len(g)).double())).sum().item(), 9)]
    return dict(config={**BASE, **config}, hidden=[round(v, 8) for v in flat.tolist()],
                attention=[round(v, 8) for v in torch.cat(attentions).tolist()] if attentions else [], gradients=sums)


if __name__ == "__main__":
    path = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/recurrent_models.json"
    lines = [f"{json.dumps(name)}: {json.dumps(run(config))}" for name, config in CASES.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
