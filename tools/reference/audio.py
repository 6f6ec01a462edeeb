"""Makes tests/golden/audio/: small synthetic sounds and what transformers computes on them.

Whisper and Speech2Text features are those classes' own numpy path. Filter banks at other rates use the same module's
spectrogram(); MFCC add Kaldi's cosine transform, lifter and energy in numpy. Needs numpy, transformers and soundfile.
"""
import json
import math
import pathlib
import warnings

import numpy as np
import soundfile
import transformers
from transformers import audio_utils
from transformers.models.speech_to_text import feature_extraction_speech_to_text as s2t
from transformers.models.whisper import feature_extraction_whisper as whisper

warnings.filterwarnings("ignore")
OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/audio"


def tones(rate, seconds, seed):
    """A chirp, two steady tones, and noise whose loudness rises."""
    t = np.arange(round(rate * seconds)) / rate
    noise = np.random.default_rng(seed).standard_normal(len(t))
    chirp = 0.3 * np.sin(2 * np.pi * (200 * t + 0.3 * rate / seconds * t * t / 2))
    return chirp + 0.2 * np.sin(2 * np.pi * 440 * t) + 0.1 * np.sin(2 * np.pi * 1333 * t) + 0.02 * t / seconds * noise


def write_sounds():
    """Returns {file name: (mono samples as the file has them, rate)}."""
    mono, narrow, wide = tones(16000, 0.5, 1), tones(8000, 0.4, 2), tones(44100, 0.25, 3)
    stereo = np.stack([mono[:4800], mono[1600:6400][::-1]], axis=1)
    pure = 0.99 * np.sin(2 * np.pi * 1003 * np.arange(5600) / 16000)
    files = {
        "mono16.wav": (mono, 16000, "PCM_16"),
        "pure.wav": (pure, 16000, "PCM_16"),
        "stereo24.wav": (stereo, 16000, "PCM_24"),
        "narrow-float.wav": (narrow, 8000, "FLOAT"),
        "narrow8.wav": (narrow, 8000, "PCM_U8"),
        "wide.flac": (wide, 44100, "PCM_16"),
        "mono.ogg": (mono, 16000, "VORBIS"),
        "mono.mp3": (mono, 16000, "MPEG_LAYER_III"),
    }
    result = {}
    for name, (samples, rate, subtype) in files.items():
        soundfile.write(OUT / name, samples, rate, subtype=subtype)
        back, _ = soundfile.read(OUT / name, dtype="float32", always_2d=True)
        result[name] = (back.astype(np.float64).mean(axis=1).astype(np.float32), rate)
    return result


def whisper_features(samples, config):
    extractor = whisper.WhisperFeatureExtractor(**config)
    padded = np.zeros(extractor.n_samples, np.float32)
    length = min(len(samples), len(padded))
    padded[:length] = samples[:length]
    return extractor._np_extract_fbank_features([padded], "cpu")[0].T


def speech_to_text_features(samples, config):
    assert not s2t.is_speech_available(), "remove torchaudio: the reference is the numpy path"
    return s2t.Speech2TextFeatureExtractor(**config)(samples, sampling_rate=16000)["input_features"][0]


def normalized(x, config):
    if config.get("deltas"):
        def slope(y):
            edge = np.pad(y, ((2, 2), (0, 0)), mode="edge")
            n = len(y)
            return (2 * (edge[4:4 + n] - edge[:n]) + (edge[3:3 + n] - edge[1:1 + n])) / 10
        x = np.concatenate([x, slope(x), slope(slope(x))], axis=1)
    if config.get("normalize") == "utterance":
        x = (x - x.mean(axis=0)) / x.std(axis=0)
    if config.get("normalize") == "global":
        x = (x - np.array(config["mean"])) / np.array(config["std"])
    return x


