"""A random Whisper with CTranslate2: DIRECTORY PRECISION THREADS. Prints lines "figure VALUE UNIT NAME"; the work is that of bench/whisper.c."""
import os
import resource
import subprocess
import sys
import time

BEAM, TOKENS, TOGETHER, REPEATS = 5, 52, 4, 3
PROMPT = [50258, 50259, 50359, 50363]
END = 50257


def convert(directory, out):
    from ctranslate2.converters.transformers import WhisperLoader
    from transformers import WhisperForConditionalGeneration

    model = WhisperForConditionalGeneration.from_pretrained(directory)
    spec = WhisperLoader().get_model_spec(model)
    names = {END: "<|endoftext|>", 50258: "<|startoftranscript|>", 50362: "<|nospeech|>", 50363: "<|notimestamps|>"}
    spec.register_vocabulary([names.get(i, f"t{i}") for i in range(model.config.vocab_size)])
    spec.config.suppress_ids = spec.config.suppress_ids_begin = []
    spec.config.lang_ids, spec.config.alignment_heads = list(range(50259, 50357)), [(0, 0)]
    spec.validate()
    spec.optimize(quantization=None if out.endswith("float32") else "int8")
    os.makedirs(out)
    spec.save(out)


directory, precision, threads = sys.argv[1:]
converted = f"{directory}-ctranslate2-{precision}"
if not os.path.exists(converted):
    if os.environ.get("CONVERT"):
        convert(directory, converted)
        sys.exit()
    # In a process of its own: what converting takes is not measured.
    subprocess.run([sys.executable] + sys.argv, env={**os.environ, "CONVERT": "1"}, check=True)
import ctranslate2
import numpy

model = ctranslate2.models.Whisper(converted, device="cpu", compute_type=precision, intra_threads=int(threads), inter_threads=1)
features = numpy.random.default_rng(0).uniform(-1, 1, size=(1, 80, 3000)).astype(numpy.float32)


def encode(windows):
    return model.encode(ctranslate2.StorageView.from_array(numpy.repeat(features, windows, axis=0)), to_cpu=True)


def generate(memory, windows):
    results = model.generate(memory, [PROMPT] * windows, beam_size=BEAM, max_length=TOKENS + len(PROMPT), suppress_tokens=[END], suppress_blank=False)
    return sum(len(result.sequences_ids[0]) for result in results)


def best(work):
    taken = []
    for _ in range(REPEATS + 1):
        begin = time.time()
        count = work()
        taken.append(time.time() - begin)
    return min(taken[1:]), count


print(f"figure {1e3 * best(lambda: encode(1))[0]:.2f} ms encoder of a window of 30 s")
for windows in (1, TOGETHER):
    memory = encode(windows)
    seconds, count = best(lambda: generate(memory, windows))
    print(f"figure {count / seconds:.2f} tokens/s beam {BEAM}, {windows} window{'s' if windows > 1 else ''}")
print(f"figure {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6:.1f} MB peak memory")
