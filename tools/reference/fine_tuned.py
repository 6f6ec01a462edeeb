"""Writes tests/golden/families/fine-tuned-*: tiny models that transformers made, trained further by `tandem train` from their directories,
and what transformers computes with the result, which it must open without a weight missing, left over or of another shape.

    python tools/reference/fine_tuned.py [TANDEM [NAME...]] from the repository root"""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import torch
import transformers

GOLDEN = pathlib.Path("tests/golden")
TANDEM = str(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "build/tandem").resolve())
NONE = dict(dropout=0.0, attention_dropout=0.0, activation_dropout=0.0)
BART = dict(d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=24, decoder_ffn_dim=24,
            max_position_embeddings=40, **NONE)
SOURCES = ["the boat", "the lamp is grey", "a cold stone", "two boats and a stone"]
TARGETS = ["le bateau", "la lampe est grise", "une pierre froide", "deux bateaux et une pierre"]
RECIPE = """data:
  train: {source: a.txt, target: b.txt}
%smodel: {from: model}
output: tuned
training: {max_steps: 12, warmup_steps: 1, learning_rate: 0.01, batch_tokens: 200, report_every: 12, threads: 1, checkpoint_every: 12}
"""


def ids(directory):
    vocabulary = json.loads((directory / "vocab.json").read_text())
    return dict(vocab_size=len(vocabulary), pad_token_id=vocabulary["<pad>"], eos_token_id=vocabulary["</s>"])


# Name: tokenizer's directory, model, languages of the recipe
MODELS = {
    "marian": ("marian-tokenizer", lambda d: transformers.MarianMTModel(transformers.MarianConfig(
        decoder_start_token_id=ids(d)["pad_token_id"], decoder_vocab_size=ids(d)["vocab_size"], forced_eos_token_id=0, activation_function="swish", **ids(d), **BART)), ""),
    "bart": ("bart-tokenizer", lambda d: transformers.BartForConditionalGeneration(transformers.BartConfig(
        vocab_size=len(json.loads((d / "vocab.json").read_text())), pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2, **BART)), ""),
    "pegasus": ("pegasus-tokenizer", lambda d: transformers.PegasusForConditionalGeneration(transformers.PegasusConfig(
        vocab_size=223, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0, **BART)), ""),
    "t5": ("t5-tokenizer", lambda d: transformers.T5ForConditionalGeneration(transformers.T5Config(
        vocab_size=240, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2, dropout_rate=0.0, decoder_start_token_id=0)), ""),
    "m2m_100": ("whole/m2m100", None, "  source_language: en\n  target_language: fr\n"),
    "mbart": ("whole/mbart50", None, "  source_language: en_XX\n  target_language: fr_XX\n"),
}


def compute(model, case):
    fed, target = torch.tensor([case["decoder_input_ids"]]), case["target_ids"]
    with torch.no_grad():
        encoder = model.get_encoder()(torch.tensor([case["input_ids"]])).last_hidden_state
        logits = model(input_ids=torch.tensor([case["input_ids"]]), decoder_input_ids=fed).logits
    return case | dict(logprobs=logits.log_softmax(-1)[0, range(len(target)), target].tolist(), encoder_mean=encoder.mean().item(),
                       encoder_l2=encoder.norm().item(), encoder_first8=encoder[0, 0, :8].tolist())


for number, (name, (tokenizer, make, languages)) in enumerate(MODELS.items()):
    if sys.argv[2:] and name not in sys.argv[2:]:
        continue
    torch.manual_seed(900 + number)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        shutil.copytree(GOLDEN / tokenizer, folder / "model")
        if make:
            make(folder / "model").save_pretrained(folder / "model")
        (folder / "a.txt").write_text("\n".join(SOURCES) + "\n")
        (folder / "b.txt").write_text("\n".join(TARGETS) + "\n")
        (folder / "recipe.yaml").write_text(RECIPE % languages)
        subprocess.run([TANDEM, "train", "recipe.yaml", "--progress", "off"], cwd=folder, check=True, capture_output=True)
        model, found = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder / "tuned", output_loading_info=True)
        missing = [key for key in found["missing_keys"] if not (name == "pegasus" and "embed_positions" in key)]  # sinusoids, which it computes
        assert not missing and not found["unexpected_keys"] and not found["mismatched_keys"], found
        before = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder / "model").state_dict()
        changed = sum(not torch.equal(weight, before[key]) for key, weight in model.state_dict().items())
        assert changed > len(before) / 2, (name, changed, len(before))
        directory = GOLDEN / "families" / ("fine-tuned-" + name)
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        for file in ("config.json", "model.safetensors"):
            shutil.copy(folder / "tuned" / file, directory / file)
        model, start, cases = model.eval().double(), model.config.decoder_start_token_id, []
        for length in (1, 7, 15):
            source, target = torch.randint(5, 100, (length,)).tolist(), torch.randint(5, 100, (length // 2 + 2,)).tolist()
            cases.append(compute(model, dict(input_ids=source, decoder_input_ids=[start] + target[:-1], target_ids=target)))
        (directory / "expected.json").write_text(json.dumps(dict(cases=cases)) + "\n")
        print(name, changed, "of", len(before), "changed;", (directory / "model.safetensors").stat().st_size, flush=True)