def tandem_features(samples, config):
    rate, bins = config["sampling_rate"], config["num_mel_bins"]
    frame = int(rate * config.get("frame_length", 25) / 1000)
    shift = int(rate * config.get("frame_shift", 10) / 1000)
    common = dict(frame_length=frame, hop_length=shift, power=2.0)
    if config["kind"] == "log-mel":
        filters = audio_utils.mel_filter_bank(frame // 2 + 1, bins, 0.0, rate / 2, rate, norm="slaney", mel_scale="slaney")
        x = audio_utils.spectrogram(samples, audio_utils.window_function(frame, "hann"), mel_filters=filters, log_mel="log10",
                                    **common)[:, :-1]
        return normalized(((np.maximum(x, x.max() - 8) + 4) / 4).T.astype(np.float64), config)
    length = 2 ** math.ceil(math.log2(frame))
    filters = audio_utils.mel_filter_bank(length // 2 + 1, bins, config.get("low_freq", 20), rate // 2, rate, mel_scale="kaldi",
                                          triangularize_in_mel_space=True)
    x = audio_utils.spectrogram(samples * 32768, audio_utils.window_function(frame, "povey", periodic=False), center=False,
                                fft_length=length, preemphasis=0.97, mel_filters=filters, log_mel="log",
                                mel_floor=1.192092955078125e-07, remove_dc_offset=True, **common).T.astype(np.float64)
    if config["kind"] == "mfcc":
        k, n = np.arange(config["num_ceps"])[:, None], np.arange(bins)[None, :]
        cosines = np.cos(np.pi / bins * (n + 0.5) * k) * np.where(k == 0, math.sqrt(1 / bins), math.sqrt(2 / bins))
        lifter = config.get("cepstral_lifter", 22)
        x = x @ cosines.T * (1 + 0.5 * lifter * np.sin(np.pi * k[:, 0] / lifter) if lifter else 1)
        if config.get("use_energy"):
            frames = np.stack([samples[i * shift:i * shift + frame].astype(np.float64) * 32768 for i in range(len(x))])
            frames -= frames.mean(axis=1, keepdims=True)
            x[:, 0] = np.log(np.maximum((frames ** 2).sum(axis=1), 1.192092955078125e-07))
    return normalized(x, config)


KINDS = {
    "WhisperFeatureExtractor": whisper_features,
    "Speech2TextFeatureExtractor": speech_to_text_features,
    "TandemFeatureExtractor": tandem_features,
}
WHISPER, SPEECH, TANDEM = KINDS
CASES = [
    ("mono16.wav", WHISPER, {"chunk_length": 1}),
    ("pure.wav", WHISPER, {"chunk_length": 1, "feature_size": 128}),
    ("mono.ogg", WHISPER, {"chunk_length": 2}),
    ("mono16.wav", SPEECH, {}),
    ("pure.wav", SPEECH, {"normalize_vars": False}),
    ("stereo24.wav", SPEECH, {"do_ceptral_normalize": False, "num_mel_bins": 40}),
    ("mono16.wav", SPEECH, {"normalize_means": False}),
    ("narrow-float.wav", TANDEM, {"kind": "fbank", "sampling_rate": 8000, "num_mel_bins": 24, "normalize": "utterance"}),
    ("narrow8.wav", TANDEM, {"kind": "mfcc", "sampling_rate": 8000, "num_mel_bins": 23, "num_ceps": 13, "deltas": True}),
    ("mono16.wav", TANDEM, {"kind": "mfcc", "sampling_rate": 16000, "num_mel_bins": 40, "num_ceps": 20, "use_energy": True,
                            "cepstral_lifter": 0, "frame_length": 32, "frame_shift": 16}),
    ("wide.flac", TANDEM, {"kind": "log-mel", "sampling_rate": 44100, "num_mel_bins": 32, "frame_length": 20}),
    ("pure.wav", TANDEM, {"kind": "fbank", "sampling_rate": 16000, "num_mel_bins": 4, "normalize": "global", "low_freq": 100,
                          "mean": [10, 11.5, 12, 9], "std": [1, 2, 0.5, 3]}),
]


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    sounds = write_sounds()
    cases = []
    for name, kind, config in CASES:
        features = np.asarray(KINDS[kind](sounds[name][0], config), np.float64)
        rows = sorted({0, 1, len(features) // 3, len(features) // 2, len(features) - 2, len(features) - 1})
        cases.append({
            "file": name, "config": {"feature_extractor_type": kind, **config}, "shape": list(features.shape),
            "sum": round(float(features.sum()), 4), "l2": round(float(np.linalg.norm(features)), 5),
            "rows": {str(i): [round(float(v), 6) for v in features[i]] for i in rows},
        })
    samples = {name: {"rate": rate, "count": len(mono), "l2": round(float(np.linalg.norm(mono)), 6),
                      "first": [round(float(v), 7) for v in mono[1000:1012]]} for name, (mono, rate) in sounds.items()}
    root = {"transformers": transformers.__version__, "libsndfile": soundfile.__libsndfile_version__, "sounds": samples, "cases": cases}
    (OUT / "expected.json").write_text(json.dumps(root).replace('{"file"', '\n{"file"') + "\n")


if __name__ == "__main__":
    main()
