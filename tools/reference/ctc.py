#!/usr/bin/env python3
"""Writes tests/golden/ctc.json: PyTorch's CTC losses and gradients of ragged batches, from logits that both sides make by the same
rule. Cases are lists of (frames, target) with the blank's id and the number of labels."""
import json
import math
import pathlib

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
CASES = [
    dict(name="plain", blank=0, words=5, frames=[6, 4, 9], targets=[[1, 2, 3], [4], [2, 1, 4, 3]]),
    dict(name="repeated labels", blank=0, words=4, frames=[3, 8, 5], targets=[[1, 1], [2, 2, 2, 1], [3, 1, 1, 3]]),
    dict(name="empty targets", blank=2, words=4, frames=[5, 1, 7], targets=[[], [3], []]),
    dict(name="too long", blank=3, words=4, frames=[2, 3, 2, 6, 1], targets=[[1, 1], [0, 1, 2, 0], [0, 1], [2, 2, 1], [0, 2]]),
    dict(name="blank last, many", blank=19, words=20, frames=[30, 17], targets=[[3, 3, 7, 0, 18, 5, 5, 5, 1], [4, 2, 9, 11, 4]]),
    dict(name="no frames", blank=0, words=3, frames=[0, 4, 0], targets=[[], [1, 2], [1]]),
]


def wave(count):
    """Rounded to float32: both sides start from the very same numbers."""
    return torch.tensor([2.5 * math.sin(1.7 * i + 0.3) + 0.8 * math.cos(5.1 * i * (i % 3)) for i in range(count)]).float().double()


def run(case):
    total, words = sum(case["frames"]), case["words"]
    logits = wave(total * words).reshape(total, words).requires_grad_()
    losses, at = [], 0
    for frames, target in zip(case["frames"], case["targets"]):
        log_probs = logits[at:at + frames].log_softmax(-1)
        at += frames
        if frames == 0:
            losses.append(torch.tensor(math.inf if target else 0.0))
            continue
        losses.append(F.ctc_loss(log_probs[:, None], torch.tensor([target], dtype=torch.long).reshape(1, -1), torch.tensor([frames]),
                                 torch.tensor([len(target)]), blank=case["blank"], reduction="none")[0])
    finite = [loss for loss in losses if not loss.isinf()]
    sum(finite).backward()
    return {**case, "losses": [None if loss.isinf() else round(loss.item(), 12) for loss in losses],
            "gradient": [round(v, 12) for v in logits.grad.flatten().tolist()]}


if __name__ == "__main__":
    path = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/ctc.json"
    path.write_text("[\n" + ",\n".join(json.dumps(run(case)) for case in CASES) + "\n]\n")
