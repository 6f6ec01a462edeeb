"""Writes tests/golden/tokenizers-json/NAME/: small tokenizers that cover the parts of tokenizer.json, trained on the sentences below, and
what the tokenizers library and transformers make of awkward strings with them. Run from the repository root."""
import json
import pathlib
import shutil

import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

ROOT = pathlib.Path("tests/golden/tokenizers-json")
WORDS = "the a small red old boat train house river baker sings walks waits reads under over near bridge don't isn't café Straße naïve 12 305".split()
SENTENCES = [" ".join(WORDS[(i * k + k * k // 3) % len(WORDS)] for k in range(3, 11)) + (". ", "! ", "? ", ", ")[i % 4] for i in range(400)]
TEXTS = [
    "", " ", "the old boat waits.", "  two  spaces\tand a tab\nnew line  ", "The Baker's café isn't near the Straße 12, is it?", "CAFÉ NAÏVE İstanbul ǅ ΣΑΣ",
    "cafe\u0301 nai\u0308ve ﬁne ½ ２ ① ㎏ …", "😀👨‍👩‍👧 🇩🇪 smile", "漢字とかな 한국어 العربية हिन्दी", "a\u00a0b\u2003c\u200bd\u3000e\u2028f", "x<s>y </s> <mask> z",
    "  <mask>  the", "<mask>s and foo bar foobar foo", "don't do not we 've it 's , . ! ?", "\u0000\u0001\u007f\u00ad\ufeff\ufffd�", "12345 3.14 x2y 10th ٣٤",
    "under_score snake_case a-b/c (d) [e] {f} `g` ~h", "▁the ▁▁old", "a" * 130, "\u0378\ue000 private", "ÅÅ Ω Ω e\u0323\u0301", "the" + "\u0301" * 4 + " old", "\r\n\r\n",
    "ΑΒΓ ΔΕΖ", "Ǆ ß ẞ ŉ", "\u1e9b\u0323", "각 \u1100\u1161\u11a8", "foo", "foo bar", " foo  bar ", "<s>", "the<unk>boat", "[CLS] the [MASK] boat [SEP]",
]
FEW = ["the old boat waits.", "café isn't 12"]


def charsmap():
    """A small map of characters, as SentencePiece compiles it: some compositions, compatibility characters and white space."""
    import io
    import tempfile
    import unicodedata
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2 as pb
    rules = {x: unicodedata.normalize("NFKC", x) for x in "ﬁ½２①㎏…\u00a0\u2003\u3000\u2126\u1e9b" if unicodedata.normalize("NFKC", x) != x}
    rules |= {unicodedata.normalize("NFD", x): x for x in "éïÅệ각"} | {"\t": " ", "\n": " ", "\u200d": " ", "\ufeff": "", "ab": "x"}
    hexadecimal = lambda text: " ".join("%X" % ord(c) for c in text)
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
        file.write("".join("%s\t%s\n" % (hexadecimal(a), hexadecimal(b)) for a, b in rules.items()))
        file.flush()
        out = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(SENTENCES), model_writer=out, vocab_size=60, model_type="unigram",
                                                 normalization_rule_tsv=file.name, hard_vocab_limit=False, minloglevel=2)
    model = pb.ModelProto()
    model.ParseFromString(out.getvalue())
    return model.normalizer_spec.precompiled_charsmap


def trained(model, trainer, normalizer=None, pre_tokenizer=None, decoder=None, post_processor=None, added=()):
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.train_from_iterator(SENTENCES, trainer)
    if decoder is not None:
        tokenizer.decoder = decoder
    tokenizer.add_tokens([token for token in added if not token.special])
    tokenizer.add_special_tokens([token for token in added if token.special])
    if post_processor is not None:
        tokenizer.post_processor = post_processor(tokenizer)
    return tokenizer


def pair(kind):
    return lambda t: kind(("</s>", t.token_to_id("</s>")), ("<s>", t.token_to_id("<s>")))


def template(single):
    return lambda t: processors.TemplateProcessing(single=single, special_tokens=[(x, t.token_to_id(x)) for x in ("<s>", "</s>")])


N, P, D = normalizers, pre_tokenizers, decoders
SPECIALS = ["<s>", "</s>", "<unk>"]
bpe = lambda **k: trainers.BpeTrainer(vocab_size=160, special_tokens=SPECIALS, show_progress=False, **k)
unigram = lambda **k: trainers.UnigramTrainer(vocab_size=110, special_tokens=SPECIALS, unk_token="<unk>", show_progress=False, **k)
word_piece = lambda **k: trainers.WordPieceTrainer(vocab_size=150, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False, **k)
MASK = AddedToken("<mask>", lstrip=True, special=True)
FOO = [AddedToken("foo", single_word=True, normalized=False), AddedToken("foo bar", rstrip=True), MASK]
BYTES = ["<0x%02X>" % i for i in range(256)]


def build():
    yield "byte-level-bpe", trained(models.BPE(), bpe(initial_alphabet=P.ByteLevel.alphabet()), None, P.ByteLevel(add_prefix_space=True), D.ByteLevel(),
                                    pair(processors.RobertaProcessing), FOO)
    yield "split-bpe", trained(models.BPE(unk_token="<unk>", fuse_unk=True), bpe(), N.Sequence([N.NFC(), N.Replace(Regex(r" {2,}"), " "), N.Lowercase()]),
                               P.Sequence([P.Split(Regex(r"\p{N}{1,2}|[aeiou]{2}"), "isolated"), P.Split(" ", "merged_with_next"), P.Punctuation("merged_with_previous")]),
                               D.Fuse(), None, [AddedToken("FOO", normalized=True)])
    yield "suffix-bpe", trained(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"), bpe(end_of_word_suffix="</w>"), N.NFKC(), P.WhitespaceSplit(),
                                D.Sequence([D.Replace("</w>", " "), D.Fuse()]), template("$A </s>"))
    fallback = trained(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True), bpe(), N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")]), None,
                       D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)]), template("<s> $A"))
    state = json.loads(fallback.to_str())
    first = max(state["model"]["vocab"].values()) + 1
    state["model"]["vocab"] |= {token: first + i for i, token in enumerate(BYTES)}
    yield "byte-fallback-bpe", Tokenizer.from_str(json.dumps(state))
    yield "metaspace-unigram", trained(models.Unigram(), unigram(), N.Precompiled(charsmap()), P.Sequence([P.WhitespaceSplit(), P.Metaspace()]), D.Metaspace(),
                                       template("<s> $A </s>"), [MASK])
    yield "first-unigram", trained(models.Unigram(), unigram(), N.Sequence([N.Strip(), N.NFD(), N.StripAccents()]), P.Metaspace(prepend_scheme="first"),
                                   D.Metaspace(prepend_scheme="first"), None, [MASK] + FOO[:1])
    yield "whole-unigram", trained(models.Unigram(), unigram(), N.NFKD(), P.Sequence([P.Digits(individual_digits=True), P.Metaspace(prepend_scheme="never", split=False)]),
                                   D.Metaspace(prepend_scheme="never"))
    yield "digits-unigram", trained(models.Unigram(), unigram(), N.Strip(left=False, right=True), P.Sequence([P.Whitespace(), P.Digits()]))
    bert = lambda t: processors.BertProcessing(("[SEP]", t.token_to_id("[SEP]")), ("[CLS]", t.token_to_id("[CLS]")))
    yield "bert", trained(models.WordPiece(unk_token="[UNK]"), word_piece(), N.BertNormalizer(), P.BertPreTokenizer(), D.WordPiece(), bert)
    yield "cased-bert", trained(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=8), word_piece(),
                                N.BertNormalizer(lowercase=False, strip_accents=True, handle_chinese_chars=False), P.Punctuation("contiguous"),
                                D.WordPiece(cleanup=False), lambda t: processors.Sequence([processors.ByteLevel(), bert(t)]))


