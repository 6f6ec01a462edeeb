"""Decoding of a random Marian model with CTranslate2: DIRECTORY PRECISION BEAM SOURCES THREADS. Prints lines "figure VALUE UNIT NAME"."""
import os
import resource
import subprocess
import sys
import time


def convert(directory, out):
    import ctranslate2.converters.transformers as converters
    from transformers import MarianMTModel

    model = MarianMTModel.from_pretrained(directory)
    words = model.config.vocab_size

    class Tokenizer:
        eos_token, unk_token, pad_token, bos_token = "</s>", "<unk>", "<pad>", None
        unk_token_id, pad_token_id = 1, words - 1
        encoder = {}

        def get_vocab(self):
            return {"</s>": 0, "<unk>": 1, "<pad>": words - 1, **{f"t{i}": i for i in range(2, words - 1)}}

    spec = converters.MarianMTLoader()(model, Tokenizer())
    spec.validate()
    spec.optimize(quantization=None if out.endswith("float32") else "int8")
    os.makedirs(out)
    spec.save(out)


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


directory, precision, beam, sources, threads = sys.argv[1:]
converted = f"{directory}-ctranslate2-{precision}"
if not os.path.exists(converted):
    if os.environ.get("CONVERT"):
        convert(directory, converted)
        sys.exit()
    # In a process of its own: what converting takes is not measured.
    subprocess.run([sys.executable] + sys.argv, env={**os.environ, "CONVERT": "1"}, check=True)
import ctranslate2

begin = time.time()
translator = ctranslate2.Translator(converted, device="cpu", compute_type=precision, intra_threads=int(threads), inter_threads=1)
lines = [["</s>" if id == "0" else "t" + id for id in line.split()] for line in open(sources)]
options = dict(beam_size=int(beam), min_decoding_length=26, max_decoding_length=26)
translator.translate_batch(lines[:1], **options)
print(f"figure {1e3 * (time.time() - begin):.2f} ms opening and the first sentence")


def measure(name, batches):
    begin, used, tokens = time.time(), cpu(), 0
    for batch in batches:
        tokens += sum(len(result.hypotheses[0]) for result in translator.translate_batch(batch, max_batch_size=32, **options))
    print(f"figure {tokens / (time.time() - begin):.2f} tokens/s {name[0]}")
    print(f"figure {tokens / (cpu() - used):.2f} tokens/s {name[1]}")


measure(("a sentence at a time", "the same, of processor time"), [[line] for line in lines[:8]])
measure(("32 sentences together", "together, of processor time"), [lines])
print(f"figure {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6:.1f} MB peak memory")
