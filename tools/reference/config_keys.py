"""Writes tests/golden/config_keys.json: what transformers computes when one key of a family's config.json has another value, with the
weights as they are. Tandem must give the same numbers or refuse the value by the key's name. Where transformers itself cannot use the
value, Tandem must not fall over. Directories are those of tests/golden/families; run from the repository root."""
import copy
import json
import math
import os
import pathlib
import tempfile
import warnings

import torch
import transformers

warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

ROOT = pathlib.Path("tests/golden/families")
DIRECTORIES = ["marian-shared", "marian-separate", "bart", "mbart", "pegasus", "m2m_100", "t5", "t5-gated", "mt5", "whisper", "speech_to_text",
               "moonshine", "vit-gpt2", "vit-gpt2-bridge", "deit-gpt2", "vit-trocr", "swin-gpt2", "swin-bart", "donut", "vit-bert", "bert2bert",
               "bert2roberta", "blip"]
NESTED = ["encoder", "decoder", "text_config", "vision_config"]
# What says nothing about the network: names, bookkeeping, what is returned beside the result, training's noise, and heads of other tasks.
LEFT_OUT = {"architectures", "transformers_version", "dtype", "torch_dtype", "model_type", "_name_or_path", "id2label", "label2id", "problem_type",
            "return_dict", "output_hidden_states", "output_attentions", "use_cache", "stage_names", "out_features", "out_indices"}
# T5 1.1's file has an output table of its own; scaled and tied, as this would say, it has none that is read.
NO_MEANING = {("t5-gated", "scale_decoder_outputs")}
# Keys of older files that today's classes no longer write.
OLDER = {"marian-shared": {"normalize_before": True, "add_final_layer_norm": True, "normalize_embedding": True, "static_position_embeddings": False},
         "bart": {"normalize_before": True, "add_final_layer_norm": True, "normalize_embedding": False, "static_position_embeddings": True,
                  "extra_pos_embeddings": 1, "add_bias_logits": True, "force_bos_token_to_be_generated": True, "layernorm_embedding": False},
         "t5": {"n_positions": 64, "output_past": True, "tie_encoder_decoder": True},
         "moonshine": {"rope_theta": 100.0, "partial_rotary_factor": 0.5, "rope_scaling": {"rope_type": "linear", "factor": 2.0}}}


def others(key, value):
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, 2 * value] if value else [1]
    if isinstance(value, float):
        return [value * 3 + 0.1]
    if isinstance(value, str):
        return [x for x in ("relu", "gelu", "gelu_new", "silu", "quick_gelu", "gated-gelu", "gelu_pytorch_tanh") if x != value]
    if isinstance(value, list) and value and all(isinstance(x, int) for x in value):
        return [[value[0] + 1] + value[1:], value + value[-1:]]
    return [True, 1] if value is None else []


def read(path):
    return json.loads(path.read_text())


def wave(count):
    return torch.tensor([math.sin(1.7 * i + 0.3) * 0.9 + 0.3 * math.cos(5.1 * i) for i in range(count)]).float().double()


def logprobs(model, one):
    kind, config = model.config.model_type, model.config
    target, fed = one["target_ids"], torch.tensor([one["decoder_input_ids"]])
    if "input_ids" in one:
        inputs = dict(input_ids=torch.tensor([one["input_ids"]]))
    elif kind in ("vision-encoder-decoder", "blip"):
        size = (config.vision_config if kind == "blip" else config.encoder).image_size
        height, width = size if isinstance(size, (list, tuple)) else (size, size)
        inputs = dict(pixel_values=wave(one["feature_rows"] * 3).reshape(-1, 3).t().reshape(1, 3, height, width))
    elif kind == "moonshine":
        inputs = dict(input_values=wave(one["feature_rows"])[None])
    else:
        features = wave(one["feature_rows"] * one["width"]).reshape(1, one["feature_rows"], one["width"])
        inputs = dict(input_features=features.transpose(1, 2) if kind == "whisper" else features)
    with torch.no_grad():
        if kind == "blip":
            logits = model.text_decoder(fed, encoder_hidden_states=model.vision_model(**inputs).last_hidden_state).logits
        else:
            logits = model(**inputs, decoder_input_ids=fed).logits
    return logits.log_softmax(-1)[0, range(len(target)), target].tolist()


def compute(kind, directory, config, one):
    """None where transformers does not load the file as it is, or fails."""
    with tempfile.TemporaryDirectory() as folder:
        os.symlink((directory / "model.safetensors").resolve(), folder + "/model.safetensors")
        pathlib.Path(folder, "config.json").write_text(json.dumps(config))
        try:
            model, found = kind.from_pretrained(folder, output_loading_info=True)
            if found["missing_keys"] or found["mismatched_keys"] or found["unexpected_keys"]:
                return None
            return logprobs(model.eval().double(), one)
        except Exception as error:
            return None


def changes(name, config):
    for key, value in OLDER.get(name, {}).items():
        yield [key], value
    for part in [None] + [part for part in NESTED if isinstance(config.get(part), dict)]:
        for key, value in (config[part] if part else config).items():
            if key not in LEFT_OUT and key not in NESTED and (name, key) not in NO_MEANING and "dropout" not in key and "drop_path" not in key and "layerdrop" not in key:
                for other in others(key, value):
                    yield ([part] if part else []) + [key], other


rows = []
for name in DIRECTORIES:
    directory = ROOT / name
    config = read(directory / "config.json")
    kind = getattr(transformers, config["architectures"][0])
    one = read(directory / "expected.json")["cases"][-1] | dict(width=config.get("num_mel_bins", config.get("input_feat_per_channel")))
    full = copy.deepcopy(config)
    for path, value in changes(name, full):
        changed = copy.deepcopy(config)
        part = changed[path[0]] if len(path) > 1 else changed
        part[path[-1]] = value
        found = compute(kind, directory, changed, one)
        rows.append(dict(directory=name, path=path, value=value, logprobs=None if found is None else [float("%.7g" % x) for x in found]))
    print(name, sum(row["directory"] == name for row in rows), sum(row["directory"] == name and row["logprobs"] is not None for row in rows), flush=True)
pathlib.Path("tests/golden/config_keys.json").write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
