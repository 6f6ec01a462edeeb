# tandem train: killed at any moment it goes on to the same bits; what is wrong it says byte for byte.
set -eu
tandem=$1
[ ! -w /dev/shm ] || export TMPDIR=/dev/shm # runs sync what they write
directory=$(mktemp -d)
mounted=
trap '[ -z "$mounted" ] || umount "$mounted"; rm -rf "$directory"' EXIT
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
train() { timeout -s KILL 200 "$tandem" train recipe.yaml --progress off "$@"; }
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

# ---- interrupted ----
# In the foreground, for else timeout passes a signal on twice, to its child and to its group, and a second one ends the program at once.
timeout --foreground -s KILL 200 "$tandem" train recipe.yaml --progress off --set output=stopped --set training.max_steps=100000 2> messages & process=$!
for i in $(seq 600); do [ -s stopped/log.jsonl ] && break; sleep 0.1; done
kill -INT $process; code=0; wait $process || code=$?
[ $code = 1 ] || fail "SIGINT: exit status $code, not 1"
tail -n 1 messages | grep -qx 'tandem train: stopped at step [0-9]*; the same command goes on from there' || fail "SIGINT: $(tail -n 1 messages)"
step=$(tail -n 1 messages | sed 's/.*step \([0-9]*\);.*/\1/')
[ -f "stopped/checkpoints/step-$step/state.json" ] || fail "SIGINT: no checkpoint of step $step"
train --set output=stopped --set training.max_steps=$((step + 1)) 2> messages || fail "after SIGINT: $(cat messages)"
grep -qx "continuing from step $step" messages || fail "after SIGINT: does not go on from step $step"

# ---- interrupted while the vocabulary is made, which takes long with many unlike words ----
seq 400000 | awk '{ print $1 * 7919 % 1000003, $1 * 104729 % 1000003, $1 * 31337 % 999983 }' > many
"$tandem" train recipe.yaml --progress off --set output=early --set data.train.source=many --set data.train.target=many \
    --set data.vocabulary.kind=unigram --set data.vocabulary.size=20000 2> messages & process=$!
for i in $(seq 600); do grep -qx 'training the vocabulary' messages && break; sleep 0.1; done
sleep 0.5; before=$(date +%s); kill -INT $process; code=0; wait $process || code=$?
[ $code = 1 ] || fail "SIGINT while the vocabulary is made: exit status $code, not 1: $(cat messages)"
[ "$(tail -n 1 messages)" = 'tandem train: stopped while training the vocabulary; the same command begins it again' ] ||
    fail "SIGINT while the vocabulary is made: $(tail -n 1 messages)"
[ $(($(date +%s) - before)) -lt 10 ] || fail "SIGINT while the vocabulary is made: it took $(($(date +%s) - before)) seconds"

# ---- what is wrong ----
refuse() { # MESSAGE ARGUMENTS...
    message=$1; shift; code=0
    train --set output=wrong "$@" 2> messages || code=$?
    [ $code = 1 ] || fail "$*: exit status $code, not 1"
    [ "$(tail -n 1 messages)" = "tandem train: $message" ] || fail "$*: $(tail -n 1 messages)"
}
printf 'one\ntw\377o\n' > bad.a; printf 'one\ntwo\n' > two.b
refuse "$directory/bad.a:2: line is not UTF-8 (byte 3)" --set data.train.source=bad.a --set data.train.target=two.b
refuse "$directory/train.a has 60 lines and $directory/two.b has 2: parallel files need the same number" --set data.train.target=two.b
refuse "$directory/none: cannot open: No such file or directory" --set data.train.source=none
refuse "recipe.yaml:3: data.train.source: sound and pictures are listed in .tsv files (name, tab, text) or .jsonl" --set task=caption
printf '\n \n\n' > blank
refuse 'no sentences to make a vocabulary from: all 6 lines are blank or longer than 1000000 bytes' --set output=blanked --set data.vocabulary.kind=unigram --set data.train.source=blank --set data.train.target=blank
refuse "$directory/none: there is no such model directory" --set output=blanked --set model.from=none
printf '\357\273\277output: marked\r\ndata: 3\r\n' > marked.yaml
code=0; "$tandem" train marked.yaml 2> messages || code=$?
[ "$code $(cat messages)" = '1 tandem train: marked.yaml:2: data: is a section; write its keys below it, indented' ] || fail "byte order mark: $(cat messages)"
code=0; train --set training.learning_rat=1 2> messages || code=$?
[ $code = 1 ] && grep -q 'learning_rat: unknown key; the nearest is training.learning_rate' messages || fail "unknown key: $(cat messages)"