def cases(tokenizer, fast, texts):
    for text in texts:
        encoded = tokenizer.encode(text)
        decode = lambda skip: fast.decode(encoded.ids, skip_special_tokens=skip)
        yield dict(text=text, ids=encoded.ids, pieces=encoded.tokens, decoded=decode(True), decoded_special=decode(False))


def write(name, fast, config, keep_file=True):
    directory = ROOT / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    (directory / "tokenizer_config.json").write_text(json.dumps(config) + "\n")
    backend = getattr(fast, "backend_tokenizer", None)
    if keep_file:
        state = json.loads(backend.to_str())
        (directory / "tokenizer.json").write_text(json.dumps(state, ensure_ascii=False) + "\n")
    return directory


def record(directory, found):
    (directory / "tokenizer_cases.json").write_text(json.dumps(dict(cases=list(found))) + "\n")
    print(directory.name, sum(path.stat().st_size for path in directory.iterdir()))


def without_nul(texts):
    return [text.replace("\0", "") for text in texts]


for number, (name, tokenizer) in enumerate(build()):
    config = dict(clean_up_tokenization_spaces=name in ("digits-unigram", "split-bpe"))
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(tokenizer.to_str()), **config)
    record(write(name, fast, config), cases(tokenizer, fast, without_nul(TEXTS)))
    if name == "bert":
        for lower in (True, False):
            config = dict(tokenizer_class="BertTokenizer", do_lower_case=lower, tokenize_chinese_chars=lower)
            vocabulary = tokenizer.get_vocab()
            slow = transformers.BertTokenizer(vocab=vocabulary, **{k: v for k, v in config.items() if k != "tokenizer_class"})
            directory = write("bert-vocab" if lower else "bert-vocab-cased", slow, config, keep_file=False)
            (directory / "vocab.txt").write_text("".join(piece + "\n" for piece in sorted(vocabulary, key=vocabulary.get)))
            record(directory, cases(slow.backend_tokenizer, slow, without_nul(TEXTS)))

byt5 = transformers.ByT5Tokenizer()
directory = write("byt5", byt5, dict(tokenizer_class="ByT5Tokenizer", extra_ids=125), keep_file=False)
record(directory, [dict(text=text, ids=byt5(text).input_ids, decoded=byt5.decode(byt5(text).input_ids, skip_special_tokens=True))
                   for text in without_nul(TEXTS) + ["a <extra_id_0> b<extra_id_12>c", "the </s> boat", "<pad>x"]])
