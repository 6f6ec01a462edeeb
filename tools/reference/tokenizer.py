"""Writes tests/golden/<layout>-tokenizer/: tiny tokenizers trained on the sentences below, and what transformers makes of awkward text.

Run from the repository's root with transformers and sentencepiece installed."""

import io
import json
import pathlib
import sys

import sentencepiece
import transformers

ENGLISH = """The baker opens her shop before the sun is up.
Two brothers carry a long ladder across the yard.
A grey cat sleeps on the warm roof of a parked car.
Children run through the sprinkler and laugh.
An old woman feeds pigeons beside the fountain.
The train leaves at noon from the second platform.
He wrote a letter to his sister and forgot to send it.
Rain falls on the empty tennis court.
Three musicians tune their instruments behind the stage.
She paints the fence blue while her dog watches.
A fisherman mends his net by the harbour wall.
The teacher draws a map of the river on the board.
Nobody noticed that the clock had stopped.
They share a bowl of noodles at a small table.
A cyclist waits for the light to turn green.
My neighbour's parrot says good morning all day.
The library closes early on Fridays, doesn't it?
Wind turns the pages of a forgotten book.
We'll meet again when the apples are ripe.
The boy throws a stone into the quiet lake."""

GERMAN = """Die Bäckerin öffnet ihren Laden, bevor die Sonne aufgeht.
Zwei Brüder tragen eine lange Leiter über den Hof.
Eine graue Katze schläft auf dem warmen Dach eines Autos.
Kinder laufen durch den Rasensprenger und lachen.
Eine alte Frau füttert Tauben neben dem Brunnen.
Der Zug fährt mittags vom zweiten Gleis ab.
Er schrieb seiner Schwester einen Brief und vergaß ihn.
Regen fällt auf den leeren Tennisplatz.
Drei Musiker stimmen ihre Instrumente hinter der Bühne.
Sie streicht den Zaun blau, während ihr Hund zusieht.
Ein Fischer flickt sein Netz an der Hafenmauer.
Die Lehrerin zeichnet eine Karte des Flusses an die Tafel.
Niemand merkte, dass die Uhr stehen geblieben war.
Sie teilen sich eine Schale Nudeln an einem kleinen Tisch.
Ein Radfahrer wartet, bis die Ampel grün wird.
Der Papagei meiner Nachbarin sagt den ganzen Tag guten Morgen.
Die Bücherei schließt freitags früh, nicht wahr?
Der Wind blättert in einem vergessenen Buch.
Wir sehen uns wieder, wenn die Äpfel reif sind.
Der Junge wirft einen Stein in den stillen See."""

# Not among them: a language token that the vocabulary lacks (">>fr<< text"), which transformers makes <unk> and Tandem leaves as text.
AWKWARD = [
    "", " ", "   ", "\t", "\n", "\u00a0", "\u200b", "\ufeffmark", "a", "é", "e\u0301", "ß", "ẞ", ".", "...", "…", "!?",
    "the", "The", "THE BAKER OPENS", "  two  spaces  inside ", "tab\tand\nnewline", "don't we'll it's", "cat,dog;bird:fish",
    "(round) [square] {curly} <angle>", "a-b_c/d\\e|f", "user@example.org http://example.org/?a=b&c=d#e", "1234567890", "3.14 1,000 50%",
    "ﬁne ﬂow ①②③ ½ ㎏ Ⅷ", "ＦＵＬＬ ｗｉｄｔｈ", "“curly” ‘quotes’ «guillemets» „low“", "naïve façade œuvre Ångström", "cafe\u0301 nin\u0303o",
    "soft\u00adhyphen zero\u200bwidth no\u00a0break", "日本語のテキスト", "中文。测试", "한국어 문장", "Привет, мир", "שלום עולם", "مرحبا", "हिन्दी", "ไทย",
    "🙂", "👩🏽\u200d🚀 flies", "🇩🇪🇫🇷", "cat🐈dog", "\U0001d49c\U0001d4b7", "\uffff", "\U0010ffff", "\u0000nul".replace("\u0000", "\u0001"), "x" * 60,
    "</s>", "<unk>", "<pad>", "the </s> cat", "the</s>cat", "a<pad> <unk>b", "<s>", "</s", "< /s>", "▁", "the▁cat", "▁▁", "_", ">>de<< The cat",
    ">>de<<The cat", " >>de<< The cat", ">>de", "the >>de<< cat", ">>", "<<",
]


def train(sentences, size, normalization, kind="unigram", **more):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=model, vocab_size=size, model_type=kind, normalization_rule_name=normalization,
        unk_id=0, bos_id=-1, eos_id=-1, pad_id=-1, num_threads=1, minloglevel=2, character_coverage=1.0, **more)
    return model.getvalue()


