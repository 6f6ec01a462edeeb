"""Writes tests/golden/tiny-marian/ (a small Marian model, hardly trained) and tests/golden/decoding.json: what transformers generates with it
under many settings, sentence by sentence. Run from the repository root."""
import copy
import json
import pathlib

import torch
import transformers
from transformers import MarianConfig, MarianMTModel

VOCABULARY, EOS, PAD = 96, 0, 95
ROOT = pathlib.Path("tests/golden")

torch.manual_seed(7)
config = MarianConfig(
    vocab_size=VOCABULARY, decoder_vocab_size=VOCABULARY, d_model=32, encoder_layers=1, decoder_layers=2,
    encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48,
    max_position_embeddings=48, activation_function="swish", scale_embedding=True, pad_token_id=PAD, eos_token_id=EOS,
    bos_token_id=EOS, decoder_start_token_id=PAD, forced_eos_token_id=None, share_encoder_decoder_embeddings=True,
    tie_word_embeddings=True, init_std=0.05, dropout=0.0, attention_dropout=0.0, activation_dropout=0.0)
model = MarianMTModel(config).eval()
# Half taught to write its source backwards in other ids, with noise: unsure of the words and of the end, as real models are.
generator = torch.Generator().manual_seed(5)


def example():
    length = int(torch.randint(1, 9, (1,), generator=generator))
    source = torch.randint(1, VOCABULARY - 1, (length,), generator=generator)
    target = source.flip(0) // 4 + 1
    target = target.repeat_interleave(torch.randint(1, 3, (length,), generator=generator))
    return source.tolist() + [EOS], target.tolist() + [EOS]


def batch(size):
    pairs = [example() for _ in range(size)]
    pad = lambda rows, value: torch.tensor([row + [value] * (max(map(len, rows)) - len(row)) for row in rows])
    sources, labels = pad([p[0] for p in pairs], PAD), pad([p[1] for p in pairs], -100)
    return dict(input_ids=sources, attention_mask=(sources != PAD).long(), labels=labels)


model.train()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for step in range(250):
    loss = model(**batch(24)).loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
model.eval()
print("loss", float(loss))
model.set_attn_implementation("eager")
directory = ROOT / "tiny-marian"
model.save_pretrained(directory)
(directory / "generation_config.json").unlink(missing_ok=True)

generator = torch.Generator().manual_seed(11)
sources = []
for length in [1, 3, 5, 8, 12, 7, 20, 2]:
    sources.append(torch.randint(1, VOCABULARY - 1, (length,), generator=generator).tolist() + [EOS])

settings = [
    dict(num_beams=1, max_length=20),
    dict(num_beams=1, max_new_tokens=9, forced_eos_token_id=EOS),
    dict(num_beams=1, max_new_tokens=16, repetition_penalty=1.7),
    dict(num_beams=1, max_new_tokens=16, no_repeat_ngram_size=2, min_new_tokens=8),
    dict(num_beams=1, max_new_tokens=12, suppress_tokens=[5, 17, 40, 60, 61], begin_suppress_tokens=[EOS, 3, 9]),
    dict(num_beams=2, max_new_tokens=20),
    dict(num_beams=4, max_length=24, num_return_sequences=4),
    dict(num_beams=4, max_length=24, num_return_sequences=4, early_stopping=True),
    dict(num_beams=4, max_length=24, num_return_sequences=4, early_stopping="never"),
    dict(num_beams=5, max_new_tokens=24, num_return_sequences=3, length_penalty=2.0),
    dict(num_beams=5, max_new_tokens=24, num_return_sequences=3, length_penalty=2.0, early_stopping="never"),
    dict(num_beams=3, max_new_tokens=24, num_return_sequences=3, length_penalty=0.0),
    dict(num_beams=3, max_new_tokens=24, num_return_sequences=3, length_penalty=-0.7, early_stopping="never"),
    dict(num_beams=4, max_new_tokens=3, num_return_sequences=4),
    dict(num_beams=4, max_new_tokens=12, num_return_sequences=2, min_length=10),
    dict(num_beams=4, max_new_tokens=12, num_return_sequences=2, min_new_tokens=6, early_stopping=True),
    dict(num_beams=4, max_new_tokens=16, num_return_sequences=4, repetition_penalty=1.5),
    dict(num_beams=4, max_new_tokens=16, num_return_sequences=4, no_repeat_ngram_size=2, min_new_tokens=12),
    dict(num_beams=4, max_new_tokens=16, num_return_sequences=4, no_repeat_ngram_size=1),
    dict(num_beams=4, max_new_tokens=10, num_return_sequences=4, encoder_no_repeat_ngram_size=1),
    dict(num_beams=4, max_new_tokens=10, num_return_sequences=4, forced_bos_token_id=33),
    dict(num_beams=4, max_new_tokens=10, num_return_sequences=4, forced_bos_token_id=33, forced_eos_token_id=EOS,
         begin_suppress_tokens=[EOS, 20]),
    dict(num_beams=4, max_new_tokens=10, num_return_sequences=4, forced_eos_token_id=EOS, bad_words_ids=[[PAD], [12], [30, 31]],
         renormalize_logits=True),
    dict(num_beams=4, max_new_tokens=12, num_return_sequences=4, eos_token_id=[EOS, 8, 44]),
    dict(num_beams=8, max_new_tokens=14, num_return_sequences=8, renormalize_logits=True, suppress_tokens=[2, 4, 6]),
    dict(num_beams=4, max_new_tokens=10, num_return_sequences=4, prefix_ids=[14, 15, 16]),
    dict(num_beams=1, max_new_tokens=10, prefix_ids=[14, 15, 16], begin_suppress_tokens=[EOS]),
    dict(num_beams=40, max_new_tokens=6, num_return_sequences=40),
]


