#!/usr/bin/env python3
"""What Tandem trains as a Transformer opens in transformers and gives the same log-probabilities.

    python opens_in_transformers.py MODEL_DIR SOURCE_FILE TARGET_FILE [TANDEM]

Scores the first 50 pairs with both and prints the largest difference of a token's log-probability. Of a speech_to_text model SOURCE_FILE
names recordings (16 kHz wav), relative to the current directory; its features are then made by transformers, too.
"""
import itertools
import json
import subprocess
import sys
import tempfile
import wave

import numpy as np
import torch
from transformers import AutoModelForSeq2SeqLM, AutoModelForSpeechSeq2Seq, AutoTokenizer, Speech2TextFeatureExtractor

directory, source, target = sys.argv[1:4]
tandem = sys.argv[4] if len(sys.argv) > 4 else "build/tandem"
pairs = list(itertools.islice(zip(open(source, encoding="utf8"), open(target, encoding="utf8")), 50))
with tempfile.NamedTemporaryFile("w", suffix=".src", encoding="utf8") as s, tempfile.NamedTemporaryFile("w", suffix=".tgt", encoding="utf8") as t:
    s.writelines(p[0] for p in pairs), s.flush()
    t.writelines(p[1] for p in pairs), t.flush()
    ours = [json.loads(line) for line in subprocess.check_output([tandem, "score", "-m", directory, "--source", s.name, "--target", t.name, "--json"], text=True).splitlines()]

def read_wav(path):
    with wave.open(path) as file:
        assert file.getframerate() == 16000 and file.getsampwidth() == 2 and file.getnchannels() == 1, path
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768


speech = json.load(open(f"{directory}/config.json"))["model_type"] == "speech_to_text"
tokenizer = AutoTokenizer.from_pretrained(directory)
extractor = Speech2TextFeatureExtractor.from_pretrained(directory) if speech else None
model = (AutoModelForSpeechSeq2Seq if speech else AutoModelForSeq2SeqLM).from_pretrained(directory, dtype=torch.float32).eval()


def read_source(line):
    if not speech:
        return {"input_ids": tokenizer(line.strip(), return_tensors="pt").input_ids}
    return {"input_features": extractor(read_wav(line.strip()), sampling_rate=16000, return_tensors="pt").input_features}


worst = 0.0
for (source_line, target_line), mine in zip(pairs, ours):
    labels = tokenizer(text_target=target_line.strip(), return_tensors="pt").input_ids
    assert labels[0].tolist() == mine["ids"], (labels[0].tolist(), mine["ids"])
    with torch.no_grad():
        logprobs = model(**read_source(source_line), labels=labels).logits.log_softmax(-1)[0]
    theirs = logprobs.gather(1, labels[0][:, None])[:, 0]
    worst = max(worst, (theirs - torch.tensor(mine["token_logprobs"])).abs().max().item())
print(f"{len(pairs)} pairs, largest difference of a log-probability {worst:.2e}")
sys.exit(worst > 2e-4)
