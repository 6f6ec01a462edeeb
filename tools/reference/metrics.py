"""Writes tests/golden/metrics.json: what sacreBLEU, rouge-score, jiwer and pycocoevalcap say about our own sentences.

    python tools/reference/metrics.py tests/golden/metrics.json

Needs sacrebleu, rouge-score, jiwer and pycocoevalcap (`pip install --no-deps pycocoevalcap` is enough).
"""
import importlib.metadata
import json
import random
import sys

import jiwer
import numpy as np
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider_scorer import CiderScorer
from rouge_score import rouge_scorer, tokenizers
from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.significance import PairedTest

TOKENIZERS = ["13a", "none", "char", "intl"]

ENGLISH = [
    "The ferry leaves the harbour at half past nine.",
    "Two children are building a castle of wet sand near the pier.",
    "An old man reads yesterday's newspaper on a green bench.",
    "Nobody noticed that the lantern had gone out.",
    "The baker sold 1,250 rolls before 10.30 o'clock, which is a record.",
    "\"Where is the key?\" she asked; \"I left it here.\"",
    "Rain is expected in the north, sunshine in the south.",
    "A dog with a red ball runs across the meadow.",
]
ENGLISH_OUTPUT = [
    "The ferry leaves the port at half past nine.",
    "Two children build a sand castle near the pier.",
    "An old man is reading yesterday's newspaper on a green bench.",
    "Nobody noticed the lantern going out.",
    "The baker sold 1,250 rolls before 10.30, a record.",
    "\"Where is the key?\" she asked, \"I left it here!\"",
    "Rain is expected in the north and sun in the south.",
    "A dog runs across the meadow with a red ball.",
]
ENGLISH_SECOND = [
    "At half past nine the ferry sails from the port.",
    "Near the pier, two children build a sand castle.",
    "On a green bench an old man is reading the newspaper of yesterday.",
    "That the lantern had gone out went unnoticed.",
    "Before 10.30 the baker had sold 1,250 rolls: a record.",
    "\"Where's the key?\" she asked. \"I left it here.\"",
    "Expect rain in the north and sun in the south.",
    "Across the meadow runs a dog with a red ball.",
]
GERMAN = [
    "Die Fähre verlässt den Hafen um halb zehn.",
    "Größe und Gewicht stehen auf der Rückseite – bitte prüfen!",
    "Im Jahr 1998 kostete das Brot 2,40 DM; heute 3,90 €.",
    "„Wo ist der Schlüssel?“, fragte sie leise.",
    "Der Straßenbahnfahrer grüßt die Bäckerin jeden Morgen.",
]
GERMAN_OUTPUT = [
    "Die Fähre verlässt um halb zehn den Hafen.",
    "Größe und Gewicht sind auf der Rückseite - bitte prüfen!",
    "1998 kostete Brot 2,40 DM; heute 3,90 €.",
    "\"Wo ist der Schlüssel?\" fragte sie leise.",
    "Jeden Morgen grüßt der Strassenbahnfahrer die Bäckerin.",
]
FRENCH = [
    "L'été dernier, nous avons loué une maison près d'Arles.",
    "« Qu'est-ce que c'est ? » demanda l'enfant.",
    "Le prix est passé de 1 299,50 € à 999 € en un an.",
    "Aujourd’hui, il n’y a personne sur la plage…",
]
FRENCH_OUTPUT = [
    "L'été dernier nous avons loué une maison à Arles.",
    "« Qu'est-ce que c'est? » a demandé l'enfant.",
    "Le prix passe de 1 299,50 € à 999 € en une année.",
    "Aujourd'hui il n'y a personne à la plage...",
]
HARD = [
    ("", "Nothing was said."),
    ("Something was said.", ""),
    ("", ""),
    ("Yes", "Yes"),
    ("No", "Yes"),
    ("Tom &amp; Anna &lt;both&gt; said &quot;hi&quot; &amp;lt;", "Tom & Anna <both> said \"hi\" &lt;"),
    ("Prices: 1,000.50 - 2.5% (approx.), 3-4 days, x,y.z 5,", "Prices: 1,000.50 – 2,5 % (approx.); 3-4 days, x, y.z 5."),
    ("state-of-the-art e-mail@host.org http://a.b/c?d=e&f=g#h", "state of the art e-mail@host.org http://a.b/c?d=e&f=h"),
    ("今天天气很好,我们去公园。", "今天天气不错,我们去公园吧。"),
    ("東京タワーは333メートルです", "東京タワーの高さは333メートルです。"),
    ("trailing space and tab \t ", "trailing space and tab"),
    ("  leading and   inner   spaces", "leading and inner spaces"),
    ("no\u00a0break\u2003em\u3000ideographic", "no break em ideographic"),
    ("next\u0085line\u2028separator\x1cfile", "next line separator file"),
    ("a-\nb <skipped> c\nd", "ab c d"),
    ("ΟΔΟΣ ΣΑΣ İSTANBUL STRASSE ẞ", "οδος σας i̇stanbul strasse ß"),
    ("(hi) 'quoted' [x] {y} $5 a+b=c ~z ^w `v` |u| \\t", "(hi), 'quoted' [x] {y} 5$ a + b = c"),
    ("😀 smile 👍🏽 ok ☃ © ™ № ½ ² ⅷ", "😀 smile 👍 ok ☃ © ® № ½ 2 Ⅷ"),
    ("...,,,!!!???;;;---", "..., !!! ??? ;;; ---"),
    (".5 5. ,6 6, 7.,8 9,.", "0.5 5 ,6 6 , 7.8 9."),
    ("\u0928\u092e\u0938\u094d\u0924\u0947 \u0664\u0665,\u0666 \u060c \u0645\u0631\u062d\u0628\u0627\u061f", "\u0928\u092e\u0938\u094d\u0924\u0947 \u0664\u0665,\u0666 \u0645\u0631\u062d\u0628\u0627\u061f"),
    ("e\u0301tude cafe\u0301", "étude café"),
    ("the the the the the the the", "the cat is on the mat"),
    ("line one words.\nline two words here.\n\nline three", "line one has words.\nhere line two.\nthree line three"),
]


