"""The same few tensors as PyTorch and NumPy write them, and as safetensors, which tests/golden/test_weights.c compares.

    python tools/reference/weights.py tests/golden/weights
"""

import io
import struct
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file


def tensors():
    torch.manual_seed(5)
    wide = torch.randn(4, 6)
    return OrderedDict(
        [
            ("single", torch.randn(3, 4)),
            ("half", torch.randn(5).half()),
            ("double", torch.randn(2, 3).double()),
            ("long", torch.arange(4)),
            ("int", torch.arange(3, dtype=torch.int32)),
            ("short", torch.arange(3, dtype=torch.int16)),
            ("char", torch.tensor([-3, 4], dtype=torch.int8)),
            ("byte", torch.tensor([[200, 4]], dtype=torch.uint8)),
            ("bool", torch.tensor([True, False])),
            ("scalar", torch.tensor(2.5)),
            ("empty", torch.zeros(0, 3)),
            ("turned", torch.randn(3, 5).t()),
            ("cut", wide[1:3, 2:5]),
            ("wide", wide),
        ]
    )


def big_endian(data):
    """The archive with every storage turned round, as a machine of the other byte order writes it."""
    source, out = zipfile.ZipFile(io.BytesIO(data)), io.BytesIO()
    state = torch.load(io.BytesIO(data), weights_only=True)
    sizes = {}
    for value in state.values():
        sizes[value.untyped_storage().nbytes(), bytes(value.untyped_storage())] = value.element_size()
    with zipfile.ZipFile(out, "w") as archive:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename.endswith("/byteorder"):
                content = b"big"
            elif "/data/" in entry.filename and content:
                size = sizes[len(content), content]
                content = b"".join(content[i : i + size][::-1] for i in range(0, len(content), size))
            archive.writestr(entry.filename, content)
    return out.getvalue()


def hostile(code):
    """An archive whose pickle is `code`."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", code)
        archive.writestr("archive/data/0", struct.pack("<4f", 1, 2, 3, 4))
    return out.getvalue()


def main():
    folder = Path(sys.argv[1])
    state = tensors()
    with_brain = OrderedDict(state, brain=torch.randn(3).bfloat16())
    save_file({name: value.contiguous().clone() for name, value in with_brain.items()}, folder / "expected.safetensors")
    written = io.BytesIO()
    torch.save(with_brain, written)
    (folder / "plain.bin").write_bytes(written.getvalue())
    (folder / "big.bin").write_bytes(big_endian(written.getvalue()))
    parameters = io.BytesIO()
    torch.save({name: torch.nn.Parameter(value) if value.is_floating_point() else value for name, value in with_brain.items()}, parameters,
               pickle_protocol=4)
    (folder / "parameters.bin").write_bytes(parameters.getvalue())
    arrays = {name: value.numpy() for name, value in state.items()}
    np.savez(folder / "plain.npz", **arrays)
    np.savez_compressed(folder / "packed.npz", **arrays)
    np.savez(folder / "big.npz", **{name: np.array(a, a.dtype.newbyteorder(">"), order="F") for name, a in arrays.items()})
    (folder / "system.bin").write_bytes(hostile(b"\x80\x02cposix\nsystem\nq\x00X\x04\x00\x00\x00trueq\x01\x85q\x02Rq\x03."))
    legacy = io.BytesIO()
    torch.save({"single": state["single"]}, legacy, _use_new_zipfile_serialization=False)
    (folder / "legacy.bin").write_bytes(legacy.getvalue())


main()
