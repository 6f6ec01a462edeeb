#!/bin/sh
# score.sh TANDEM REFERENCES OUTPUTS: phoneme and word error rates. A line of REFERENCES holds a word's pronunciations, tab-separated; the one
# that takes the fewest changes counts.
set -eu
tandem=${1:?usage: score.sh TANDEM REFERENCES OUTPUTS} references=${2:?} outputs=${3:?}
nearest=$(mktemp)
trap 'rm -f "$nearest"' EXIT
awk -F '\t' -v outputs="$outputs" '
function distance(a, b,    x, y, m, n, i, j, row, left, above, cost) {
    m = split(a, x, " ")
    n = split(b, y, " ")
    for (j = 0; j <= n; j++)
        row[j] = j
    for (i = 1; i <= m; i++) {
        above = row[0]
        row[0] = i
        for (j = 1; j <= n; j++) {
            cost = above + (x[i] != y[j])
            above = row[j]
            left = row[j - 1] + 1
            row[j] = cost < left ? (cost < above + 1 ? cost : above + 1) : (left < above + 1 ? left : above + 1)
        }
    }
    return row[n]
}
{
    if ((getline output < outputs) <= 0)
        exit 1
    best = 1
    least = distance(output, $1)
    for (i = 2; i <= NF; i++)
        if ((d = distance(output, $i)) < least) {
            least = d
            best = i
        }
    print $best
}' "$references" > "$nearest"
"$tandem" evaluate --metric wer,exact --reference "$nearest" "$outputs" |
    awk '/^wer/ { print "phoneme error rate " $2 } /^exact/ { printf "word error rate %.2f\n", 100 - $2 }'
