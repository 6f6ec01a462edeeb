"""Writes tests/golden/default_ids.json: the token ids that transformers' configuration classes have when config.json names none, as the
oldest checkpoints do. Run from the repository root."""
import json
import pathlib

import transformers

KEYS = ["pad_token_id", "eos_token_id", "bos_token_id", "decoder_start_token_id"]
CLASSES = "Marian Bart MBart Pegasus M2M100 MT5 Whisper Moonshine Speech2Text".split()
NESTED = "TrOCR GPT2 Bert Roberta Bart MBart".split()


def ids(name):
    config = getattr(transformers, name + "Config")()
    return config.model_type, {key: getattr(config, key, None) for key in KEYS}


pathlib.Path("tests/golden/default_ids.json").write_text(json.dumps(
    dict(families=dict(ids(name) for name in CLASSES), decoders=dict(ids(name) for name in NESTED)), indent=1) + "\n")
