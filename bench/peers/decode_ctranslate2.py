"""Decoding of a random Marian model with CTranslate2: DIRECTORY PRECISION BEAM SOURCES THREADS. Prints lines "figure VALUE UNIT NAME"."""
import multiprocessing
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


def translator(workers, each):
    return ctranslate2.Translator(converted, device="cpu", compute_type=precision, intra_threads=each, inter_threads=workers)


def speed(opened, batches):
    begin, used, outputs = time.time(), cpu(), []
    for batch in batches:
        outputs += [result.hypotheses[0] for result in opened.translate_batch(batch, max_batch_size=32, **options)]
    tokens = sum(len(output) for output in outputs)
    return tokens / (time.time() - begin), tokens / (cpu() - used), outputs


def measure(setting):
    """In a process of its own, so that each setting has a peak of memory: milliseconds, the four speeds, MB and outputs."""
    begin = time.time()
    opened = translator(*setting)
    opened.translate_batch(lines[:1], **options)
    opening = 1e3 * (time.time() - begin)
    alone = speed(opened, [[line] for line in lines[:8]])
    together = speed(opened, [lines])
    return opening, alone[:2] + together[:2], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, together[2]


def log_probability(opened, words):
    """Of each output, of its own words, as the peer rates them."""
    rated = opened.score_batch(lines, words, max_batch_size=32)
    return [sum(result.log_probs[: len(output)]) for result, output in zip(rated, words)]


def compare(path, theirs):
    """Outputs that differ are told apart by how the peer rates the two: what rounding decides is as likely as its own output."""
    spell = {"0": "</s>"}
    ours = [[spell.get(word, "t" + word) for word in line.split()] for line in open(path)]
    if [len(output) for output in ours] != [len(output) for output in theirs]:
        sys.exit("the outputs are not as long as Tandem's")
    same = sum(a == b for a, b in zip(ours, theirs))
    opened = translator(threads, 1)
    loss = [b - a for a, b in zip(log_probability(opened, ours), log_probability(opened, theirs))]
    print(f"figure {same} of-{len(theirs)} outputs alike")
    print(f"figure {sum(loss) / len(loss):.6f} nats mean loss of log-probability in Tandem's outputs")
    print(f"figure {max(loss):.6f} nats largest")
    if precision == "float32" and max(loss) > ROUNDING:
        sys.exit(f"{len(theirs) - same} of {len(theirs)} outputs differ from Tandem's, the largest by {max(loss):.4f} nats")


def main():
    # One translator on all threads, then a translator for each thread: of every speed the better one counts.
    settings = list(dict.fromkeys([(1, threads), (threads, 1)]))
    found = {}
    for setting in settings:
        with multiprocessing.get_context("spawn").Pool(1) as child:
            found[setting] = child.apply(measure, (setting,))
    print(f"figure {found[settings[0]][0]:.2f} ms opening and the first sentence")
    for i, name in enumerate(names):
        best = max(settings, key=lambda setting: found[setting][1][i])
        print(f"figure {found[best][1][i]:.2f} tokens/s {name} ({best[0]} x {best[1]})")
    for setting in settings:
        print(f"figure {found[setting][2]:.1f} MB peak memory, {setting[0]} x {setting[1]}")
    ours = os.path.join(os.path.dirname(sources), "outputs")
    if os.path.exists(ours):
        compare(ours, found[settings[-1]][3])


if __name__ == "__main__":
    main()
