#!/bin/sh
# best.sh DIRECTORY NBEST N KEEP: of N captions that a model wrote for each picture of DIRECTORY/train.list (NBEST: one a line) the KEEP that
# agree best with the people's, as lines of picture, tab, caption: by sentence BLEU against all references of the picture, one added to the
# counts of bigrams and longer (Lin and Och 2004). DIRECTORY is what prepare.sh filled.
set -eu
directory=${1:?usage: best.sh DIRECTORY NBEST N KEEP} nbest=${2:?} candidates=${3:?} keep=${4:?}
LC_ALL=C awk -v nbest="$nbest" -v candidates="$candidates" -v keep="$keep" '
# Counts the n-grams of words[1..count] into grams.
function count_grams(words, count, grams,    n, i, gram, k) {
    delete grams
    for (n = 1; n <= 4; n++)
        for (i = 1; i + n - 1 <= count; i++) {
            gram = n
            for (k = 0; k < n; k++)
                gram = gram " " words[i + k]
            grams[gram]++
        }
}
function bleu(caption,    words, count, grams, gram, n, sum, matched, closest, r) {
    count = split(caption, words, " ")
    count_grams(words, count, grams)
    for (n = 1; n <= 4; n++)
        matched[n] = 0
    for (gram in grams)
        if (gram in most)
            matched[substr(gram, 1, 1)] += grams[gram] < most[gram] ? grams[gram] : most[gram]
    if (matched[1] == 0)
        return 0
    sum = log(matched[1] / count)
    for (n = 2; n <= 4; n++)
        sum += log((matched[n] + 1) / ((count >= n ? count - n + 1 : 0) + 1))
    closest = lengths[1]
    for (r = 2; r <= references; r++)
        if ((lengths[r] - count) ^ 2 < (closest - count) ^ 2)
            closest = lengths[r]
    return exp(sum / 4 + (closest > count ? 1 - closest / count : 0))
}
function choose(    i, j, line, score, best) {
    delete scores
    for (i = 1; i <= candidates; i++) {
        if ((getline line < nbest) <= 0)
            exit 1
        if (line != "" && !(line in scores))
            scores[line] = bleu(line)
    }
    for (j = 1; j <= keep; j++) {
        best = ""
        for (line in scores)
            if (best == "" || scores[line] > scores[best] || (scores[line] == scores[best] && line < best))
                best = line
        if (best == "")
            return
        print picture "\t" best
        delete scores[best]
    }
}
BEGIN { FS = "\t" }
$1 ~ /\/mirrored\// { next }
$1 != picture {
    if (picture != "")
        choose()
    picture = $1
    references = 0
    delete most
}
{
    lengths[++references] = split($2, words, " ")
    count_grams(words, lengths[references], grams)
    for (gram in grams)
        if (grams[gram] > most[gram])
            most[gram] = grams[gram]
}
END { if (picture != "") choose() }' "$directory/train.tsv"
