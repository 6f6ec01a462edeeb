"""Writes tokenizer_scripts.json beside the tokenizer_cases.json of every tokenizer under tests/golden: sentences of many scripts, mixtures
of them, and what Unicode has that is awkward, with the ids that transformers (or, for classical files, SentencePiece) gives. With the
names of layouts below, makes their directories first. Run from the repository root with transformers and sentencepiece installed."""
import json
import pathlib
import shutil
import sys

import sentencepiece
import transformers
from tokenizers import ByteLevelBPETokenizer, Tokenizer

GOLDEN = pathlib.Path("tests/golden")
SENTENCES = """The kettle whistles while the fog lifts from the marsh; it's 6:45 a.m., isn't it?
Der Schuster besohlt Stiefel – für 12,50 € – und pfeift dabei „Über sieben Brücken“.
L'été, les vignes s'étendent jusqu'à l'horizon : où est passé l'âne du curé ?
El niño preguntó: «¿Cuántas cigüeñas anidan aquí?» ¡Ninguna, respondió el búho!
Żółw i jeż jedzą śliwki pod źdźbłem trawy, a łoś ćwiczy.
Příliš tichý měsíc svítil na zaprášenou půdu starého mlýna.
Őszi estéken a nagymama gyümölcslekvárt főz a zöld tűzhelyen.
Ağaçların altında yaşlı bir balıkçı ığdır şarkısı söylüyor; İnci dinliyor.
Þórður gekk yfir ána, en hesturinn vildi ekki æja við fjörðinn.
Những con thuyền nhỏ ngủ yên dưới ánh trăng mờ của dòng sông.
Старый маяк мигает, хотя корабли давно не ходят мимо острова.
Ґава їсть сир, а їжак з'їв усі ягоди біля хати.
Μια γάτα κοιμάται στο παράθυρο, ενώ ο παππούς διαβάζει εφημερίδα.
Πολυτονικά: ᾄδω, ᾧ, ῥόδον, ὕδωρ.
Հին ջրաղացի մոտ մի աղջիկ երգում է։
ძველ ხიდზე კატა მზეს ეფიცხება.
הדייג הזקן מתקן את הרשת ליד המזח, ואיש אינו שם לב.
שָׁלוֹם עֲלֵיכֶם
الصياد العجوز يصلح شبكته قرب الميناء، ولا أحد ينتبه.
كِتَابٌ جَدِيدٌ ـــ طويـــل
پیرزنی کنار پنجره چای می‌نوشد و به باران گوش می‌دهد.
بوڑھا درخت گاؤں کے بیچ میں کھڑا ہے۔
बूढ़ा मछुआरा नदी किनारे जाल सुखाता है।
নদীর ধারে একটি নৌকা একা ভাসছে।
ਪੁਰਾਣਾ ਖੂਹ ਪਿੰਡ ਦੇ ਬਾਹਰ ਹੈ।
વૃદ્ધ માળી ગુલાબને પાણી આપે છે.
ஆற்றங்கரையில் ஒரு படகு தனியாக மிதக்கிறது.
నది ఒడ్డున ఒక పడవ ఒంటరిగా ఉంది.
ನದಿಯ ದಡದಲ್ಲಿ ದೋಣಿ ಇದೆ.
പുഴക്കരയിൽ ഒരു തോണി ഒറ്റയ്ക്ക് കിടക്കുന്നു.
ගඟ අසල බෝට්ටුවක් තිබේ.
เรือลำเก่าลอยอยู่ข้างท่าน้ำโดยไม่มีใครสนใจ
ເຮືອເກົ່າຢູ່ແຄມນ້ຳ
မြစ်ကမ်းပါးမှာ လှေတစ်စင်းရှိတယ်။
ទូកចាស់នៅមាត់ទន្លេ
རྒྱ་མཚོ་ཆེན་པོ།
老渔夫在码头边修补渔网，没有人注意到钟停了。
老漁夫在碼頭邊修補漁網，沒有人注意到鐘停了。
古い灯台の下で、猫が一匹ひなたぼっこをしている。カタカナとﾊﾝｶｸも。
오래된 등대 아래에서 고양이 한 마리가 햇볕을 쬐고 있다.
አሮጌው ጀልባ በወንዙ ዳር ቆሟል።
ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ
𐌲𐌿𐍄𐌹𐍃𐌺 𝓈𝒸𝓇𝒾𝓅𝓉 𝟙𝟚𝟛 🜁🜂
The 猫 said «мяу» to the 犬 — και έφυγε! مرحبا שלום 안녕
ﬁ ﬂ ﬃ ﬅ Ǆ ǆ ŉ ĳ ſ ẛ̣ ℡ № ℃ ㏒ ㍿ ½ ⅚ ² ₃ ⅷ ①⓿ ㊙
Ａｌｐｈａ　Ｂｅｔａ　１２３　！？
e\u0301e\u0301\u0301 A\u030a\u0323 o\u0308\u0304 \u1100\u1161\u11a8\u1112\u1161\u11ab \u0915\u093c
zero\u200bwidth\u200cnon\u200djoiner\u2060word\ufeffbom soft\u00adhyphen \u180evowel
spaces:\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000end
lines:\u000b\u000c\u0085\u2028\u2029 and\ttabs \u001f\u001e
right\u202eto\u202cleft \u2066isolated\u2069 \u200fmark\u200e
🧑‍🌾👩🏿‍🚒👨‍👩‍👧‍👦 🏴󠁧󠁢󠁳󠁣󠁴󠁿 🇨🇭🇯🇵 ❤️❤ ☎︎☎️ 1️⃣
\u0000\u0378\u0e00 \ue000\uf8ff \ufdd0\ufffe \U000e0001 \U0010fffd \ufffd
ÀÁÂÃÄÅ àáâãäå ÇÐÑÒÓÔÕÖØ ŒœŸ ŠšŽž ĀāĒē ŁłŃń Țț Șș Ğğ İıI i ẞß ΣσςΣΑΣ
camelCase snake_case kebab-case dotted.name/path\\to?q=1&r=[2]#x {a:"b"} <tag/> @user #tag $9.99 100% ~^`|
""" + "a" * 70 + " " + "ab" * 50 + " " + "\u0301" * 20 + " " + "ค" * 40 + "\n" + "... --- ... !!! ??? ¿¿ ‼ ⁇ … – — ― ‘’‚‛ “”„‟ ‹› «» 「」『』【】"
LINES = [line.replace("\0", "") for line in SENTENCES.split("\n") if line]
TRAINING = LINES[:42] * 2


