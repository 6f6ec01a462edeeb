"""Writes tests/golden/families/NAME/: tiny random models with unusual settings, and what transformers computes with them: encoder
states and the log-probabilities of given targets, sentence by sentence. Run from the repository root."""
import json
import pathlib

import torch
import transformers
from safetensors.torch import load_file, save_file

ROOT = pathlib.Path("tests/golden/families")
SHARED = dict(dropout=0.0, attention_dropout=0.0, activation_dropout=0.0, max_position_embeddings=24)


def sizes(layers, heads, widths):
    return dict(encoder_layers=layers[0], decoder_layers=layers[1], encoder_attention_heads=heads[0], decoder_attention_heads=heads[1],
                encoder_ffn_dim=widths[0], decoder_ffn_dim=widths[1])


MODELS = {
    "marian-untied": ("Marian", dict(
        vocab_size=47, decoder_vocab_size=53, share_encoder_decoder_embeddings=False, tie_word_embeddings=False, scale_embedding=False,
        activation_function="relu", d_model=16, pad_token_id=46, eos_token_id=0, decoder_start_token_id=46, **sizes((1, 3), (2, 4), (24, 40)))),
    "marian-separate": ("Marian", dict(
        vocab_size=47, decoder_vocab_size=53, share_encoder_decoder_embeddings=False, tie_word_embeddings=True, scale_embedding=True,
        activation_function="gelu", d_model=16, pad_token_id=46, eos_token_id=0, decoder_start_token_id=46, **sizes((2, 1), (1, 8), (17, 23)))),
    "marian-shared": ("Marian", dict(
        vocab_size=51, scale_embedding=True, activation_function="swish", d_model=32, pad_token_id=50, eos_token_id=0,
        decoder_start_token_id=50, **sizes((1, 1), (8, 2), (16, 64)))),
    "bart": ("Bart", dict(
        vocab_size=59, scale_embedding=True, activation_function="swish", d_model=16, **sizes((3, 1), (4, 2), (40, 24)))),
    "bart-untied": ("Bart", dict(
        vocab_size=59, scale_embedding=False, activation_function="gelu_new", tie_word_embeddings=False, d_model=16,
        **sizes((1, 2), (16, 1), (32, 32)))),
    "mbart": ("MBart", dict(
        vocab_size=61, scale_embedding=False, activation_function="relu", d_model=16, decoder_start_token_id=60,
        **sizes((1, 2), (2, 8), (33, 20)))),
    "pegasus": ("Pegasus", dict(
        vocab_size=57, scale_embedding=False, activation_function="swish", d_model=16, **sizes((2, 2), (4, 1), (24, 48)))),
    "m2m_100": ("M2M100", dict(
        vocab_size=63, scale_embedding=False, activation_function="gelu", d_model=16, **sizes((2, 1), (2, 4), (20, 32)))),
    "m2m_100-padding": ("M2M100", dict(
        vocab_size=63, scale_embedding=True, activation_function="tanh", d_model=16, pad_token_id=4, **sizes((1, 1), (2, 2), (16, 16)))),
}
T5 = dict(num_heads=3, d_kv=16, dropout_rate=0.0, decoder_start_token_id=0)
MODELS |= {
    "t5": ("T5", dict(T5, vocab_size=49, d_model=16, d_ff=24, num_layers=1, num_decoder_layers=2, layer_norm_epsilon=1e-3,
                      relative_attention_num_buckets=8, relative_attention_max_distance=14)),
    "t5-gated": ("T5", dict(T5, vocab_size=49, d_model=32, d_ff=20, num_layers=2, num_decoder_layers=1, feed_forward_proj="gated-gelu",
                            tie_word_embeddings=False)),
    "t5-silu": ("T5", dict(T5, vocab_size=49, d_model=16, d_ff=24, num_layers=1, feed_forward_proj="gated-silu", tie_word_embeddings=False)),
    "mt5": ("MT5", dict(T5, vocab_size=51, d_model=16, d_ff=24, num_layers=1, relative_attention_num_buckets=10,
                        relative_attention_max_distance=20)),
}
OWN_HEAD = {"t5-gated", "mt5"}  # the two that publishers store with an output table of its own, whatever the configuration says
LENGTHS = [(1, 1), (2, 7), (9, 3), (23, 20)]


def randomise(model):
    """Weights large enough for every part to matter; norms and biases away from one and zero."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if not weight.requires_grad:
                continue
            noise = torch.randn_like(weight)
            if weight.dim() == 1:
                weight.copy_(noise * 0.3 + (1.0 if "norm" in name and name.endswith("weight") else 0.0))
            else:
                weight.copy_(noise * (0.4 if "embed" in name or "shared" in name or "lm_head" in name else 0.3))
        if hasattr(model, "final_logits_bias"):
            model.final_logits_bias.copy_(torch.randn_like(model.final_logits_bias) * 0.5)


def compute(model, source, fed, target):
    with torch.no_grad():
        encoder = model.get_encoder()(input_ids=torch.tensor([source]), attention_mask=torch.ones(1, len(source))).last_hidden_state
        logits = model(input_ids=torch.tensor([source]), attention_mask=torch.ones(1, len(source)), decoder_input_ids=torch.tensor([fed])).logits
    logprobs = logits.double().log_softmax(-1)[0, range(len(target)), target]
    return dict(input_ids=source, decoder_input_ids=fed, target_ids=target, logprobs=logprobs.tolist(),
                encoder_mean=encoder.mean().item(), encoder_l2=encoder.norm().item(), encoder_first8=encoder[0, 0, :8].tolist())


for number, (name, (family, settings)) in enumerate(MODELS.items()):
    torch.manual_seed(100 + number)
    own = {} if family.endswith("T5") else SHARED
    config = getattr(transformers, family + "Config")(**own, **settings)
    model = getattr(transformers, family + ("MTModel" if family == "Marian" else "ForConditionalGeneration"))(config).eval()
    randomise(model)
    model.tie_weights()
    directory = ROOT / name
    model.save_pretrained(directory)
    (directory / "generation_config.json").unlink(missing_ok=True)
    if name in OWN_HEAD:
        weights = load_file(directory / "model.safetensors")
        weights["lm_head.weight"] = torch.randn_like(weights["shared.weight"]) * 0.4
        save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    model = type(model).from_pretrained(directory).eval().double()
    words, source_words = (getattr(config, "decoder_vocab_size", None) or config.vocab_size), config.vocab_size
    cases = []
    for source_length, target_length in LENGTHS:
        draw = lambda length, high: [i for i in torch.randint(5, high - 2, (length,)).tolist()]
        source, target = draw(source_length, source_words), draw(target_length, words)
        cases.append(compute(model, source, [config.decoder_start_token_id or 2] + target[:-1], target))
    (directory / "expected.json").write_text(json.dumps(dict(cases=cases)) + "\n")
    print(name, (directory / "model.safetensors").stat().st_size)
