#!/usr/bin/env bash
# tandem caption: a captioner trained from scratch in a moment says what it saw, and draws where it looked.
set -eu
tandem=$1 pictures=$2/tests/golden/pictures
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }
cd "$directory"

printf 'rgb.png\ta boat at sea\nturned.png\ttwo cats asleep\n' > train.tsv
cat > recipe.yaml <<END
task: caption
output: run
data:
  train: {source: train.tsv}
  folder: $pictures
  vocabulary: {kind: word, size: 16}
  image: {size: 32}
model:
  type: lstm
  attention: additive
  encoder: {width: 24, cnn: {channels: [8, 16], strides: [4, 2]}}
  decoder: {layers: 1, width: 24}
training: {batch_tokens: 100, max_steps: 80, learning_rate: 0.01, warmup_steps: 10, dropout: 0, label_smoothing: 0, threads: 1, shards: 1,
           doubly_stochastic: 0.1}
END
"$tandem" train recipe.yaml --progress off 2> messages || fail "training: $(cat messages)"
caption() { "$tandem" caption -m run "$@"; }
[ "$(caption "$pictures/rgb.png")" = 'a boat at sea' ] || fail "one: $(caption "$pictures/rgb.png")"

# ---- one picture, several, a directory ----
caption --attention look.svg "$pictures/rgb.png" > /dev/null
panels() { grep -c '<use href="#picture"/>' "$1" || true; }
[ "$(panels look.svg)" = 5 ] || fail "look.svg has $(panels look.svg) panels, not the picture and one for each of four words"
grep -q '>boat</text>' look.svg || fail 'look.svg does not name its words'
grep -q 'data:image/png;base64,' look.svg || fail 'look.svg does not hold the picture'
grep -q 'clip-path="url(#seen)"' look.svg && fail 'look.svg: nothing is cut off, yet a part is dark'
expected=$(printf '%s\ta boat at sea\n%s\ttwo cats asleep' "$pictures/rgb.png" "$pictures/turned.png")
[ "$(caption --attention both.svg "$pictures/rgb.png" "$pictures/turned.png")" = "$expected" ] || fail 'two pictures: other captions'
[ "$(panels both-1.svg) $(panels both-2.svg)" = '5 4' ] || fail "two pictures: panels $(panels both-1.svg) $(panels both-2.svg)"
cmp -s look.svg both-1.svg || fail 'the first of two is drawn otherwise than alone'
mkdir drawn
caption --attention drawn "$pictures/rgb.png" "$pictures/turned.png" > /dev/null
cmp both-1.svg drawn/rgb.png.svg && cmp both-2.svg drawn/turned.png.svg || fail 'a directory gets other drawings'

# ---- a front end that cuts the middle out: what it does not see is dark ----
cp -r run cut
printf '%s' '{"image_processor_type": "MobileNetV2ImageProcessor", "size": {"shortest_edge": 64}, "crop_size": {"height": 32, "width": 32}}' > cut/preprocessor_config.json
"$tandem" caption -m cut --attention cut.svg "$pictures/rgb.png" > /dev/null
grep -q 'clip-path="url(#seen)"' cut.svg || fail 'cut.svg: the part that is cut off is not dark'

# ---- what is wrong ----
code=0; caption --attention absent/look.svg "$pictures/rgb.png" > answer 2> messages || code=$?
[ $code = 1 ] && grep -q '^.*rgb.png: absent/look.svg' messages || fail "absent directory: $code: $(cat messages)"
[ "$(cat answer)" = 'a boat at sea' ] || fail "absent directory: no caption: $(cat answer)"
code=0; "$tandem" train recipe.yaml --progress off --set output=none --set model.attention=none --set training.doubly_stochastic=0 2> messages || fail "$(cat messages)"
"$tandem" caption -m none --attention look2.svg "$pictures/rgb.png" > answer 2> messages || code=$?
[ $code = 1 ] && grep -q 'no attention to draw' messages || fail "no attention: $code: $(cat messages)"
refuse() { # MESSAGE ARGUMENTS...
    message=$1; shift; code=0
    "$tandem" train recipe.yaml --progress off "$@" 2> messages || code=$?
    [ $code = 1 ] && grep -qF "$message" messages || fail "$*: $code: $(cat messages)"
}
refuse 'model.encoder.cnn.strides: needs one stride for each of model.encoder.cnn.channels' --set 'model.encoder.cnn.strides=[2]'
refuse 'model.encoder.cnn.channels: must be at most 16 numbers of channels' --set 'model.encoder.cnn.channels=[8, many]'
refuse 'training.doubly_stochastic: needs a recurrent model with attention' --set model.attention=none
