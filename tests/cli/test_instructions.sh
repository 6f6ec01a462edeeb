#!/usr/bin/env bash
# Instructions that training steps, opening a model and a batch with beam 4 take, counted by valgrind's callgrind where it is installed:
# unlike times, they show a slow-down on any machine. A bound that a wanted change exceeds is raised with that change; one that is
# missed by far is lowered. The model is small, or the counting would take longer than all other tests.
set -eu
tandem=$1 cache=$(dirname "$1")/CMakeCache.txt
skip() { echo "skipped: $*"; exit 0; }
command -v valgrind > /dev/null && command -v callgrind_annotate > /dev/null || skip "valgrind is not installed"
grep -q avx2 /proc/cpuinfo || skip "the bounds are for AVX2"
grep -qE '^CMAKE_BUILD_TYPE:[A-Z]*=(Release)?$' "$cache" && ! grep -qE '^TANDEM_SANITIZE:[A-Z]*=.' "$cache" || skip "the bounds are for an optimised build"
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
cat > recipe.yaml << END
data:
  train: {source: source, target: target}
  vocabulary: {kind: char, size: 100}
model:
  encoder: {layers: 1, width: 32, heads: 4, feed_forward: 64}
  decoder: {layers: 1, width: 32, heads: 4, feed_forward: 64}
training: {max_steps: 3, threads: 1, shards: 1, batch_tokens: 100, dropout: 0.1, report_every: 1000, checkpoint_every: 1000}
output: model
END
for i in $(seq 12); do echo "the lamp $((i * 37 % 91)) stands near field $((i * i % 83))"; done > source
sed 's/lamp/Lampe/; s/stands near/steht bei/' source > target
head -n 4 source > four

failed=0
# count WHAT MILLIONS-AT-MOST FUNCTION FILE: what the calls of a function took
count() {
    taken=$(callgrind_annotate --inclusive=yes --threshold=100 "$4" | awk -v name="$3" '$0 ~ ":" name " " && !/=>/ { gsub(",", "", $1); print int($1 / 1e5) / 10; exit }')
    [ -n "$taken" ] || { echo "FAILED: $1: $3 was not called" >&2; failed=1; return; }
    echo "$1: $taken million instructions (at most $2)"
    awk -v taken="$taken" -v most="$2" 'BEGIN { exit !(taken > most / 2 && taken <= most) }' ||
        { echo "FAILED: $1: $taken million instructions are not between half of $2 million and $2 million" >&2; failed=1; }
}
# One processor: threads that wait busily would be counted. An old instruction set for the library of products: making its kernels for a
# newer one takes ten times as many instructions as the steps.
watched() { TANDEM_ISA=avx2 DNNL_MAX_CPU_ISA=SSE41 taskset -c "$processor" valgrind --tool=callgrind --callgrind-out-file="$@" > log 2>&1; }
processor=$(taskset -cp $$ | sed 's/.*: *//; s/[-,].*//')
watched train.counts "$tandem" train recipe.yaml || { cat log >&2; skip "valgrind could not run the program"; }
watched translate.counts "$tandem" translate -m model --threads 1 --beam 4 --max-length 12 four || { cat log >&2; exit 1; }
count "three training steps and a validation" 52 td_stepper_run train.counts
count "opening a model" 10 td_model_open translate.counts
count "four sentences together, beam 4" 6.5 td_generate_batch translate.counts
exit $failed
