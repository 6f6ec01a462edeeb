"""A tiny random Marian model as CTranslate2's converter writes it, in each precision and, with the container rewritten, in each version of
the format; expected.json has what CTranslate2 makes of some inputs. tests/golden/test_ct2.c compares.

    python tools/reference/ct2.py tests/golden/ct2
"""

import json
import shutil
import struct
import sys
from pathlib import Path

import ctranslate2
import numpy as np
import torch
from ctranslate2.converters.transformers import MarianMTLoader
from transformers import MarianConfig, MarianMTModel

WORDS = ["</s>", "<unk>"] + [f"w{i}" for i in range(14)]


class Names:
    """What the converter asks of a tokenizer."""

    eos_token, unk_token, unk_token_id = "</s>", "<unk>", 1
    added_tokens_encoder = {}

    def get_vocab(self):
        return {word: i for i, word in enumerate(WORDS + ["<pad>"])}


def make_model():
    torch.manual_seed(11)
    config = MarianConfig(vocab_size=len(WORDS) + 1, decoder_vocab_size=len(WORDS) + 1, d_model=16, encoder_layers=1, decoder_layers=1,
                          encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=12, decoder_ffn_dim=12,
                          max_position_embeddings=16, pad_token_id=len(WORDS), decoder_start_token_id=len(WORDS), eos_token_id=0,
                          forced_eos_token_id=0, activation_function="swish", scale_embedding=True, init_std=0.4)
    model = MarianMTModel(config).eval()
    model.final_logits_bias.normal_()
    return model


def convert(model, folder, quantization):
    loader = MarianMTLoader()
    spec = loader.get_model_spec(model)
    loader.set_config(spec.config, model, Names())
    loader.set_vocabulary(spec, WORDS)
    spec.validate()
    spec.optimize(quantization=quantization)
    folder.mkdir(parents=True)
    spec.save(str(folder))


def read(data):
    at = 0

    def number(code):
        nonlocal at
        (value,) = struct.unpack_from("<" + code, data, at)
        at += struct.calcsize(code)
        return value

    def text():
        nonlocal at
        length = number("H")
        at += length
        return data[at - length : at]

    version, name, revision, variables = number("I"), text(), number("I"), []
    for _ in range(number("I")):
        variable = text()
        shape = [number("I") for _ in range(number("B"))]
        kind, size = number("B"), number("I")
        variables.append((variable, shape, kind, data[at : at + size]))
        at += size
    aliases = [(text(), text()) for _ in range(number("I"))]
    return version, name, revision, variables, aliases


def write(data, version):
    """The same model in an older container: without aliases before 3, with the size of items for their types before 4."""
    _, name, revision, variables, aliases = read(data)
    if version < 3:
        by_name = {variable[0]: variable for variable in variables}
        for ending in (b"\0", b"_scale\0"):
            known = [(alias[:-1] + ending, by_name.get(target[:-1] + ending)) for alias, target in aliases]
            variables = variables + [(alias, *variable[1:]) for alias, variable in known if variable]
        variables.sort()

    def text(value):
        return struct.pack("<H", len(value)) + value

    out = struct.pack("<I", version)
    if version >= 2:
        out += text(name) + struct.pack("<I", revision)
    out += struct.pack("<I", len(variables))
    for variable, shape, kind, content in variables:
        out += text(variable) + struct.pack(f"<B{len(shape)}I", len(shape), *shape)
        size = (4, 1, 2, 4, 2, 2)[kind]
        out += struct.pack("<BI", kind, len(content)) if version >= 4 else struct.pack("<BI", size, len(content) // size)
        out += content
    if version >= 3:
        out += struct.pack("<I", len(aliases)) + b"".join(text(a) + text(b) for a, b in aliases)
    return out


def values(data):
    """Every matrix of numbers as float32."""
    _, _, _, variables, _ = read(data)
    kinds = (np.float32, np.int8, np.int16, np.int32, np.float16, None)
    arrays = {}
    for name, shape, kind, content in variables:
        if kinds[kind] is None:
            array = (np.frombuffer(content, np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            array = np.frombuffer(content, kinds[kind])
        arrays[name[:-1].decode()] = array.reshape(shape).astype(np.float32)
    return arrays


def main():
    folder = Path(sys.argv[1])
    expected = {"made_by": f"ctranslate2 {ctranslate2.__version__}", "models": {}}
    sources = [f"w{i} w{(5 * i + 3) % 14} w{(3 * i) % 14} unseen"[: 4 + 5 * (i % 4) + 2].split() for i in range(12)]
    expected["sources"] = [" ".join(source) for source in sources]
    for quantization in ("float32", "float16", "bfloat16", "int16", "int8"):
        target = folder / quantization
        shutil.rmtree(target, ignore_errors=True)
        convert(make_model(), target, quantization)  # quantising changes the model it is given
        data = (target / "model.bin").read_bytes()
        entry = {}
        probe = values(data)["decoder/layer_0/ffn/linear_0/weight"]
        scale = values(data).get("decoder/layer_0/ffn/linear_0/weight_scale")
        entry["fc1"] = (probe if scale is None else probe / (scale[:, None] if scale.ndim else scale)).flatten().tolist()
        for beam in (1, 3):  # computing in float32: what integers are multiplied to depends on the machine
            results = ctranslate2.Translator(str(target), compute_type="float32").translate_batch(
                sources, beam_size=beam, return_scores=True, max_decoding_length=10)
            entry[f"beam_{beam}"] = [[" ".join(result.hypotheses[0]), result.scores[0]] for result in results]
        expected["models"][quantization] = entry
    data = (folder / "int8" / "model.bin").read_bytes()
    for version in (2, 3):
        older = folder / f"version-{version}.bin"
        older.write_bytes(write(data, version))
    (folder / "expected.json").write_text(json.dumps(expected))


main()
