#!/usr/bin/env bash
# Training does not hold its corpus in memory: what a run may allocate is bounded far below the corpus's size. TANDEM_LARGE_LINES lines,
# 200,000 unless said otherwise (`make test-large`: 10,000,000).
set -eu
tandem=$(realpath "$1")
lines=${TANDEM_LARGE_LINES:-200000}
[ "$lines" -gt 200000 ] || [ ! -w /dev/shm ] || export TMPDIR=/dev/shm
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }
cd "$work"

awk -v lines="$lines" 'BEGIN {
    count = split("boat lamp grey near stone field cold two river window garden seven", word)
    seed = 1
    for (i = 1; i <= lines; i++) {
        seed = (seed * 16807) % 2147483647
        text = i " " word[1 + seed % count] " " word[1 + int(seed / count) % count] " " word[1 + int(seed / 1000) % count]
        print text > "large.a"
        print text " now" > "large.b"
    }
}'
head -n 1000 large.a > small.a
head -n 1000 large.b > small.b
cat > recipe.yaml <<'END'
data:
  train: {source: large.a, target: large.b}
  vocabulary: {kind: char, size: 60, max_sentences: 1000}
  shuffle_window: 10000
model:
  encoder: {layers: 1, width: 16, heads: 2, feed_forward: 16}
training: {batch_tokens: 1000, max_steps: 20, threads: 1, checkpoint_every: 10}
END

# train MEGABYTES ARGUMENT...: with so much memory for data, mapped files aside
train() {
    local megabytes=$1
    shift
    (ulimit -c 0; ulimit -d $((megabytes * 1024)); exec timeout -s KILL "${TANDEM_LARGE_SECONDS:-300}" \
        "$tandem" train recipe.yaml --progress off --restart "$@") 2> messages
}

# What the program takes however little it trains on differs between machines.
least=32
until { train $least --set output=small --set data.train.source=small.a --set data.train.target=small.b; } 2> /dev/null; do
    least=$((least + 16))
    [ $least -le 4096 ] || fail "a thousand lines: $(cat messages)"
done
train $((least + 16)) --set output=large || fail "$lines lines in $((least + 16)) MB: $(cat messages)"
grep -q "^train: $lines pairs of $lines kept" messages || fail "$(cat messages)"
megabytes=$(($(wc -c < large/data/train.records) >> 20))
[ $megabytes -gt 32 ] || fail "the corpus of $megabytes MB is too small to tell"
echo "$lines lines, $megabytes MB of records: trained in $((least + 16)) MB"

# And goes on from where it was.
timeout -s KILL "${TANDEM_LARGE_SECONDS:-300}" "$tandem" train recipe.yaml --progress off --set output=large --set training.max_steps=25 2> messages || fail "going on: $(cat messages)"
grep -qx 'continuing from step 20' messages || fail "going on: $(cat messages)"
