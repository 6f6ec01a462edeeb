#!/bin/sh
# prepare.sh AESLC DIRECTORY: pairs for a first stage of learning, made of the training e-mails alone (their subjects are not looked at):
# phrases.source holds e-mails and, of long ones, also the 150 words from word 91, 181 and 271 on; phrases.target the phrase of 1 to 5 words
# that says most about each. Needs jq.
# What a phrase says: of each word how rare it is in other e-mails, more if it comes again in this one, less if it is in lower case; the sum is
# worth less the later it stands, and more each time the phrase comes again. Words that a fifth of all e-mails have say nothing.
set -eu
aeslc=${1:?usage: prepare.sh AESLC DIRECTORY} directory=${2:?usage: prepare.sh AESLC DIRECTORY}
mkdir -p "$directory"
zcat "$aeslc/train.jsonl.gz" | jq -r '.source | gsub("\\s+"; " ")' > "$directory/mails"
awk '{
    print
    for (first = 91; first <= 271; first += 90)
        if (NF >= first + 40) {
            line = ""
            for (i = first; i <= NF && i < first + 150; i++)
                line = line (i > first ? " " : "") $i
            print line
        }
}' "$directory/mails" > "$directory/phrases.source"
LC_ALL=C awk '
function bare(word) {
    gsub(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/, "", word)
    return tolower(word)
}
NR == FNR { # how many e-mails each word is in
    delete seen
    for (i = 1; i <= NF; i++) {
        word = bare($i)
        if (word != "" && !(word in seen)) {
            seen[word] = 1
            mails[word]++
        }
    }
    count++
    next
}
{
    delete times
    delete said
    length_of = NF < 150 ? NF : 150
    for (i = 1; i <= length_of; i++) {
        words[i] = bare($i)
        times[words[i]]++
    }
    for (i = 1; i <= length_of; i++) {
        if (words[i] == "" || mails[words[i]] > count / 5)
            continue
        total = 0
        phrase = ""
        for (n = 1; n <= 5 && i + n - 1 <= length_of; n++) {
            j = i + n - 1
            if (words[j] == "" || (n > 1 && $(j - 1) ~ /[^A-Za-z0-9]$/))
                break
            phrase = phrase (n > 1 ? " " : "") words[j]
            if (mails[words[j]] > count / 5)
                continue
            total += log(count / (1 + mails[words[j]])) * (1 + log(times[words[j]])) * ($j ~ /^[^A-Za-z0-9]*[A-Z0-9]/ ? 1 : 0.7)
            said[phrase] += total / (1 + i / 15)
        }
    }
    best = ""
    for (phrase in said)
        if (best == "" || said[phrase] > said[best] || (said[phrase] == said[best] && phrase < best))
            best = phrase
    print best
}' "$directory/mails" "$directory/phrases.source" > "$directory/phrases.target"
wc -l "$directory/phrases.source" "$directory/phrases.target"