def write_json(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def marian(root):
    root.mkdir(parents=True, exist_ok=True)
    # Only one side has the (large) normalizer table.
    models = [train(ENGLISH.split("\n"), 150, "nmt_nfkc"), train(GERMAN.split("\n"), 160, "identity", kind="bpe")]
    vocabulary = {"</s>": 0, "<unk>": 1}
    for name, model in zip(("source.spm", "target.spm"), models):
        (root / name).write_bytes(model)
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        for i in range(1, len(processor)):
            vocabulary.setdefault(processor.id_to_piece(i), len(vocabulary))
    del vocabulary["k"]  # a piece that the vocabulary lacks is unknown
    vocabulary = {piece: i for i, piece in enumerate(vocabulary)}
    for token in (">>de<<", ">>nl<<", "<pad>"):
        vocabulary[token] = len(vocabulary)
    write_json(root / "vocab.json", vocabulary)
    write_json(root / "special_tokens_map.json", {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"})
    write_json(root / "tokenizer_config.json", {"tokenizer_class": "MarianTokenizer"})
    return transformers.MarianTokenizer.from_pretrained(root)


def unigram_family(root, config, files, token_map, **model):
    """A model whose special pieces come first, under the file name its family uses."""
    root.mkdir(parents=True, exist_ok=True)
    data = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(ENGLISH.split("\n")), model_writer=data, vocab_size=120, normalization_rule_name="nmt_nfkc" if False else "identity",
        num_threads=1, minloglevel=2, character_coverage=1.0, **model)
    (root / files).write_bytes(data.getvalue())
    write_json(root / "tokenizer_config.json", config)
    write_json(root / "special_tokens_map.json", token_map)
    return data.getvalue()


class Classic:
    """Ids by the family's rule over the SentencePiece library, specials not looked for in text."""

    def __init__(self, model, number, before, after):
        self.processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.number, self.before, self.after = number, before, after

    def cases(self, texts):
        return [{"text": text, "ids": self.before + [self.number(i) for i in self.processor.encode(text)] + self.after} for text in texts]


def plain(texts):
    return [text for text in texts if not any(mark in text for mark in ("</s>", "<unk>", "<pad>", "<s>"))]


def t5(root):
    model = unigram_family(root, {"tokenizer_class": "T5Tokenizer"}, "spiece.model", {}, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    return Classic(model, lambda i: i, [], [1])


def pegasus(root):
    model = unigram_family(root, {"tokenizer_class": "PegasusTokenizer"}, "spiece.model", {}, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    return Classic(model, lambda i: i + 103, [], [1])


def mbart(root):
    model = unigram_family(root, {"tokenizer_class": "MBartTokenizer", "src_lang": "fr_XX"}, "sentencepiece.bpe.model", {})
    return Classic(model, lambda i: 3 if i == 0 else i + 1, [], [2, 120 + 1 + 7])


def nllb(root):
    languages = ["ace_Arab", "deu_Latn", "eng_Latn", "fra_Latn"]
    model = unigram_family(root, {"tokenizer_class": "NllbTokenizer", "src_lang": "deu_Latn"}, "sentencepiece.bpe.model",
                           {"additional_special_tokens": languages})
    return Classic(model, lambda i: 3 if i == 0 else i + 1, [120 + 1 + 1], [2])


def bart(root):
    import tokenizers
    root.mkdir(parents=True, exist_ok=True)
    trained = tokenizers.ByteLevelBPETokenizer()
    trained.train_from_iterator(ENGLISH.split("\n") + GERMAN.split("\n"), vocab_size=420, min_frequency=2, show_progress=False,
                                special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    trained.save_model(str(root))
    write_json(root / "tokenizer_config.json", {"tokenizer_class": "BartTokenizer"})
    return transformers.BartTokenizer.from_pretrained(root)


def write_cases(root, tokenizer, texts):
    cases = tokenizer.cases(plain(texts)) if isinstance(tokenizer, Classic) else []
    for text in [] if cases else texts:
        case = {"text": text, "ids": tokenizer(text)["input_ids"]}
        case["target_ids"] = tokenizer(text_target=text)["input_ids"]
        case["decoded"] = tokenizer.decode(case["ids"], skip_special_tokens=True)
        case["decoded_special"] = tokenizer.decode(case["ids"], skip_special_tokens=False)
        cases.append(case)
    write_json(root / "tokenizer_cases.json", {
        "made_by": f"tools/reference/tokenizer.py, transformers {transformers.__version__}, sentencepiece {sentencepiece.__version__}", "cases": cases})


def main():
    golden = pathlib.Path("tests/golden")
    layouts = {"marian": marian, "t5": t5, "pegasus": pegasus, "mbart": mbart, "nllb": nllb, "bart": bart}
    for name in sys.argv[1:] or layouts:
        root = golden / f"{name}-tokenizer"
        write_cases(root, layouts[name](root), AWKWARD + ENGLISH.split("\n") + GERMAN.split("\n"))


main()