def word_noise(sentences, seed):
    """Drops, doubles and swaps words: another system, much worse."""
    rng = random.Random(seed)
    out = []
    for sentence in sentences:
        words = [w for w in sentence.split(" ") for _ in range(rng.choice([0, 1, 1, 1, 1, 1, 2]))]
        if len(words) > 2 and rng.random() < 0.5:
            words[0], words[-1] = words[-1], words[0]
        out.append(" ".join(words))
    return out


CASES = [
    ("english", ENGLISH_OUTPUT, [ENGLISH]),
    ("english two references", ENGLISH_OUTPUT, [ENGLISH, ENGLISH_SECOND]),
    ("german", GERMAN_OUTPUT, [GERMAN]),
    ("french", FRENCH_OUTPUT, [FRENCH]),
    ("identical", ENGLISH, [ENGLISH]),
    ("nothing in common", ["quite another matter"] * 4, [FRENCH]),
    ("empty hypotheses", [""] * 4, [FRENCH]),
    ("noise", word_noise(ENGLISH + GERMAN, 5), [ENGLISH + GERMAN]),
    ("hard, all", [h for h, _ in HARD], [[r for _, r in HARD]]),
    ("hard, swapped references", [h for h, _ in HARD], [[r for _, r in HARD], [r for _, r in HARD[1:] + HARD[:1]]]),
] + [(f"hard {i}", [h], [[r]]) for i, (h, r) in enumerate(HARD)]


def bleu(hypotheses, references):
    out = []
    for options in (
        [dict(tokenize=t, lowercase=lc) for t in TOKENIZERS for lc in (False, True)]
        + [dict(tokenize="13a", smooth_method=m) for m in ("none", "floor", "add-k")]
        + [dict(tokenize="13a", effective_order=True)]
    ):
        metric = BLEU(force=True, **options)
        stats = metric._extract_corpus_statistics(hypotheses, references)
        sums = [sum(column) for column in zip(*stats)]
        score = metric.corpus_score(hypotheses, references)
        out.append(dict(options, score=score.score, precisions=score.precisions, brevity_penalty=score.bp,
                        hypothesis_length=score.sys_len, reference_length=score.ref_len, correct=sums[2:6],
                        total=sums[6:10], signature=str(metric.get_signature())))
    return out


def chrf(hypotheses, references):
    out = []
    for options in (dict(), dict(word_order=2), dict(lowercase=True), dict(word_order=2, lowercase=True),
                    dict(whitespace=True), dict(eps_smoothing=True), dict(char_order=4, word_order=1, beta=1)):
        metric = CHRF(**options)
        score = metric.corpus_score(hypotheses, references)
        out.append(dict(options, score=score.score, signature=str(metric.get_signature())))
    return out


def rouge(hypotheses, references):
    out = []
    kinds = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
    for stem in (False, True):
        scorer = rouge_scorer.RougeScorer(kinds, use_stemmer=stem)
        scores = [scorer.score_multi(list(refs), h) for h, refs in zip(hypotheses, zip(*references))]
        out.append({"stem": stem} | {
            k: [float(100 * np.mean([getattr(s[k], f) for s in scores])) for f in ("precision", "recall", "fmeasure")]
            for k in kinds})
    return out


