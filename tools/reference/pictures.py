"""Writes tests/golden/pictures/: small pictures in every format that is read, the values that Pillow decodes and resizes them to
(values.bin, offsets in golden.json), and what transformers' image processors make of them. Run from the repository root."""
import io
import json
import pathlib
import struct
import zlib

import numpy as np
import PIL
import transformers
from PIL import Image, ImageOps, features
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil
from transformers.models.deit.image_processing_pil_deit import DeiTImageProcessorPil
from transformers.models.donut.image_processing_pil_donut import DonutImageProcessorPil
from transformers.models.mobilenet_v2.image_processing_pil_mobilenet_v2 import MobileNetV2ImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

HERE = pathlib.Path("tests/golden/pictures")
HEIGHT, WIDTH = 23, 37
rng = np.random.default_rng(4)


def scene(height=HEIGHT, width=WIDTH):
    """Gradients, a disc, stripes and a little noise."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    red = 255 * x / (width - 1)
    green = 255 * y / (height - 1)
    blue = np.where((x - width * 0.6) ** 2 + (y - height * 0.4) ** 2 < (height * 0.3) ** 2, 230, 40 + 60 * ((x // 3) % 2))
    rgb = np.stack([red, green, blue], -1) + rng.normal(0, 6, (height, width, 3))
    return rgb.clip(0, 255).astype(np.uint8)


def png(samples, depth, colour, interlaced=False, chunks=()):
    """Every kind of PNG, also those that Pillow does not write. samples [h, w, channels]."""
    height, width, channels = samples.shape

    def rows(block):
        lines = b""
        for row in block:
            flat = row.reshape(-1)
            if depth == 16:
                packed = flat.astype(">u2").tobytes()
            else:
                bits = "".join(format(int(v), f"0{depth}b") for v in flat)
                bits += "0" * (-len(bits) % 8)
                packed = bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))
            lines += b"\0" + packed
        return lines

    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
        data = b"".join(rows(samples[y::dy, x::dx]) for y, x, dy, dx in passes if samples[y::dy, x::dx].size)
    else:
        data = rows(samples)
    chunk = lambda tag, body: struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunk(*c) for c in chunks)
            + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b""))


def saved(image, form, **options):
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def oriented(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def make_pictures():
    rgb = scene()
    image = Image.fromarray(rgb)
    grey = image.convert("L")
    alpha = np.linspace(0, 255, WIDTH).astype(np.uint8)[None].repeat(HEIGHT, 0)
    rgba = np.dstack([rgb, alpha])
    palette = image.quantize(16)
    colours = bytes(palette.getpalette()[:48])
    indices = np.array(palette)[..., None]
    wide = rgb.astype(np.uint16) * 257 - 100 * (rgb > 4)
    files = {
        "baseline.jpg": saved(image, "JPEG", quality=85),
        "full-colour.jpg": saved(image, "JPEG", quality=95, subsampling=0),
        "halved-colour.jpg": saved(image, "JPEG", quality=60, subsampling=1),
        "progressive.jpg": saved(image, "JPEG", quality=80, progressive=True),
        "restarts.jpg": saved(image, "JPEG", quality=70, restart_marker_blocks=2),
        "grey.jpg": saved(grey, "JPEG", quality=80),
        "rgb.jpg": saved(image, "JPEG", quality=80, keep_rgb=True),
        "cmyk.jpg": saved(image.convert("CMYK"), "JPEG", quality=85),
        "progressive.jpg.png": saved(image, "JPEG", quality=50, progressive=True),  # the extension lies
        "palette.png": png(indices, 4, 3, chunks=[(b"PLTE", colours)]),
        "palette-alpha.png": png(indices, 8, 3, chunks=[(b"PLTE", colours), (b"tRNS", bytes(range(0, 160, 10)))]),
        "palette-2.png": png(indices % 4, 2, 3, chunks=[(b"PLTE", colours[:12])]),
        "grey-1.png": png(np.array(grey)[..., None] >> 7, 1, 0),
        "grey-2.png": png(np.array(grey)[..., None] >> 6, 2, 0),
        "grey-4-interlaced.png": png(np.array(grey)[..., None] >> 4, 4, 0, True),
        "grey-8-key.png": png(np.array(grey)[..., None], 8, 0, chunks=[(b"tRNS", struct.pack(">H", 40))]),
        "grey-16.png": png(np.array(grey, dtype=np.uint16)[..., None] * 3, 16, 0),
        "grey-16-interlaced.png": png(np.array(grey, dtype=np.uint16)[..., None] * 2, 16, 0, True),
        "grey-alpha.png": png(np.dstack([np.array(grey), alpha]), 8, 4),
        "grey-alpha-16.png": png(np.dstack([wide[..., 0], wide[..., 1]]), 16, 4),
        "rgb.png": saved(image, "PNG", optimize=True),
        "rgb-gamma.png": png(rgb, 8, 2, chunks=[(b"gAMA", struct.pack(">I", 100000))]),
        "rgb-16.png": png(wide[:9, :13], 16, 2),
        "rgba.png": png(rgba, 8, 6),
        "rgba-16-interlaced.png": png(np.dstack([wide, wide[..., 0]])[:11, :13], 16, 6, True),
        "one-pixel.png": png(rgb[:1, :1], 8, 2),
        "turned.png": saved(image.crop((0, 0, 11, 7)), "PNG", exif=oriented(6)),
        "lossy.webp": saved(image, "WEBP", quality=70),
        "lossless.webp": saved(image, "WEBP", lossless=True),
        "lossy-alpha.webp": saved(Image.fromarray(rgba), "WEBP", quality=70),
        "lossless-alpha.webp": saved(Image.fromarray(rgba), "WEBP", lossless=True, exact=True),
        "turned.webp": saved(image, "WEBP", quality=50, exif=oriented(8)),
    }
    cmyk = files["cmyk.jpg"]
    adobe = cmyk.index(b"Adobe")
    files["ycck.jpg"] = cmyk[:adobe + 11] + b"\x02" + cmyk[adobe + 12:]
    files["cmyk-unmarked.jpg"] = cmyk[:adobe - 4] + cmyk[adobe + 12:]
    for value in range(1, 9):
        files[f"exif-{value}.jpg"] = saved(image.crop((0, 0, 21, 13)), "JPEG", quality=80, exif=oriented(value))
    assert oriented(6).tobytes() in files["exif-6.jpg"]
    files["exif-motorola.jpg"] = files["exif-6.jpg"].replace(
        oriented(6).tobytes(), b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 7, 0, 0))
    return files


def upright(data):
    return ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")


values = bytearray()


def keep(image):
    offset = len(values)
    values.extend(np.asarray(image).tobytes())
    return {"height": image.height, "width": image.width, "offset": offset}


HERE.mkdir(parents=True, exist_ok=True)
files = make_pictures()
decoded = []
for name, data in files.items():
    (HERE / name).write_bytes(data)
    decoded.append({"file": name, **keep(upright(data))})

FILTERS = ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]
source = upright(files["rgb.png"])
resized = [{"file": "rgb.png", "resample": number, **keep(source.resize((width, height), number))}
           for number in range(len(FILTERS))
           for height, width in [(13, 17), (8, 37), (23, 9), (40, 61), (50, 12), (1, 1), (23, 37)]]

PROCESSORS = [
    (ViTImageProcessorPil, {"size": 32}),
    (ViTImageProcessorPil, {"size": {"height": 24, "width": 40}, "resample": 3, "do_center_crop": True, "crop_size": 20}),
    (ViTImageProcessorPil, {}),
    (ViTImageProcessorPil, {"size": [16, 21], "resample": 0, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}),
    (ViTImageProcessorPil, {"do_resize": False, "do_rescale": False}),
    (ViTImageProcessorPil, {"size": {"shortest_edge": 30, "longest_edge": 37}}),
    (ViTImageProcessorPil, {"size": {"max_height": 31, "max_width": 33}, "do_normalize": False}),
    (DeiTImageProcessorPil, {"size": 40, "crop_size": 33}),
    (MobileNetV2ImageProcessorPil, {"size": {"shortest_edge": 31}, "crop_size": {"height": 24, "width": 26}}),
    (MobileNetV2ImageProcessorPil, {"size": 20, "crop_size": 26, "rescale_factor": 0.01}),
    (MobileNetV2ImageProcessorPil, {"do_resize": False, "crop_size": {"height": 36, "width": 24}}),
    (MobileNetV2ImageProcessorPil, {}),
    (ConvNextImageProcessorPil, {"size": {"shortest_edge": 28}}),
    (ConvNextImageProcessorPil, {"size": 24, "crop_pct": 1.0}),
    (ConvNextImageProcessorPil, {}),
    (BlipImageProcessorPil, {"size": {"height": 33, "width": 33}}),
    (CLIPImageProcessorPil, {"size": 27, "crop_size": 27}),
    (CLIPImageProcessorPil, {"size": {"shortest_edge": 26}, "crop_size": {"height": 26, "width": 30}, "resample": 1}),
    (DonutImageProcessorPil, {"size": {"height": 48, "width": 30}, "do_align_long_axis": True}),
    (DonutImageProcessorPil, {"size": [40, 26]}),
    (DonutImageProcessorPil, {"size": {"height": 25, "width": 25}, "resample": 0, "do_normalize": False}),
    (DonutImageProcessorPil, {"size": {"height": 26, "width": 45}, "do_align_long_axis": True, "do_pad": False}),
    (DonutImageProcessorPil, {"size": {"height": 51, "width": 52}, "do_resize": False}),
    (DonutImageProcessorPil, {"size": {"height": 31, "width": 20}, "do_thumbnail": False, "do_pad": False, "do_center_crop": True, "crop_size": 24}),
]
SAMPLES = 48
processed = []
for kind, settings in PROCESSORS:
    name = kind.__name__.removesuffix("Pil")
    for file in ("rgb.png", "exif-6.jpg"):
        pixels = kind(**settings)(upright(files[file]), return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)
        flat = pixels.astype(np.float64).reshape(-1)
        processed.append({"file": file, "config": {"image_processor_type": name, **settings}, "rows": pixels.shape[0] * pixels.shape[1],
                          "mean": float("%.8g" % flat.mean()), "l2": float("%.8g" % np.sqrt((flat ** 2).sum())), 
                          "values": [float("%.8g" % flat[(i * 7919 + 13) % flat.size]) for i in range(SAMPLES)]})

(HERE / "values.bin").write_bytes(values)
versions = {"pillow": PIL.__version__, "transformers": transformers.__version__, "libjpeg_turbo": features.version("libjpeg_turbo"),
            "webp": features.version("webp")}
lines = lambda rows: "[\n  " + ",\n  ".join(json.dumps(row) for row in rows) + "\n ]"
(HERE / "golden.json").write_text("{\n \"versions\": %s,\n \"decoded\": %s,\n \"resized\": %s,\n \"processed\": %s\n}\n" % (
    json.dumps(versions), lines(decoded), lines(resized), lines(processed)))
