"""Writes tests/golden/families/{bart-base,bart-copies,t5-copies}: the tiny models of families.py under the names that published files have:
bart-base's without the prefix "model." and without final_logits_bias, others with every copy of a tied table, and T5's with a table of
relative distances that nothing reads. Configurations carry the keys of their time and leave out the ids. Run from the repository root."""
import json
import pathlib
import shutil

import torch
import transformers
from safetensors.torch import save_file

ROOT = pathlib.Path("tests/golden/families")
IDS = ["pad_token_id", "eos_token_id", "bos_token_id", "decoder_start_token_id", "forced_eos_token_id"]
OLD = dict(activation_dropout=0.1, add_bias_logits=False, add_final_layer_norm=False, classif_dropout=0.1, early_stopping=True, gradient_checkpointing=False,
           no_repeat_ngram_size=3, normalize_before=False, normalize_embedding=True, num_beams=4, num_hidden_layers=6, torch_dtype="float32",
           task_specific_params={"summarization": {"length_penalty": 1.0, "max_length": 128}})


def compute(model, case):
    source, target = torch.tensor([case["input_ids"]]), case["target_ids"]
    with torch.no_grad():
        encoder = model.get_encoder()(source).last_hidden_state
        logits = model(input_ids=source, decoder_input_ids=torch.tensor([case["decoder_input_ids"]])).logits
    return dict(case, logprobs=logits.log_softmax(-1)[0, range(len(target)), target].tolist(), encoder_mean=encoder.mean().item(),
                encoder_l2=encoder.norm().item(), encoder_first8=encoder[0, 0, :8].tolist())


def write(name, original, model, weights, **settings):
    config = json.loads((ROOT / original / "config.json").read_text()) | settings
    directory = ROOT / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    cases = json.loads((ROOT / original / "expected.json").read_text())["cases"]
    (directory / "config.json").write_text(json.dumps({key: value for key, value in config.items() if key not in IDS}, indent=1) + "\n")
    (directory / "expected.json").write_text(json.dumps(dict(cases=[compute(model, case) for case in cases])) + "\n")
    save_file({key: value.clone().contiguous() for key, value in weights.items()}, directory / "model.safetensors", metadata={"format": "pt"})
    (directory / "model.safetensors").chmod(0o644)
    print(name, len(weights))


torch.manual_seed(1000)
bart = transformers.BartForConditionalGeneration.from_pretrained(ROOT / "bart").eval()
bart.final_logits_bias.zero_()
weights = {key: value for key, value in bart.state_dict().items() if key not in ("final_logits_bias", "lm_head.weight")}
double = transformers.BartForConditionalGeneration.from_pretrained(ROOT / "bart").eval().double()
double.final_logits_bias.zero_()
write("bart-base", "bart", double, {key.removeprefix("model."): value for key, value in weights.items()}, **OLD)
write("bart-copies", "bart", double, weights | {"lm_head.weight": weights["model.shared.weight"]}, **OLD)
t5 = transformers.T5ForConditionalGeneration.from_pretrained(ROOT / "t5").eval()
extra = {"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight": torch.randn(8, 2)}
write("t5-copies", "t5", t5.double(), {key: value.float() for key, value in t5.state_dict().items()} | extra, n_positions=512, output_past=True,
      task_specific_params={"translation_en_to_de": {"prefix": "translate English to German: "}})
assert "model.encoder.embed_tokens.weight" in weights and "lm_head.weight" in t5.state_dict()
