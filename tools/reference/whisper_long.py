"""Writes tests/golden/whisper-long/: a tiny random Whisper with windows of 2 s, and the segments that transformers' sequential long form makes
of a sound (a formula, so that the test makes it itself), for several settings, with the times of words for some. Run from the repository
root."""
import json
import math
import pathlib
import shutil

import numpy
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers.models.whisper import tokenization_whisper
from transformers import PreTrainedTokenizerFast, WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

torch.set_num_threads(1)
ROOT = pathlib.Path("tests/golden/whisper-long")
RATE, WINDOW = 16000, 2
SILENCE = 1e-6 # so that some windows are skipped and some not
WORDS = [" one", " two", " three", " four", " five", " six", " seven", " eight", " nine", "s", "ed", "ing", ".", ",", "?", " zero",
         " (", ")", ' "', "'s", "\u2019", "!", " -", "\u65e5", "\u672c", "\u3002", "n", "ly", " a", " ten"]
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False)
SPLIT = BYTES.pre_tokenize_str("\u65e5")[0][0] # a character of which two tokens each spell a part
LANGUAGES = ["en", "de", "fr", "ja"]
NAMES = {"en": "english", "de": "german", "fr": "french", "ja": "japanese"}
HEADS = [[0, 1], [1, 0], [1, 1]]
SPECIAL = (["<|endoftext|>", "<|startoftranscript|>"] + [f"<|{name}|>" for name in LANGUAGES] +
           ["<|translate|>", "<|transcribe|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"])
STAMPS = [f"<|{i * 0.02:.2f}|>" for i in range(WINDOW * 50 + 1)]


def sound(seconds):
    """Tones that come and go; every number is exact in float32 arithmetic of either side up to rounding."""
    samples = []
    for i in range(int(seconds * RATE)):
        t = i / RATE
        level = 0.5 * max(0.0, math.sin(2 * math.pi * 0.4 * t)) + 0.02
        samples.append(level * math.sin(2 * math.pi * (220 + 60 * math.floor(t)) * t))
    return numpy.array(samples, dtype=numpy.float64).astype(numpy.float32)


def write_tokenizer(ids):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {}
    words = ["".join(part for part, _ in BYTES.pre_tokenize_str(word)) for word in WORDS]
    for word in words + [SPLIT[:2]] + alphabet:
        vocabulary.setdefault(word, len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>", pad_token="<|endoftext|>",
                                   model_max_length=40)
    fast.add_special_tokens({"additional_special_tokens": SPECIAL[1:]})
    fast.add_tokens(STAMPS)
    fast.save_pretrained(ROOT)
    return fast


def write_model(tokenizer, seed):
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIAL + STAMPS[:1]}
    torch.manual_seed(seed)
    config = WhisperConfig(
        vocab_size=len(tokenizer), num_mel_bins=16, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=32, decoder_ffn_dim=32, d_model=16, max_source_positions=WINDOW * 50, max_target_positions=40, dropout=0.0,
        pad_token_id=ids["<|endoftext|>"], bos_token_id=ids["<|endoftext|>"], eos_token_id=ids["<|endoftext|>"],
        decoder_start_token_id=ids["<|startoftranscript|>"], suppress_tokens=None, begin_suppress_tokens=None)
    model = WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.requires_grad and weight.dim() > 1:
                weight.copy_(torch.randn_like(weight) * (1.2 if "embed_tokens" in name else 0.5))
    model.tie_weights()
    generation = model.generation_config
    generation._from_model_config = False
    generation.max_length = config.max_target_positions
    generation.no_timestamps_token_id = ids["<|notimestamps|>"]
    generation.prev_sot_token_id = ids["<|startofprev|>"]
    generation.lang_to_id = {f"<|{name}|>": ids[f"<|{name}|>"] for name in LANGUAGES}
    generation.task_to_id = {"translate": ids["<|translate|>"], "transcribe": ids["<|transcribe|>"]}
    generation.is_multilingual = True
    generation.alignment_heads = HEADS
    generation.max_initial_timestamp_index = 20
    single = [i for token, i in tokenizer.get_vocab().items() if i > len(WORDS) and len(token) == 1 and token != SPLIT[2]]
    generation.suppress_tokens = sorted(single) + [tokenizer.convert_tokens_to_ids("?")] + [ids[name] for name in SPECIAL[1:2] + SPECIAL[6:9]]
    generation.begin_suppress_tokens = [ids["<|endoftext|>"]]
    model.save_pretrained(ROOT)
    return WhisperForConditionalGeneration.from_pretrained(ROOT).eval()


