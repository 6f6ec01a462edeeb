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

ROUNDING = 1e-2  # nats by which an output of 26 words may be rated lower where float32 sums were added up in another order
threads = int(threads)
lines = [["</s>" if id == "0" else "t" + id for id in line.split()] for line in open(sources)]
options = dict(beam_size=int(beam), min_decoding_length=26, max_decoding_length=26)
names = ("a sentence at a time", "the same, of processor time", "32 sentences together", "together, of processor time")
best, memory = {}, None


def measure(translator, batches):
    begin, used, outputs = time.time(), cpu(), []
    for batch in batches:
        outputs += [result.hypotheses[0] for result in translator.translate_batch(batch, max_batch_size=32, **options)]
    tokens = sum(len(output) for output in outputs)
    return tokens / (time.time() - begin), tokens / (cpu() - used), outputs


# One translator on all threads, then a translator for each thread: of every figure the better one counts.
for workers, each in dict.fromkeys([(1, threads), (threads, 1)]):
    begin = time.time()
    translator = ctranslate2.Translator(converted, device="cpu", compute_type=precision, intra_threads=each, inter_threads=workers)
    translator.translate_batch(lines[:1], **options)
    if memory is None:
        print(f"figure {1e3 * (time.time() - begin):.2f} ms opening and the first sentence")
    alone = measure(translator, [[line] for line in lines[:8]])
    together = measure(translator, [lines])
    for name, value in zip(names, alone[:2] + together[:2]):
        if value > best.get(name, (0,))[0]:
            best[name] = value, workers, each
    if memory is None:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
for name in names:
    value, workers, each = best[name]
    print(f"figure {value:.2f} tokens/s {name} ({workers} x {each})")
print(f"figure {memory:.1f} MB peak memory, 1 x {threads}")


def log_probability(words):
    """Of each output, of its own words, as the peer rates them."""
    rated = translator.score_batch(lines, words, max_batch_size=32)
    return [sum(result.log_probs[: len(output)]) for result, output in zip(rated, words)]


def compare(path, theirs):
    """Outputs that differ are told apart by how the peer rates the two: what rounding decides is as likely as its own output."""
    spell = {"0": "</s>"}
    ours = [[spell.get(word, "t" + word) for word in line.split()] for line in open(path)]
    if [len(output) for output in ours] != [len(output) for output in theirs]:
        sys.exit("the outputs are not as long as Tandem's")
    same = sum(a == b for a, b in zip(ours, theirs))
    loss = [b - a for a, b in zip(log_probability(ours), log_probability(theirs))]
    print(f"figure {same} of-{len(theirs)} outputs alike")
    print(f"figure {sum(loss) / len(loss):.6f} nats mean loss of log-probability in Tandem's outputs")
    print(f"figure {max(loss):.6f} nats largest")
    if precision == "float32" and max(loss) > ROUNDING:
        sys.exit(f"{len(theirs) - same} of {len(theirs)} outputs differ from Tandem's, the largest by {max(loss):.4f} nats")


ours = os.path.join(os.path.dirname(sources), "outputs")
if os.path.exists(ours):
    compare(ours, together[2])
