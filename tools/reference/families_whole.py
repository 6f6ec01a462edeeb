"""Writes tests/golden/whole/NAME/: complete directories as they are published (weights, tokenizer, front end, generation settings) of tiny
random models, and what transformers makes of texts, pictures and recordings with them, from the file to the text. Pictures and sound are
those of tests/golden/pictures and tests/golden/audio. Run from the repository root; names on the command line make these alone."""
import io
import json
import pathlib
import shutil
import sys

import numpy
import sentencepiece
import soundfile
import torch
import transformers
from PIL import Image, ImageOps
from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.donut.image_processing_pil_donut import DonutImageProcessorPil

ROOT = pathlib.Path("tests/golden/whole")
NONE = dict(dropout=0.0, attention_dropout=0.0, activation_dropout=0.0)
SENTENCES = """The baker opens the shop before sunrise.
Two boats drift slowly past the old mill.
Nobody told the gardener about the frost.
A letter arrived with no name on it.
She counts the steps up to the tower.
The dog waits at the gate every evening.
Snow covers the roofs of the little town.
Grandfather repairs clocks in the back room.
Der Bäcker öffnet den Laden vor Sonnenaufgang.
Zwei Boote treiben langsam an der Mühle vorbei.
Niemand hat dem Gärtner vom Frost erzählt.
Ein Brief ohne Namen ist angekommen.
Sie zählt die Stufen bis zum Turm hinauf.
Der Hund wartet jeden Abend am Tor.
Schnee bedeckt die Dächer der kleinen Stadt.
Großvater repariert Uhren im hinteren Zimmer.""".split("\n")
TEXTS = ["The dog waits at the old mill.", "Two letters, no name.", "Snow", "The gardener counts boats in the back room before sunrise, every evening."]
PICTURES = ["rgb.png", "exif-6.jpg"]
SOUNDS = ["mono16.wav", "wide.flac"]
LENGTH, BEAMS = 16, 3


