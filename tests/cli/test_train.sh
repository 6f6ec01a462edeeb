# tandem train: killed at any moment it goes on to the same bits.
set -eu
tandem=$1
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }
cd "$directory"

for i in $(seq 60); do
    set -- boat lamp grey near stone field cold two
    shift $((i % 5)); echo "$1 $2 $3"; echo "$3 $2 $1" >&3
done > train.a 3> train.b
cat > recipe.yaml <<'END'
output: run
data:
  train: {source: train.a, target: train.b}
  vocabulary: {kind: char, size: 60}
model:
  encoder: {layers: 1, width: 16, heads: 2, feed_forward: 16}
training: {batch_tokens: 100, max_steps: 200, warmup_steps: 20, checkpoint_every: 5, report_every: 5, keep_checkpoints: 1, threads: 2}
END
train() { "$tandem" train recipe.yaml --progress off "$@"; }
numbers() { sed 's/"tokens_per_second":[^,}]*//' "$1/log.jsonl"; }

# ---- killed at random moments ----
train 2> messages || fail "training: $(cat messages)"
RANDOM=${TANDEM_TEST_SEED:-$$}
echo "kills drawn from seed ${TANDEM_TEST_SEED:-$$} (TANDEM_TEST_SEED)"
kills=0; attempts=0
while [ $kills -lt 15 ] && [ $attempts -lt 200 ]; do
    attempts=$((attempts + 1))
    "$tandem" train recipe.yaml --progress off --set output=killed 2> messages & process=$!
    sleep "0.$(printf %03d $((RANDOM % 400)))"
    if kill -KILL $process 2> /dev/null; then kills=$((kills + 1)); fi
    code=0; wait $process 2> /dev/null || code=$?
    [ $code = 0 ] || [ $code = 137 ] || fail "after $kills kills: exit status $code: $(cat messages)"
    if [ $code = 0 ] && [ $kills -lt 15 ]; then rm -rf killed; fi
done
train --set output=killed 2> messages || fail "after $kills kills: $(cat messages)"
cmp run/model.safetensors killed/model.safetensors || fail "another model after $kills kills"
[ "$(numbers run)" = "$(numbers killed)" ] || fail "another log after $kills kills"
[ -z "$(find killed -name '*.partial')" ] || fail "parts of files are left: $(find killed -name '*.partial')"
echo "$kills kills, same model"