def trim(ids, count):
    return [int(i) for i in ids[1:1 + count]]


def one(source, options):
    options = copy.deepcopy(options)
    prefix = options.pop("prefix_ids", [])
    ends = options.get("eos_token_id", EOS)
    ends = ends if isinstance(ends, list) else [ends]
    inputs = dict(input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([[PAD] + prefix]))
    out = model.generate(**inputs, **options, do_sample=False, return_dict_in_generate=True, output_scores=True,
                         output_logits=True, output_attentions=True)
    hypotheses = []
    for row in range(out.sequences.shape[0]):
        if options["num_beams"] == 1:
            count = len(out.logits)
            chosen = out.sequences[row, 1 + len(prefix):1 + len(prefix) + count]
            steps = torch.stack([step[row].log_softmax(-1)[token] for step, token in zip(out.logits, chosen)])
            # transformers ranks nothing here: our score is the network's own log-probability by length
            score = steps.sum() / count ** options.get("length_penalty", 1.0)
        else:
            count = int((out.beam_indices[row] >= 0).sum())
            steps = model.compute_transition_scores(out.sequences, out.scores, out.beam_indices)[row][:count]
            score = out.sequences_scores[row]
        ids = trim(out.sequences[row], count + len(prefix))
        hypotheses.append(dict(ids=ids, score=round(float(score), 6), logprobs=[round(float(s), 5) for s in steps],
                               ended=ids[-1] in ends))
    attention = None
    if options["num_beams"] == 1 and not prefix:
        attention = [[round(float(w), 5) for w in step[-1][0].mean(0)[-1]] for step in out.cross_attentions]
    return hypotheses, attention


cases = []
for options in settings:
    results = []
    for number, source in enumerate(sources):
        if options["num_beams"] == 40 and number > 2:
            break
        hypotheses, attention = one(source, options)
        result = dict(hypotheses=hypotheses)
        if attention and options is settings[0] and number == 2:
            result["attention"] = attention
        results.append(result)
    cases.append(dict(options=options, results=results))

targets = []
for number, source in enumerate(sources[:3]):
    target = torch.randint(1, VOCABULARY - 1, (4 + number,), generator=generator).tolist() + [EOS]
    fed = torch.tensor([[PAD] + target[:-1]])
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([source]), decoder_input_ids=fed).logits[0].log_softmax(-1)
    targets.append(dict(ids=target, logprobs=[round(float(logits[i, t]), 5) for i, t in enumerate(target)]))

lines = [json.dumps(case, separators=(",", ":")) for case in cases]
with open(ROOT / "decoding.json", "w") as file:
    file.write('{"made_by":"tools/reference/decoding.py","transformers":"%s","torch":"%s",\n"sources":%s,\n"targets":%s,\n"cases":[\n'
               % (transformers.__version__, torch.__version__, json.dumps(sources), json.dumps(targets)))
    file.write(",\n".join(lines) + "\n]}\n")