def train_spm(path, size=120, **ids):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(SENTENCES), model_writer=model, vocab_size=size, model_type="unigram",
                                             normalization_rule_name="identity", num_threads=1, minloglevel=2, character_coverage=1.0, **ids)
    path.write_bytes(model.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def write(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def randomise(model, spread=0.5):
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn_like(weight)
            if weight.dim() == 1:
                weight.copy_(noise * 0.3 + (1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0))
            else:
                weight.copy_(noise * spread)
    model.tie_weights()
    return model


def save(model, directory, **generation):
    model.save_pretrained(directory)
    write(directory / "generation_config.json", dict(max_length=LENGTH, num_beams=BEAMS, **generation))
    (directory / "model.safetensors").chmod(0o644)
    return type(model).from_pretrained(directory).eval()


def search(model, tokenizer, case, inputs, drop=1, **settings):
    """Beam search as the directory's generation_config.json has it, its whole list; and greedy."""
    with torch.no_grad():
        beam = model.generate(**inputs, num_beams=BEAMS, max_length=LENGTH, num_return_sequences=BEAMS, return_dict_in_generate=True, output_scores=True, **settings)
        greedy = model.generate(**inputs, num_beams=1, max_length=LENGTH, **settings)
    text = lambda ids: tokenizer.decode(ids, skip_special_tokens=True)
    scores = beam.sequences_scores.tolist()
    print("  ", case, [text(ids) for ids in beam.sequences], [round(a - b, 4) for a, b in zip(scores, scores[1:])])
    return dict(case, texts=[text(ids) for ids in beam.sequences], scores=scores, greedy=text(greedy[0]))


def m2m100(directory):
    model = train_spm(directory / "sentencepiece.bpe.model")
    vocabulary = {token: i for i, token in enumerate(["<s>", "<pad>", "</s>", "<unk>"])}
    for i in range(3, len(model)):
        vocabulary.setdefault(model.id_to_piece(i), len(vocabulary))
    write(directory / "vocab.json", vocabulary)
    codes = transformers.models.m2m_100.tokenization_m2m_100.FAIRSEQ_LANGUAGE_CODES["m2m100"]
    write(directory / "tokenizer_config.json", dict(tokenizer_class="M2M100Tokenizer", language_codes="m2m100", num_madeup_words=8,
                                                    additional_special_tokens=["__%s__" % code for code in codes]))
    tokenizer = transformers.M2M100Tokenizer.from_pretrained(directory, src_lang="en", tgt_lang="de")
    config = transformers.M2M100Config(vocab_size=len(vocabulary) + 100 + 8, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
                                       decoder_attention_heads=2, encoder_ffn_dim=24, decoder_ffn_dim=24, max_position_embeddings=64,
                                       encoder_layerdrop=0, decoder_layerdrop=0, **NONE)
    network = save(randomise(transformers.M2M100ForConditionalGeneration(config)), directory, early_stopping=True, bos_token_id=0, pad_token_id=1,
                   eos_token_id=2, decoder_start_token_id=2, suppress_tokens=list(range(len(vocabulary) + 100, len(vocabulary) + 108)),
                   bad_words_ids=[[len(vocabulary) + i] for i in range(100) if codes[i] not in ("de", "fr", "zu")])
    return [search(network, tokenizer, dict(text=text, source="en", target=target), tokenizer(text, return_tensors="pt"),
                   forced_bos_token_id=tokenizer.get_lang_id(target)) for text, target in zip(TEXTS, ["de", "fr", "zu", "de"])]


def mbart50(directory):
    model = train_spm(directory / "sentencepiece.bpe.model")
    write(directory / "tokenizer_config.json", dict(tokenizer_class="MBart50Tokenizer", src_lang=None, tgt_lang=None))
    pieces = [(model.id_to_piece(i), model.get_score(i)) for i in range(len(model))]
    tokenizer = transformers.MBart50Tokenizer(vocab=pieces, src_lang="en_XX", tgt_lang="de_DE")
    assert tokenizer("The dog")["input_ids"][1:-1] == [i + 1 for i in model.encode("The dog")]
    config = transformers.MBartConfig(vocab_size=len(tokenizer), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
                                      decoder_attention_heads=2, encoder_ffn_dim=24, decoder_ffn_dim=24, max_position_embeddings=64,
                                      scale_embedding=True, decoder_start_token_id=2, activation_function="relu", **NONE)
    network = save(randomise(transformers.MBartForConditionalGeneration(config)), directory, early_stopping=True, bos_token_id=0, pad_token_id=1,
                   eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=2, no_repeat_ngram_size=2)
    return [search(network, tokenizer, dict(text=text, source="en_XX", target=target), tokenizer(text, return_tensors="pt"),
                   forced_bos_token_id=tokenizer.convert_tokens_to_ids(target)) for text, target in zip(TEXTS, ["de_DE", "fr_XX", "sl_SI", "de_DE"])]


def picture(name):
    return ImageOps.exif_transpose(Image.open("tests/golden/pictures/" + name)).convert("RGB")


def blip(directory):
    words = sorted({word for sentence in SENTENCES for word in sentence.lower().strip(".").replace("ä", "a").replace("ö", "o").replace("ü", "u").split()})
    vocabulary = {token: i for i, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "##s"] + words + ["[DEC]", "[ENC]"])}
    (directory / "vocab.txt").write_text("".join(token + "\n" for token in vocabulary))
    special = ["[DEC]", "[ENC]"]
    write(directory / "tokenizer_config.json", dict(tokenizer_class="BertTokenizer", do_lower_case=True, additional_special_tokens=special))
    tokenizer = transformers.BertTokenizer(vocab=vocabulary, additional_special_tokens=special)
    processor = BlipImageProcessorPil(size=dict(height=24, width=24))
    write(directory / "preprocessor_config.json", dict(image_processor_type="BlipImageProcessor", size=dict(height=24, width=24), do_resize=True,
                                                       do_normalize=True, image_mean=list(processor.image_mean), image_std=list(processor.image_std)))
    config = transformers.BlipConfig(
        text_config=dict(vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24,
                         max_position_embeddings=30, bos_token_id=vocabulary["[DEC]"], sep_token_id=3, eos_token_id=2, pad_token_id=0),
        vision_config=dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=20, image_size=24, patch_size=8))
    network = save(randomise(transformers.BlipForConditionalGeneration(config)), directory)
    return [search(network, tokenizer, dict(file="pictures/" + name), dict(processor(picture(name), return_tensors="pt"))) for name in PICTURES]


