"""Writes tests/golden/operations.json: what PyTorch computes for every operation, output and gradients, in double precision from the
numbers that both sides make by the same rule. Run from the repository root."""
import json
import math
import pathlib

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)


def wave(count, first):
    """Rounded to float32: both sides start from the very same numbers."""
    return torch.tensor([math.sin(1.7 * i + 0.3) * 0.9 + 0.3 * math.cos(5.1 * i) for i in range(first, first + count)]).float().double()


def attention(heads, causal, scale, queries, keys, ids=None):
    def compute(q, k, v, table=None):
        outputs, at_q, at_k = [], 0, 0
        for n, m in zip(queries, keys):
            split = lambda x, at, length: x[at:at + length].reshape(length, heads, -1).transpose(0, 1)
            scores = split(q, at_q, n) @ split(k, at_k, m).transpose(1, 2) * (scale or (q.shape[1] // heads) ** -0.5)
            if table is not None:
                distance = torch.arange(m)[None] - torch.arange(m - n, m)[:, None]
                scores = scores + table[torch.tensor(ids)][distance + len(ids) // 2].permute(2, 0, 1)
            if causal:
                scores = scores.masked_fill(torch.ones(n, m).triu(m - n + 1).bool(), -math.inf)
            outputs.append((scores.softmax(-1) @ split(v, at_k, m)).transpose(0, 1).reshape(n, -1))
            at_q, at_k = at_q + n, at_k + m
        return torch.cat(outputs)
    return compute


def r_drop(rate, smoothing, targets):
    def compute(hidden, weight, bias):
        p, q = F.linear(hidden, weight, bias).log_softmax(-1).chunk(2)
        kl = lambda a, b: F.kl_div(b, a, reduction="sum", log_target=True)
        loss = sum(F.cross_entropy(x, torch.tensor(targets), reduction="sum", label_smoothing=smoothing) for x in (p, q))
        return loss + rate * (kl(p, q) + kl(q, p)) / 2
    return compute


def cross_entropy(smoothing, targets):
    return lambda h, w, b=None: F.cross_entropy(F.linear(h, w, b), torch.tensor(targets), reduction="sum", label_smoothing=smoothing)


def convolution(kernel, stride, padding, queries):
    def compute(x, weight, bias):
        weight = weight.reshape(weight.shape[0], x.shape[1], kernel)
        convolved = [F.conv1d(part.t(), weight, bias[0], stride, padding).t() if len(part) + 2 * padding >= kernel else x[:0, :1].expand(0, len(weight))
                     for part in x.split(queries)]
        return torch.cat(convolved)
    return compute


def sequence_norm(queries):
    return lambda x, w, b: torch.cat([F.group_norm(part.t()[None], 1, w[0], b[0], 1e-5)[0].t() for part in x.split(queries)])


def rotary(positions, dimensions, base, width, left):
    """Pairs of neighbouring columns turn, as Moonshine has it; heads of `left` do not."""
    def compute(x):
        angles = torch.tensor(positions)[:, None] * base ** (-torch.arange(0, dimensions, 2) / dimensions)
        heads = list(x.split(width, 1))
        for i, head in enumerate(heads):
            turned = head[:, :2 * angles.shape[1]]
            whole = torch.view_as_complex(turned.reshape(len(x), -1, 2).contiguous()) * torch.polar(torch.ones_like(angles), angles)
            heads[i] = head if i in left else torch.cat([torch.view_as_real(whole).flatten(1), head[:, turned.shape[1]:]], 1)
        return torch.cat(heads, 1)
    return compute


BUCKETS = [abs(i) * 6 // 21 + 6 * (i > 0) for i in range(-20, 21)]
RAGGED = dict(queries=[1, 3, 5, 17], keys=[2, 1, 20, 17])
CAUSAL = dict(queries=[1, 3, 5, 17], keys=[1, 4, 12, 17])
CASES = {
    "linear": (F.linear, [(7, 19), (11, 19), (1, 11)], {}),
    "linear without bias": (F.linear, [(1, 33), (18, 33)], {}),
    "embedding": (lambda table: 2.5 * table[[3, 0, 3, 6, 1, 3]], [(8, 18)], dict(ids=[3, 0, 3, 6, 1, 3])),
    "positions": (lambda x, table: x + table[[2, 3, 2, 5]], [(4, 18), (6, 18)], dict(ids=[2, 3, 2, 5])),
    "add": (torch.add, [(5, 18), (5, 18)], {}),
    "scale": (lambda x: x * -0.75, [(5, 18)], {}),
    "relu": (F.relu, [(5, 35)], {}),
    "gelu": (F.gelu, [(5, 35)], {}),
    "swish": (F.silu, [(5, 35)], {}),
    "tanh": (torch.tanh, [(5, 35)], {}),
    "sigmoid": (torch.sigmoid, [(5, 35)], {}),
    "gelu_tanh": (lambda x: F.gelu(x, approximate="tanh"), [(5, 35)], {}),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, (37,), w[0], b[0], 1e-5), [(5, 37), (1, 37), (1, 37)], {}),
    "rms_norm": (lambda x, w: F.rms_norm(x, (37,), w[0], 1e-6), [(5, 37), (1, 37)], {}),
    "concatenate": (lambda a, b, c: torch.cat([a, b, c], 1), [(4, 2), (4, 17), (4, 5)], {}),
    "gather_rows": (lambda x: torch.cat([x, torch.zeros(1, 18)])[[4, -1, 0, 4, 2, -1, 4]], [(5, 18)], dict(ids=[4, -1, 0, 4, 2, -1, 4])),
    "convolution": (convolution(3, 1, 1, [1, 3, 5, 17]), [(26, 7), (9, 21), (1, 9)], dict(kernel=3, stride=1, padding=1, queries=[1, 3, 5, 17])),
    "convolution, stride 2": (convolution(5, 2, 2, [1, 3, 5, 17]), [(26, 6), (11, 30), (1, 11)],
                              dict(kernel=5, stride=2, padding=2, queries=[1, 3, 5, 17])),
    "convolution, no padding": (convolution(4, 3, 0, [1, 3, 5, 17]), [(26, 6), (10, 24), (1, 10)],
                                dict(kernel=4, stride=3, padding=0, queries=[1, 3, 5, 17])),
    "gated_linear": (lambda x: F.glu(x, 1), [(5, 36)], {}),
    "gated_linear of swish": (lambda x: x[:, :18] * F.silu(x[:, 18:]), [(5, 36)], {}),
    "sequence_norm": (sequence_norm([1, 3, 5]), [(9, 7), (1, 7), (1, 7)], dict(queries=[1, 3, 5])),
    "rotary": (rotary([0, 3, 1, 250], 5, 100, 7, [2]), [(4, 28)], dict(ids=[0, 3, 1, 250])),
    "attention": (attention(1, False, 0, **RAGGED), [(26, 16), (40, 16), (40, 16)], dict(heads=1, **RAGGED)),
    "attention, 3 heads": (attention(3, False, 0, **RAGGED), [(26, 15), (40, 15), (40, 15)], dict(heads=3, **RAGGED)),
    "attention, given scale": (attention(2, False, 1.0, **RAGGED), [(26, 36), (40, 36), (40, 36)], dict(heads=2, scale=1.0, **RAGGED)),
    "attention, causal": (attention(2, True, 0, **CAUSAL), [(26, 32), (34, 32), (34, 32)], dict(heads=2, causal=True, **CAUSAL)),
    "attention, bias by distance": (attention(2, False, 0.25, ids=BUCKETS, **RAGGED), [(26, 32), (40, 32), (40, 32), (12, 2)],
                                    dict(heads=2, scale=0.25, ids=BUCKETS, **RAGGED)),
    "attention, causal, bias by distance": (attention(2, True, 0.5, ids=[min(b, 5) for b in BUCKETS], **CAUSAL), [(26, 32), (34, 32), (34, 32), (6, 2)],
                                            dict(heads=2, scale=0.5, causal=True, ids=[min(b, 5) for b in BUCKETS], **CAUSAL)),
    "cross_entropy": (cross_entropy(0, [3, 0, 8, 3]), [(4, 18), (9, 18)], dict(ids=[3, 0, 8, 3])),
    "cross_entropy, smoothed": (cross_entropy(0.1, [3, 0, 40, 3]), [(4, 18), (41, 18), (1, 41)], dict(ids=[3, 0, 40, 3], smoothing=0.1)),
    "cross_entropy, many rows": (cross_entropy(0.2, [i * 7 % 19 for i in range(70)]), [(70, 5), (19, 5), (1, 19)],
                                 dict(ids=[i * 7 % 19 for i in range(70)], smoothing=0.2)),
    "cross_entropy, r_drop": (r_drop(0.7, 0.1, [3, 0, 8]), [(6, 18), (23, 18), (1, 23)],
                              dict(ids=[3, 0, 8, 3, 0, 8], smoothing=0.1, r_drop=0.7)),
}

digits = lambda tensor: [float("%.9g" % value) for value in tensor.detach().flatten().tolist()]
cases = []
for name, (compute, shapes, settings) in CASES.items():
    inputs = [wave(rows * columns, 137 * i).reshape(rows, columns).requires_grad_() for i, (rows, columns) in enumerate(shapes)]
    output = compute(*inputs)
    (output * wave(output.numel(), 11).reshape(output.shape) if output.dim() else output).sum().backward()
    cases.append(dict(name=name, shapes=shapes, **settings, output=digits(output), gradients=[digits(x.grad) for x in inputs]))
pathlib.Path("tests/golden/operations.json").write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
