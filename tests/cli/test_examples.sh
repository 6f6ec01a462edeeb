#!/usr/bin/env bash
# The example programs, built with everything else, print what their sources promise.
. "$(dirname "$0")/common.sh"
programs=$(dirname "$tandem")

check 'lstm_layer' '[3, 5, 20]
[1, 3, 20]
output[0, 0, :4] = 0.1436 0.1156 0.0038 0.1047
h_n[0, 0, :4]    = 0.1278 0.1615 0.0232 -0.0012
dinput[0, 0, :4] = -0.0224 -0.0364 -0.5322 0.0035' "$("$programs"/example_lstm_layer)"

model=$source/pretrained/multi30k
sentence='Ein Hund läuft am Strand.'
translation=$("$1" translate -m "$model" <<<"$sentence")
[ -n "$translation" ]
check 'there is a translation' 0 $?
check 'translate' "$translation" "$("$programs"/example_translate "$model" "$sentence")"
"$programs"/example_own_search "$model" "$sentence" >words
check 'own_search: exit code' 0 $?
check 'own_search writes what greedy search writes' "$("$1" translate -m "$model" --beam 1 --output pieces <<<"$sentence" | tr -d '▁')" \
    "$(sed 's/ .*//' words | paste -sd' ')"
check 'own_search: a word and its probability on each line' '' "$(grep -Evx '[^ ]+ +[01]\.[0-9]{3}' words)"

for program in translate own_search; do
    "$programs"/example_$program >out 2>err
    check "$program without arguments: exit code" 2 $?
    check "$program without arguments" "usage: $programs/example_$program MODEL SENTENCE" "$(cat out err)"
    "$programs"/example_$program nowhere "$sentence" >out 2>err
    check "$program without a model: exit code" 1 $?
    check "$program without a model" 'nowhere/config.json: cannot open: No such file or directory' "$(cat out err)"
done

[ $failures -eq 0 ]