def error_rates(hypotheses, references):
    out = {}
    for name, process, key in (("wer", jiwer.process_words, "wer"), ("cer", jiwer.process_characters, "cer")):
        result = process(list(references[0]), list(hypotheses))
        out[name] = dict(score=100.0 * getattr(result, key), substitutions=result.substitutions,
                         deletions=result.deletions, insertions=result.insertions, hits=result.hits)
    return out


def captions(hypotheses, references):
    cider, score = CiderScorer(n=4, sigma=6.0), BleuScorer(n=4)
    for h, refs in zip(hypotheses, zip(*references)):
        cider += (h, list(refs))
        score += (h, list(refs))
    empty = not any(text.split() for texts in references for text in texts)  # a case pycocoevalcap stops at
    return dict(cider=0.0 if empty else float(100 * cider.compute_score()[0]),
                bleu=[100 * x for x in score.compute_score(option="closest", verbose=0)[0]])


def bootstrap(samples):
    other, system = word_noise(ENGLISH + GERMAN, 11), ENGLISH_OUTPUT + GERMAN_OUTPUT
    close = ENGLISH_OUTPUT[:5] + ENGLISH_SECOND[5:] + GERMAN_OUTPUT
    references = [ENGLISH + GERMAN]
    out = []
    for name, first, second in (("far", system, other), ("close", system, close), ("same", system, system)):
        test = PairedTest([("other", second), ("system", first)], {"BLEU": BLEU(force=True), "chrF2": CHRF()},
                          references, test_type="bs", n_samples=samples)
        _, scores = test()
        entry = dict(name=name, hypotheses=first, other=second, references=references, samples=samples)
        for key, column in (("bleu", "BLEU"), ("chrf", "chrF2")):
            o, s = scores[column]
            entry[key] = dict(score=s.score, mean=float(s.mean), interval=float(s.ci), other_score=o.score,
                              other_mean=float(o.mean), other_interval=float(o.ci), p_value=float(s.p_value))
        out.append(entry)
    metric = BLEU(force=True)
    metric.corpus_score(system, references, n_bootstrap=samples)
    return out, str(metric.get_signature())


STEM_WORDS = """caresses ponies ties caress cats feed agreed plastered bled motoring sing conflated troubled sized
hopping tanned falling hissing fizzed failing filing happy sky enjoy spied died dying lying news innings proceed flies
relational conditional rational valenci hesitanci digitizer conformabli radicalli differentli vileli analogousli
vietnamization predication operator feudalism decisiveness hopefulness callousness formaliti sensitiviti sensibiliti
triplicate formative formalize electriciti electrical hopeful goodness revival allowance inference airliner gyroscopic
adjustable defensible irritant replacement adjustment dependent adoption homologou communism activate angulariti
homologous effective bowdlerize probate rate cease controll roll geology archaeology theology fully hopefully carefully
generally basically yyyy syzygy toying boxes ox1ed 1234ing abcs eeds ions onion million nation being seeing dyed
houses oscillating skies tying outings cannings howe exceed succeed yelling aed using apologizing possibly ability
bias class 90s used need agreeing freed meetings dairies daily gently easily""".split()


def main(path):
    stemmer = tokenizers.DefaultTokenizer(True)._stemmer
    entries = []
    for name, hypotheses, references in CASES:
        entries.append(dict(name=name, hypotheses=hypotheses, references=references, bleu=bleu(hypotheses, references),
                            chrf=chrf(hypotheses, references), rouge=rouge(hypotheses, references),
                            captions=captions(hypotheses, references), **error_rates(hypotheses, references)))
    resampled, signature = bootstrap(500)
    versions = {p: importlib.metadata.version(p)
                for p in ("sacrebleu", "rouge-score", "jiwer", "pycocoevalcap", "nltk", "regex")}
    golden = dict(versions=versions, cases=entries, bootstrap=resampled, bootstrap_signature=signature,
                  stems=[[w, stemmer.stem(w)] for w in STEM_WORDS])
    with open(path, "w", encoding="utf-8") as file:
        file.write("{")
        for i, (key, value) in enumerate(golden.items()):
            body = json.dumps(value)
            if key in ("cases", "bootstrap"):
                body = "[" + ",\n".join(json.dumps(entry) for entry in value) + "]"
            file.write(f"{',' if i else ''}\n{json.dumps(key)}: {body}")
        file.write("\n}\n")


if __name__ == "__main__":
    main(sys.argv[1])