class Stuck(Exception):
    """transformers goes round for ever when the last time stamp of a window is 0."""


def watch():
    seen = []

    def progress(state):
        seen.append(float(state[0, 0]))
        if seen.count(seen[-1]) > 1 or len(seen) > 60:
            raise Stuck
    return progress


class Spelling:
    """As much of WhisperTokenizer as the grouping of words asks for."""
    def __init__(self, tokenizer):
        self.tokenizer, self.eos_token_id, self.language = tokenizer, tokenizer.eos_token_id, None

    def decode(self, ids, **options):
        return self.tokenizer.decode(ids)


def words_of(tokenizer, model, segments, language):
    """What tokenization_whisper._decode_asr does with a chunk, for each segment."""
    first, result, before = model.generation_config.no_timestamps_token_id + 1, [], 0.0
    for segment in segments:
        ids, times = [], []
        for i, time in zip(segment["tokens"].tolist(), segment["token_timestamps"].tolist()):
            if i < first and i not in tokenizer.all_special_ids:
                ids.append(i)
                times.append((round(before, 2), round(time, 2)))
            before = time
        result.append([dict(text=word["text"], start=word["timestamp"][0], end=word["timestamp"][1]) for word in
                       tokenization_whisper._collate_word_timestamps(Spelling(tokenizer), ids, times, NAMES[language], False)])
    return result


def main(seed):
    shutil.rmtree(ROOT, ignore_errors=True)
    ROOT.mkdir(parents=True)
    tokenizer = write_tokenizer(None)
    model = write_model(tokenizer, seed)
    extractor = WhisperFeatureExtractor(feature_size=16, chunk_length=WINDOW)
    extractor.save_pretrained(ROOT)
    cases = []
    prompt = [model.generation_config.prev_sot_token_id] + tokenizer(" one twos", add_special_tokens=False).input_ids
    for name, seconds, settings, extra in [
            ("greedy", 7, dict(language="en"), dict(words=True)),
            ("translate", 7, dict(language="de", task="translate"), {}),
            ("detected", 7, dict(task="transcribe"), {}),
            ("conditioned", 7, dict(language="en", condition_on_prev_tokens=True), dict(words=True)),
            ("beam", 7, dict(language="en", num_beams=3), dict(words=True)),
            ("no speech", 7, dict(language="en", logprob_threshold=-0.01, no_speech_threshold=SILENCE), {}),
            ("long", 24, dict(language="fr"), dict(words=True)),
            ("without spaces", 9, dict(language="ja"), dict(words=True)),
            ("short", 1.30703, dict(language="de"), dict(words=True)),
            ("shorter", 0.42, dict(language="en"), {}),
            ("prompted", 7, dict(language="en"), dict(prompt=" one twos ")),
            ("prompted once", 7, dict(language="de", condition_on_prev_tokens=True), dict(prompt="one twos"))]:
        length = dict(truncation=False, padding="longest") if seconds > WINDOW else {}
        features = extractor(sound(seconds), sampling_rate=RATE, return_tensors="pt", return_attention_mask=True, **length)
        options = dict(return_token_timestamps=True) if "words" in extra else {}
        options |= dict(prompt_ids=torch.tensor(prompt)) if "prompt" in extra else {}
        with torch.no_grad():
            result = model.generate(**features, return_timestamps=True, return_segments=True, temperature=0.0,
                                    monitor_progress=watch(), **settings, **options)
        made = result["segments"][0]
        segments = [dict(start=round(float(one["start"]), 4), end=round(float(one["end"]), 4), ids=one["tokens"].tolist())
                    for one in made]
        if "words" in extra:
            for segment, words in zip(segments, words_of(tokenizer, model, made, settings["language"])):
                segment["words"] = words
        text = tokenizer.decode([i for one in segments for i in one["ids"] if i <= model.generation_config.no_timestamps_token_id], skip_special_tokens=True)
        cases.append(dict(name=name, seconds=seconds, settings=settings | extra, segments=segments, text=text))
    long = [one for one in cases if one["seconds"] >= 7]
    if len({len(one["segments"]) for one in long}) < 2 or any(len(one["segments"]) < 1 for one in long):
        return False
    words = [word["text"] for one in cases for segment in one["segments"] for word in segment.get("words", [])]
    if len(set(words)) < 12 or not any(word[-1:] in ".,!)" and len(word) > 2 for word in words):
        return False
    (ROOT / "expected.json").write_text(json.dumps(dict(cases=cases), indent=0))
    return True


for seed in range(5, 100): # the first few fail
    try:
        if main(seed):
            print("seed", seed)
            break
    except Stuck:
        continue
