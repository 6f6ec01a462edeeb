"""Writes tests/golden/whisper-long/flags.json: what transformers' Whisper writes of a short sound under the settings that published checkpoints
have in generation_config.json, or lack. Run after whisper_long.py, from the repository root."""
import json
import math
import pathlib
import shutil
import tempfile

import numpy
import torch
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

torch.set_num_threads(1)
ROOT, SECONDS, RATE = pathlib.Path("tests/golden/whisper-long"), 1.5, 16000
BASE = json.loads((ROOT / "generation_config.json").read_text())
IDS = BASE["lang_to_id"] | BASE["task_to_id"]
QUIET = BASE["no_timestamps_token_id"]
ENGLISH, FRENCH, SAY, TRANSLATE = IDS["<|en|>"], IDS["<|fr|>"], IDS["transcribe"], IDS["translate"]
TABLES = ["lang_to_id", "task_to_id"]
ALL = list(BASE)

# name, changes of generation_config.json, keys it lacks, changes of config.json, options of the call
CASES = [
    ("multilingual", dict(forced_decoder_ids=[[1, None], [2, SAY]]), [], {}, {}),
    ("multilingual with a language", dict(forced_decoder_ids=[[1, None], [2, SAY]]), [], {}, dict(language="fr")),
    ("multilingual, translating", dict(forced_decoder_ids=[[1, None], [2, SAY]]), [], {}, dict(task="translate")),
    ("English only", dict(forced_decoder_ids=[[1, QUIET]], is_multilingual=False), TABLES, {}, {}),
    ("English only with times", dict(forced_decoder_ids=[[1, QUIET]], is_multilingual=False), TABLES, {}, dict(return_timestamps=True)),
    ("English only, nothing forced", dict(is_multilingual=False), TABLES, {}, {}),
    ("forced throughout", dict(forced_decoder_ids=[[1, ENGLISH], [2, TRANSLATE], [3, QUIET]]), [], {}, {}),
    ("forced throughout with times", dict(forced_decoder_ids=[[1, FRENCH], [2, SAY], [3, QUIET]]), [], {}, dict(return_timestamps=True)),
    ("forced, without tables", dict(forced_decoder_ids=[[1, FRENCH], [2, SAY], [3, QUIET]]), TABLES + ["is_multilingual"], {}, {}),
    ("language and task in the file", dict(language="fr", task="translate"), [], {}, {}),
    ("times in the file", dict(return_timestamps=True), [], {}, dict(language="en")),
    ("nothing suppressed", dict(suppress_tokens=[], begin_suppress_tokens=[]), [], {}, dict(language="en")),
    ("suppression null", dict(suppress_tokens=None, begin_suppress_tokens=None), [], {}, dict(language="en", return_timestamps=True)),
    ("any first time", {}, ["max_initial_timestamp_index"], {}, dict(language="en", return_timestamps=True)),
    ("without a token for no times", {}, ["no_timestamps_token_id"], {}, dict(language="en")),
    ("no generation_config.json", {}, ALL, dict(forced_decoder_ids=[[1, ENGLISH], [2, SAY], [3, QUIET]], suppress_tokens=BASE["suppress_tokens"],
                                                begin_suppress_tokens=BASE["begin_suppress_tokens"], max_length=30), {}),
]


def sound():
    samples = []
    for i in range(int(SECONDS * RATE)):
        t = i / RATE
        level = 0.5 * max(0.0, math.sin(2 * math.pi * 0.4 * t)) + 0.02
        samples.append(level * math.sin(2 * math.pi * (220 + 60 * math.floor(t)) * t))
    return numpy.array(samples, dtype=numpy.float64).astype(numpy.float32)


def compute(changes, missing, config, options):
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        for file in ROOT.iterdir():
            shutil.copy(file, directory)
        generation = {key: value for key, value in (BASE | changes).items() if key not in missing}
        if missing == ALL:
            (directory / "generation_config.json").unlink()
        else:
            (directory / "generation_config.json").write_text(json.dumps(generation))
        whole = json.loads((ROOT / "config.json").read_text()) | config
        (directory / "config.json").write_text(json.dumps(whole))
        model = WhisperForConditionalGeneration.from_pretrained(directory).eval()
        extractor = WhisperFeatureExtractor.from_pretrained(directory)
        features = extractor(sound(), sampling_rate=RATE, return_tensors="pt", return_attention_mask=True)
        seen = []

        def watch(state):
            seen.append(float(state[0, 0]))
            if len(seen) > 40:
                raise RuntimeError("stuck")
        with torch.no_grad():
            result = model.generate(**features, return_segments=True, num_beams=1, monitor_progress=watch, **options)
        return [one["tokens"].tolist() for one in result["segments"][0]]


cases = []
for name, changes, missing, config, options in CASES:
    try:
        segments = compute(changes, missing, config, options)
    except RuntimeError as problem:
        print(name, problem)
        continue
    print(name, [len(one) for one in segments])
    cases.append(dict(name=name, generation=changes, missing="all" if missing == ALL else missing, config=config, options=options, segments=segments))
(ROOT / "flags.json").write_text(json.dumps(dict(seconds=SECONDS, cases=cases), indent=0))