def plain_spm(path, size, **ids):
    import io
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(TRAINING), model_writer=model, vocab_size=size, model_type="unigram",
                                             normalization_rule_name="nmt_nfkc", num_threads=1, minloglevel=2, character_coverage=0.98, **ids)
    path.write_bytes(model.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def write(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False) + "\n")


def make_gpt2(root):
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(TRAINING, vocab_size=600, min_frequency=2, show_progress=False, special_tokens=["<|endoftext|>"])
    trained.save_model(str(root))
    write(root / "tokenizer_config.json", dict(tokenizer_class="GPT2Tokenizer", bos_token="<|endoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>"))


def make_speech2text(root):
    model = plain_spm(root / "sentencepiece.bpe.model", 640, bos_id=0, pad_id=1, eos_id=2, unk_id=3)
    write(root / "vocab.json", {model.id_to_piece(i): i for i in range(len(model))})
    write(root / "tokenizer_config.json", dict(tokenizer_class="Speech2TextTokenizer", do_lower_case=False, do_upper_case=False))


def make_m2m100(root):
    model = plain_spm(root / "sentencepiece.bpe.model", 640)
    vocabulary = {token: i for i, token in enumerate(["<s>", "<pad>", "</s>", "<unk>"])}
    for i in range(3, len(model)):
        vocabulary.setdefault(model.id_to_piece(i), len(vocabulary))
    codes = transformers.models.m2m_100.tokenization_m2m_100.FAIRSEQ_LANGUAGE_CODES["m2m100"]
    write(root / "vocab.json", vocabulary)
    write(root / "tokenizer_config.json", dict(tokenizer_class="M2M100Tokenizer", src_lang="en", additional_special_tokens=["__%s__" % code for code in codes]))


MAKERS = {"gpt2": make_gpt2, "speech2text": make_speech2text, "m2m100": make_m2m100}


def spm(root, file, number, before, after):
    model = sentencepiece.SentencePieceProcessor(model_file=str(root / file))
    return lambda text: dict(ids=before + [number(i) for i in model.encode(text)] + after)


def classic(root):
    """Families whose classical files SentencePiece defines: the numbers their models were trained with."""
    offset = lambda i: 3 if i == 0 else i + 1
    rules = {"t5-tokenizer": ("spiece.model", lambda i: i, [], [1]), "pegasus-tokenizer": ("spiece.model", lambda i: i + 103, [], [1]),
             "mbart-tokenizer": ("sentencepiece.bpe.model", offset, [], [2, 128]), "nllb-tokenizer": ("sentencepiece.bpe.model", offset, [122], [2])}
    return spm(root, *rules[root.name]) if root.name in rules else None


def loaded(root):
    config = json.loads((root / "tokenizer_config.json").read_text())
    if (root / "tokenizer.json").exists():
        backend = Tokenizer.from_file(str(root / "tokenizer.json"))
        fast = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, clean_up_tokenization_spaces=config.get("clean_up_tokenization_spaces", False))
        encode = lambda text: Tokenizer.encode(backend, text).ids
        return lambda text: described(fast, encode(text))
    if config["tokenizer_class"] == "ByT5Tokenizer":
        tokenizer = transformers.ByT5Tokenizer()
    elif config["tokenizer_class"] == "BertTokenizer":
        vocabulary = {line: i for i, line in enumerate((root / "vocab.txt").read_text().split("\n")[:-1])}
        tokenizer = transformers.BertTokenizer(vocab=vocabulary, do_lower_case=config["do_lower_case"], tokenize_chinese_chars=config["tokenize_chinese_chars"])
    else:
        tokenizer = getattr(transformers, config["tokenizer_class"]).from_pretrained(root)
    return lambda text: described(tokenizer, tokenizer(text)["input_ids"])


def described(tokenizer, ids):
    return dict(ids=ids, decoded=tokenizer.decode(ids, skip_special_tokens=True))


for name, make in MAKERS.items():
    root = GOLDEN / (name + "-tokenizer")
    if name in sys.argv[1:] or not root.exists():
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        make(root)
        one = loaded(root)
        awkward = ["", " ", "  two  spaces ", "a", "\t", "don't", "</s>", "<unk> x", "<|endoftext|>x", "__de__ a", "x" * 40]
        write(root / "tokenizer_cases.json", dict(cases=[dict(text=text, **one(text)) for text in awkward]))
for root in sorted([*GOLDEN.glob("*-tokenizer"), *(GOLDEN / "tokenizers-json").iterdir()]):
    compute = classic(root) or loaded(root)
    cases = [dict(text=text, **compute(text)) for text in LINES]
    (root / "tokenizer_scripts.json").write_text(
        '{"cases": [\n' + ",\n".join(json.dumps(case, ensure_ascii=False, separators=(",", ":")) for case in cases) + "\n]}\n")
    print(root.name, len(cases), (root / "tokenizer_scripts.json").stat().st_size, flush=True)