# ---- another vocabulary ----
same=$(cat run/vocab.json)
code=0; train --set data.vocabulary.kind=bpe 2> messages || code=$?
[ $code = 1 ] && grep -qx "tandem train: data.vocabulary.kind: the model in $directory/run was begun with another value; --restart begins again with this one" messages ||
    fail "another vocabulary: $(cat messages)"
configuration=$(cat run/config.json); code=0; train --set model.encoder.width=32 2> messages || code=$?
[ $code = 1 ] && grep -qx "tandem train: model.encoder.width: the model in $directory/run was begun with another value; --restart begins again with this one" messages &&
    [ "$configuration" = "$(cat run/config.json)" ] || fail "another model: $(cat messages)"
[ "$same" = "$(cat run/vocab.json)" ] && grep -q 'kind: "*char' run/recipe.yaml || fail "another vocabulary: the directory has changed"
rm -rf run/checkpoints run/model.safetensors
train --set data.vocabulary.kind=word --set training.max_steps=1 2> messages || fail "another vocabulary without a model: $(cat messages)"
grep -qx 'data.vocabulary.kind has changed: the vocabulary is made anew' messages && [ "$same" != "$(cat run/vocab.json)" ] ||
    fail "another vocabulary without a model: $(cat messages)"
train --restart --set training.max_steps=1 2> messages && [ "$same" = "$(cat run/vocab.json)" ] || fail "--restart: $(cat messages)"

# ---- texts cut in training are cut in use, also by what is trained on from there ----
set -- --set training.max_steps=2 --set data.truncate_source=true
train --set output=cut --set data.max_source_length=9 "$@" 2> messages || fail "cut texts: $(cat messages)"
[ "$("$tandem" inspect --json cut | sed 's/.*"max_source": *\([0-9]*\).*/\1/')" = 9 ] || fail "cut texts: $(cat cut/config.json)"
sed 's/^model:/model: {from: cut}/; /vocabulary:/d; /^  encoder:/d; /^  decoder:/d' recipe.yaml > from.yaml
"$tandem" train from.yaml --progress off --set output=cut-2 --set data.max_source_length=7 "$@" 2> messages || fail "cut texts, from: $(cat messages)"
[ "$("$tandem" inspect --json cut-2 | sed 's/.*"max_source": *\([0-9]*\).*/\1/')" = 7 ] || fail "cut texts, from: $(cat cut-2/config.json)"

# ---- not a number ----
code=0
train --set output=huge --set training.learning_rate=1000 --set training.warmup_steps=0 --set training.clip_norm=0 --set training.optimizer=sgd \
    --set training.schedule=constant 2> messages || code=$?
[ $code = 1 ] || fail "huge rate: exit status $code, not 1"
tail -n 1 messages | grep -Eqx 'tandem train: step [0-9]+: .* not (a finite number|finite numbers); lower training.learning_rate or set training.clip_norm \(the last checkpoint is kept\)' ||
    fail "huge rate: $(tail -n 1 messages)"

# ---- a full disk ----
mkdir disk
if mount -t tmpfs -o size=600k tmpfs disk 2> /dev/null; then
    mounted=$directory/disk
    head -c 480k /dev/zero > disk/ballast
    code=0; train --set output=disk/run 2> messages || code=$?
    [ $code = 1 ] || fail "full disk: exit status $code, not 1"
    grep -q 'No space left on device' messages || fail "full disk: $(cat messages)"
    [ -z "$(find disk -name '*.partial' -o -name partial)" ] || fail "full disk: parts of files are left"
    rm disk/ballast
    mount -o remount,size=64m disk
    train --set output=disk/run 2> messages || fail "with space again: $(cat messages)"
    cmp killed/model.safetensors disk/run/model.safetensors || fail "another model after a full disk"
else
    echo "full disk: not tested, a small file system cannot be mounted here"
fi
