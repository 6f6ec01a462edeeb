"""Writes tests/golden/families/NAME/ for the families whose decoder is a BERT: tiny random models with unusual settings, and what
transformers computes with them: encoder states, log-probabilities of given targets, greedy output and a beam's whole n-best list, one
source at a time. Run from the repository root."""
import json
import math
import pathlib

import torch
from transformers import (BertConfig, BlipConfig, BlipForConditionalGeneration, EncoderDecoderConfig, EncoderDecoderModel, RobertaConfig,
                          VisionEncoderDecoderConfig, VisionEncoderDecoderModel, ViTConfig)

ROOT = pathlib.Path("tests/golden/families")
BERT = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, max_position_embeddings=30)
DECODES = dict(is_decoder=True, add_cross_attention=True)
IDS = dict(decoder_start_token_id=2, eos_token_id=3, pad_token_id=0)
LENGTH, BEAMS = 14, 3


def pair(encoder, decoder, **ids):
    return EncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder, **(IDS | ids))


MODELS = {
    "bert2bert": (EncoderDecoderModel, pair(
        BertConfig(vocab_size=41, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=20, layer_norm_eps=1e-3, **BERT),
        BertConfig(vocab_size=43, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, hidden_act="relu",
                   type_vocab_size=1, **BERT, **DECODES))),
    "bert2roberta": (EncoderDecoderModel, pair(
        BertConfig(vocab_size=41, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24, hidden_act="gelu_new", **BERT),
        RobertaConfig(vocab_size=37, hidden_size=16, num_hidden_layers=1, num_attention_heads=4, intermediate_size=36, hidden_act="relu",
                      pad_token_id=1, **BERT, **DECODES), pad_token_id=1)),
    "roberta2bert": (EncoderDecoderModel, pair(
        RobertaConfig(vocab_size=45, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=20, pad_token_id=4, **BERT),
        BertConfig(vocab_size=39, hidden_size=16, num_hidden_layers=1, num_attention_heads=1, intermediate_size=24, layer_norm_eps=1e-2,
                   tie_word_embeddings=False, **BERT, **DECODES), tie_word_embeddings=False)),
    "vit-bert": (VisionEncoderDecoderModel, VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        ViTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=20, image_size=8, patch_size=4,
                  hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0),
        BertConfig(vocab_size=43, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24, **BERT, **DECODES), **IDS)),
    "blip": (BlipForConditionalGeneration, BlipConfig(
        text_config=dict(vocab_size=43, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24, hidden_act="relu",
                         max_position_embeddings=30, layer_norm_eps=1e-3, bos_token_id=41, sep_token_id=7, eos_token_id=2, pad_token_id=0),
        vision_config=dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=20, image_size=12, patch_size=4,
                           hidden_act="gelu_new", layer_norm_eps=1e-4))),
}


def wave(count):
    """Rounded to float32: both sides start from the very same numbers."""
    return torch.tensor([math.sin(1.7 * i + 0.3) * 0.9 + 0.3 * math.cos(5.1 * i) for i in range(count)]).float()


def randomise(model):
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn_like(weight)
            if weight.dim() == 1:
                weight.copy_(noise * 0.3 + (1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0))
            else:
                weight.copy_(noise * 0.4)


def never_pad(model, decoder):
    """RoBERTa counts a padding token that it wrote itself as no position; published models never write one."""
    head = model.text_decoder.cls.predictions if decoder.model_type == "blip_text_model" else \
        model.decoder.lm_head if decoder.model_type == "roberta" else model.decoder.cls.predictions
    with torch.no_grad():
        head.bias[decoder.pad_token_id] = -20.0


def search(model, inputs, **settings):
    return model.generate(**inputs, max_length=LENGTH, do_sample=False, return_dict_in_generate=True, output_scores=True, **settings)


def trim(ids, end, start):
    ids = ids.tolist()[1:]
    return ids[:ids.index(end) + 1] if end in ids else ids


def compute(model, inputs, case, start, end):
    target = torch.tensor(case["target_ids"])
    fed = torch.tensor([case["decoder_input_ids"]])
    blip = isinstance(model, BlipForConditionalGeneration)
    with torch.no_grad():
        encoder = (model.vision_model if blip else model.get_encoder())(**inputs).last_hidden_state
        logits = (model.text_decoder(fed, encoder_hidden_states=encoder) if blip else model(**inputs, decoder_input_ids=fed)).logits
        if getattr(model, "enc_to_dec_proj", None) is not None:
            encoder = model.enc_to_dec_proj(encoder)
    greedy = search(model, inputs)
    beam = search(model, inputs, num_beams=BEAMS, num_return_sequences=BEAMS)
    scores = beam.sequences_scores.tolist()
    print("  gaps", [round(a - b, 4) for a, b in zip(scores, scores[1:])])
    return case | dict(logprobs=logits.log_softmax(-1)[0, range(len(target)), target].tolist(), encoder_mean=encoder.mean().item(),
                       encoder_l2=encoder.norm().item(), encoder_first8=encoder[0, 0, :8].tolist(), max_length=LENGTH,
                       greedy_ids=trim(greedy.sequences[0], end, start), beam_ids=[trim(ids, end, start) for ids in beam.sequences],
                       beam_scores=scores)


for number, (name, (kind, config)) in enumerate(MODELS.items()):
    torch.manual_seed(500 + number)
    model = kind(config).eval()
    randomise(model)
    decoder = config.text_config if kind is BlipForConditionalGeneration else config.decoder
    never_pad(model, decoder)
    model.tie_weights()
    directory = ROOT / name
    model.save_pretrained(directory)
    (directory / "generation_config.json").unlink(missing_ok=True)
    model = kind.from_pretrained(directory).eval().double()
    print(name, (directory / "model.safetensors").stat().st_size)
    start, end = (decoder.bos_token_id, decoder.sep_token_id) if kind is BlipForConditionalGeneration else (2, 3)
    if kind is EncoderDecoderModel:
        model.generation_config.decoder_start_token_id, model.generation_config.eos_token_id = start, end
    cases = []
    for case, length in enumerate([1, 6, 19]):
        target = torch.randint(8, decoder.vocab_size - 3, (3 + 5 * case,)).tolist()
        one = dict(decoder_input_ids=[start] + target[:-1], target_ids=target)
        if kind is EncoderDecoderModel:
            one["input_ids"] = torch.randint(8, config.encoder.vocab_size, (length,)).tolist()
            inputs = dict(input_ids=torch.tensor([one["input_ids"]]), attention_mask=torch.ones(1, length))
        elif case == 0:
            side = config.vision_config.image_size if kind is BlipForConditionalGeneration else config.encoder.image_size
            one["feature_rows"] = side * side
            inputs = dict(pixel_values=wave(side * side * 3).reshape(-1, 3).double().t().reshape(1, 3, side, side))
        else:
            continue
        cases.append(compute(model, inputs, one, start, end))
    (directory / "model.safetensors").chmod(0o644)
    (directory / "expected.json").write_text(json.dumps(dict(cases=cases)) + "\n")
