"""Writes tests/golden/tiny-translator/: a random Marian model over the vocabulary of tests/golden/marian-tokenizer (whose files the
tests put beside it), and expected.tsv: sentence, language, what transformers generates. Run from the repository root."""
import json
import pathlib
import shutil
import tempfile

import torch
import transformers
from transformers import MarianConfig, MarianMTModel, MarianTokenizer

ROOT = pathlib.Path("tests/golden")
TOKENIZER = ROOT / "marian-tokenizer"
SENTENCES = [
    "The old boat leaves the harbour.", "Two cats sleep.", "A boy reads a letter to his sister.", "Rain!",
    "They walk home along the river, and nobody says a word.", "Where is the key?"]

vocabulary = json.loads((TOKENIZER / "vocab.json").read_text())
size, pad, eos = len(vocabulary), vocabulary["<pad>"], vocabulary["</s>"]
torch.manual_seed(8)
config = MarianConfig(
    vocab_size=size, decoder_vocab_size=size, d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
    decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=40,
    activation_function="relu", scale_embedding=True, pad_token_id=pad, eos_token_id=eos, bos_token_id=eos,
    decoder_start_token_id=pad, forced_eos_token_id=None, share_encoder_decoder_embeddings=True, tie_word_embeddings=True,
    init_std=0.3, dropout=0.0, attention_dropout=0.0, activation_dropout=0.0)
model = MarianMTModel(config).eval()
with torch.no_grad():
    for name, parameter in model.named_parameters():
        if "embed_positions" not in name and parameter.dim() > 1 and "shared" not in name:
            parameter.copy_(torch.randn_like(parameter) * 0.45)
    model.final_logits_bias[0, eos] = 5.0
    model.final_logits_bias[0, pad] = -20.0
    for name, id in vocabulary.items():
        if name.startswith(">>") or name == "<unk>":
            model.final_logits_bias[0, id] = -20.0

target = ROOT / "tiny-translator"
target.mkdir(exist_ok=True)
model.generation_config = transformers.GenerationConfig(
    num_beams=4, max_length=24, decoder_start_token_id=pad, eos_token_id=eos, pad_token_id=pad, bos_token_id=eos)
model.save_pretrained(target)
(target / "README.md").write_text("---\nlicense: cc0-1.0\n---\nRandom weights, for tests. Made by tools/reference/translator.py.\n")

with tempfile.TemporaryDirectory() as directory:
    for file in list(TOKENIZER.iterdir()):
        shutil.copy(file, directory)
    tokenizer = MarianTokenizer.from_pretrained(directory)
lines = []
for language in ("de", "nl"):
    for sentence in SENTENCES:
        batch = tokenizer([f">>{language}<< {sentence}"], return_tensors="pt")
        outputs = []
        for dtype in (torch.float32, torch.float64):
            output = model.to(dtype).generate(**batch, return_dict_in_generate=True, output_scores=True)
            outputs.append((output.sequences[0, 1:].tolist(), float(output.sequences_scores[0])))
        assert outputs[0][0] == outputs[1][0], "a near tie: choose another seed"
        ids, score = outputs[1]
        lines.append("\t".join([language, sentence, tokenizer.decode(ids, skip_special_tokens=True), f"{score:.4f}",
                                " ".join(map(str, ids))]))
(target / "expected.tsv").write_text("\n".join(lines) + "\n")