def donut(directory):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(" ", "▁"), normalizers.Prepend("▁")])
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(SENTENCES, trainers.UnigramTrainer(vocab_size=120, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<s_page>"],
                                                                     unk_token="<unk>", show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    (directory / "tokenizer.json").write_text(tokenizer.to_str() + "\n")
    names = dict(bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    write(directory / "tokenizer_config.json", dict(tokenizer_class="XLMRobertaTokenizer", clean_up_tokenization_spaces=False, **names))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **names)
    settings = dict(size=dict(height=48, width=32), do_align_long_axis=True)
    processor = DonutImageProcessorPil(**settings)
    write(directory / "preprocessor_config.json", dict(image_processor_type="DonutImageProcessor", **settings))
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        transformers.DonutSwinConfig(image_size=[48, 32], patch_size=4, embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4, drop_path_rate=0.0),
        transformers.MBartConfig(vocab_size=tokenizer.vocab_size, d_model=32, decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=24,
                                 max_position_embeddings=32, scale_embedding=True, is_decoder=True, add_cross_attention=True, **NONE),
        decoder_start_token_id=4, pad_token_id=1, eos_token_id=2)
    network = save(randomise(transformers.VisionEncoderDecoderModel(config)), directory, decoder_start_token_id=4, pad_token_id=1, eos_token_id=2,
                   bad_words_ids=[[3]])
    return [search(network, tokenizer, dict(file="pictures/" + name), dict(processor(picture(name), return_tensors="pt"))) for name in PICTURES]


def moonshine(directory):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    bytes_ = ["<0x%02X>" % i for i in range(256)]
    tokenizer.train_from_iterator(SENTENCES, trainers.BpeTrainer(vocab_size=420, special_tokens=["<unk>", "<s>", "</s>"] + bytes_, show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] not in bytes_]
    (directory / "tokenizer.json").write_text(json.dumps(state, ensure_ascii=False) + "\n")
    names = dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="</s>")
    write(directory / "tokenizer_config.json", dict(tokenizer_class="PreTrainedTokenizerFast", clean_up_tokenization_spaces=False, **names))
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(directory)
    settings = dict(do_normalize=False, feature_size=1, padding_side="right", padding_value=0.0, return_attention_mask=True, sampling_rate=16000)
    write(directory / "preprocessor_config.json", dict(feature_extractor_type="Wav2Vec2FeatureExtractor", **settings))
    extractor = transformers.Wav2Vec2FeatureExtractor(**settings)
    config = transformers.MoonshineConfig(vocab_size=tokenizer.vocab_size, hidden_size=32, intermediate_size=24, encoder_num_hidden_layers=1,
                                          decoder_num_hidden_layers=1, encoder_num_attention_heads=2, decoder_num_attention_heads=2)
    network = save(randomise(transformers.MoonshineForConditionalGeneration(config)), directory, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
                   pad_token_id=2)
    cases = []
    for name in SOUNDS[:1]:
        samples, rate = soundfile.read("tests/golden/audio/" + name, dtype="float32")
        assert rate == 16000 and samples.ndim == 1
        inputs = extractor(samples, sampling_rate=rate, return_tensors="pt")
        cases.append(search(network, tokenizer, dict(file="audio/" + name), dict(input_values=inputs["input_values"])))
    return cases


def command(name, case):
    """A line of commands.tsv: the command's words, its input, what it prints with --beam 1."""
    words = {"m2m100": "translate --from %(source)s --to %(target)s", "mbart50": "translate --from %(source)s --to %(target)s", "moonshine": "generate"}
    return "\t".join([words.get(name, "caption") % case, case.get("file", case.get("text")), case["greedy"]]) + "\n"


MAKERS = dict(m2m100=m2m100, mbart50=mbart50, blip=blip, donut=donut, moonshine=moonshine)
for number, (name, make) in enumerate(MAKERS.items()):
    if sys.argv[1:] and name not in sys.argv[1:]:
        continue
    torch.manual_seed(700 + number)
    directory = ROOT / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    print(name)
    cases = make(directory)
    write(directory / "expected.json", dict(beams=BEAMS, cases=cases))
    (directory / "commands.tsv").write_text("".join(command(name, case) for case in cases))
