"""Writes tests/golden/cnn/NAME/: tiny random picture encoders with unusual settings, what transformers (for tandem-cnn: plain PyTorch)
computes with them for two pictures, and gradients. Run from the repository root."""
import json
import math
import pathlib

import safetensors.torch
import torch
import torch.nn.functional as F
import transformers

ROOT = pathlib.Path("tests/golden/cnn")
MODELS = {
    "mobilenet-same": ("MobileNetV2", dict(
        depth_multiplier=0.06, depth_divisible_by=4, min_depth=4, expand_ratio=2.5, finegrained_output=False, layer_norm_eps=0.01), (70, 45)),
    "mobilenet-even": ("MobileNetV2", dict(
        depth_multiplier=0.04, depth_divisible_by=2, min_depth=3, expand_ratio=3, finegrained_output=False, tf_padding=False,
        first_layer_is_expansion=False, hidden_act="relu"), (64, 67)),
    "resnet-basic": ("ResNet", dict(
        layer_type="basic", embedding_size=6, hidden_sizes=[6, 10, 12], depths=[2, 1, 1]), (33, 48)),
    "resnet-bottleneck": ("ResNet", dict(
        layer_type="bottleneck", embedding_size=5, hidden_sizes=[12, 24], depths=[1, 2], downsample_in_first_stage=True), (47, 32)),
    "resnet-early": ("ResNet", dict(
        layer_type="bottleneck", embedding_size=5, hidden_sizes=[8, 24], depths=[2, 1], downsample_in_bottleneck=True, hidden_act="gelu"),
        (32, 41)),
}
TANDEM = dict(model_type="tandem-cnn", channels=[5, 7, 6], strides=[2, 1, 2], kernel_size=5)


def wave(count):
    return torch.tensor([math.sin(1.7 * i + 0.3) * 0.9 + 0.3 * math.cos(5.1 * i) for i in range(count)])


def pictures(height, width):
    """Both sides make the same numbers; rows are pixels."""
    return wave(2 * height * width * 3).view(2, height, width, 3).permute(0, 3, 1, 2).contiguous().requires_grad_()


def randomise(tensors):
    """Numbers that bfloat16 holds, in which they are saved: half the size."""
    for name, tensor in tensors:
        noise = torch.randn(tensor.shape)
        if name.endswith("running_var"):
            tensor.copy_(0.5 + noise.abs())
        elif name.endswith("normalization.weight"):
            tensor.copy_(1 + 0.2 * noise)
        elif tensor.dim() == 4:
            tensor.copy_(noise * (1.6 / tensor[0].numel()) ** 0.5)
        elif tensor.is_floating_point():
            tensor.copy_(0.3 * noise)
        if tensor.is_floating_point():
            tensor.copy_(tensor.bfloat16().float())


def rows(tensor):
    return [float(f"{x:.8g}") for x in tensor.permute(0, 2, 3, 1).flatten().tolist()]


def sums(tensor):
    x = tensor.double().flatten()
    return [x.sum().item(), (x * torch.sin(torch.arange(len(x), dtype=torch.float64))).sum().item()]


def expectation(pixels, hidden, parameters):
    (hidden * wave(hidden.numel()).view(hidden.permute(0, 2, 3, 1).shape).permute(0, 3, 1, 2)).sum().backward()
    return {"pictures": [2, pixels.shape[2], pixels.shape[3]], "map": [2, hidden.shape[2], hidden.shape[3]], "hidden": rows(hidden),
            "pooled": hidden.mean((2, 3)).flatten().tolist(), "pixels_gradient": sums(pixels.grad.permute(0, 2, 3, 1)),
            "gradients": {name: sums(p.grad) for name, p in parameters}}


def write(name, config, state, expected):
    folder = ROOT / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    (folder / "expected.json").write_text(json.dumps(expected) + "\n")
    state = {name: w.bfloat16() for name, w in state.items() if w.is_floating_point()}
    safetensors.torch.save_file(state, str(folder / "model.safetensors"), metadata={"format": "pt"})


def checkpoint(kind, settings, size):
    config = getattr(transformers, kind + "Config")(**settings)
    model = getattr(transformers, kind + "Model")(config).eval()
    with torch.no_grad():
        randomise(model.state_dict().items())
    pixels = pictures(*size)
    output = model(pixels)
    assert torch.allclose(output.pooler_output.flatten(), output.last_hidden_state.mean((2, 3)).flatten(), atol=1e-5)
    keys = {"model_type", "num_channels", "hidden_act", *settings}
    return {k: v for k, v in config.to_dict().items() if k in keys}, model.state_dict(), expectation(
        pixels, output.last_hidden_state, model.named_parameters())


def tandem():
    weights, inputs = {}, 3
    for i, outputs in enumerate(TANDEM["channels"]):
        norm = f"stages.{i}.normalization."
        weights[f"stages.{i}.convolution.weight"] = torch.empty(outputs, inputs, 5, 5)
        weights.update({norm + part: torch.empty(outputs) for part in ("weight", "bias", "running_mean", "running_var")})
        inputs = outputs
    randomise(weights.items())
    initial = {name: w.clone() for name, w in weights.items()}
    trained = [(n, w.requires_grad_()) for n, w in weights.items() if "running" not in n]

    def forward(x, training):
        for i, stride in enumerate(TANDEM["strides"]):
            norm = f"stages.{i}.normalization."
            x = F.conv2d(x, weights[f"stages.{i}.convolution.weight"], stride=stride, padding=2)
            x = F.relu(F.batch_norm(x, weights[norm + "running_mean"], weights[norm + "running_var"], weights[norm + "weight"],
                                    weights[norm + "bias"], training, 0.1, 1e-5))
        return x

    size = (21, 18)
    evaluated = forward(pictures(*size), False)
    pixels = pictures(*size)
    expected = expectation(pixels, forward(pixels, True), trained)
    expected["evaluated"] = rows(evaluated)
    expected["statistics"] = {n: w.tolist() for n, w in weights.items() if "running" in n}
    return TANDEM, initial, expected


if __name__ == "__main__":
    torch.manual_seed(5)
    torch.set_num_threads(1)
    for name, (kind, settings, size) in MODELS.items():
        write(name, *checkpoint(kind, settings, size))
    write("tandem", *tandem())
