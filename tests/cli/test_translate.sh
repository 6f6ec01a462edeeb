#!/usr/bin/env bash
# tandem translate, score and inspect with a tiny model: what transformers makes of it, line ends, broken lines, full disks.
. "$(dirname "$0")/common.sh"

mkdir model
cp "$source"/tests/golden/marian-tokenizer/* "$source"/tests/golden/tiny-translator/* model/
golden=model/expected.tsv
translate() { "$tandem" translate -m model --to de "$@"; }
grep '^de' $golden | cut -f2 >de.in
grep '^de' $golden | cut -f3 >de.out
grep '^de' $golden | cut -f5 >de.ids
grep '^nl' $golden | cut -f3 >nl.out

# golden outputs
check 'text' "$(cat de.out)" "$(translate de.in)"
check 'other language' "$(cat nl.out)" "$("$tandem" generate --model=model --to nl <de.in)"
check 'language in the line' "$(cat nl.out)" "$(sed 's/^/>>nl<< /' de.in | translate)"
check 'ids' "$(cat de.ids)" "$(translate --output ids de.in)"
check 'files and stdin' "$(cat de.out de.out)" "$(translate de.in - <de.in)"
check 'threads and batches' "$(cat de.ids)" "$(translate --output ids --threads 3 --batch-tokens 1 de.in)"
check 'threads and batches: bits of scores' "$(translate --json de.in)" "$(translate --json --threads 3 --batch-tokens 1 de.in)"
check 'score' "$(grep '^de' $golden | cut -f4)" \
    "$(translate --json de.in | sed 's/.*"score":\(-[0-9.]*\).*/\1/' | xargs printf '%.4f\n')"
check 'json keys' '{"index":0,"source":"Rain!","outputs":[{"text":' "$(echo 'Rain!' | translate --json | cut -c1-47)"
check 'sampling repeats' "$(translate --sample --seed 5 de.in)" "$(translate --sample --seed 5 --threads 2 de.in)"
[ "$(translate --sample --seed 5 de.in)" != "$(translate --sample --seed 6 de.in)" ]
check 'seeds differ' 0 $?
# lines of JSON objects
sed 's/.*/{"id": 7, "text": "&", "reply": "Rain!"}/' de.in >de.jsonl
check 'keys' "$(cat de.out)" "$(translate --keys text de.jsonl)"
check 'keys of score' "$(yes 'Rain!' | head -n "$(wc -l <de.in)" >reply; "$tandem" score -m model --to de --source de.in --target reply)" \
    "$("$tandem" score -m model --to de --keys text,reply --source de.jsonl)"
check 'keys: not an object' 1 "$(echo '[1]' | translate --keys text 2>message >/dev/null; echo $?)"
check 'keys: message' 'stdin:1: line is not a JSON object, which --keys asks for' "$(cat message)"
check 'nbest' 12 "$(translate --nbest 2 de.in | wc -l)"
check 'setting' '3' "$(echo 'Rain!' | translate --generation max_new_tokens=3 --output ids | wc -w)"
check 'greedy streams what greedy gives' "$(translate --beam 1 de.in)" "$(translate --stream de.in)"
check 'prefix' 'The' "$(echo 'Rain!' | translate --prefix 'The' | cut -c1-3)"

# profile
check 'profile leaves the output alone' "$(cat de.out)" "$(translate --threads 2 --profile=trace.json de.in 2>profile)"
check 'profile: a table' 'operation calls seconds share Gop/s' "$(head -1 profile | xargs)"
check 'profile: shares' yes "$(sed 1d profile | grep -o '[0-9.]*%' | tr -d % | awk '{ sum += $1 } END { print (sum > 99.5 && sum < 100.5) ? "yes" : sum }')"
check 'profile: products' yes "$(grep -q '^product float32 .* x .* x ' profile && grep -q '^attention ' profile && echo yes)"
check 'profile: a trace' yes "$(grep -q '"ph":"X"' trace.json && tail -1 trace.json | grep -q '^]}$' && echo yes)"
translate --profile de.in 2>profile >/dev/null
check 'profile without a file' 'operation' "$(head -1 profile | cut -d' ' -f1)"

# pieces and ids in
check 'pieces in' "$(translate <<<'Two cats sleep.')" "$(translate --input pieces <<<'▁T wo ▁c at s ▁s le e p .')"
echo "1 2 3 0" >ids
check 'ids out of ids' "$("$tandem" translate -m model --input ids --output ids ids)" \
    "$("$tandem" translate -m model --input ids --output ids --json ids | sed 's/.*"ids":\[\([^]]*\)\].*/\1/; s/,/ /g')"
check 'bad id' "ids:1: \"x\" is not a token id; ids are whole numbers separated by spaces" \
    "$(echo 'x' >ids; "$tandem" translate -m model --input ids ids 2>&1 | head -1)"

# progress
progress() { # standard error with times taken out
    sed -E 's/\r\x1b\[K/@/g; s/ [0-9]+ tokens/ N tokens/g; s/, [0-9hms]+ left//g' err
}
printf 'Rain!\n\nRain!\n' >three.in
translate --progress on three.in 2>err >out
check 'progress over files: the end' '[##############################] 100% 3 lines, N tokens/s' "$(progress | sed 's/.*@//')"
check 'progress does not change the output' "$(translate three.in)" "$(cat out)"
cat three.in | translate --progress on 2>err >out
check 'progress over a pipe: no total' '3 lines, N tokens/s' "$(progress | sed 's/.*@//')"
translate --progress on three.in absent 2>err >out
check 'progress gives way to messages' 'tandem: absent: No such file or directory' "$(sed -E 's/.*\x1b\[K//' err | head -1)"
translate --progress auto three.in 2>err >out
check 'no progress where no terminal is' '' "$(cat err)"
if command -v script >/dev/null && script -qec true /dev/null >/dev/null 2>&1 </dev/null; then
    on_terminal() { script -qec "'$tandem' translate -m model --to de $* three.in >/dev/null" /dev/null </dev/null | tr -d '\n'; }
    check 'progress on a terminal' yes "$(on_terminal | grep -q '100% 3 lines' && echo yes)"
    check 'progress silenced on a terminal' '' "$(on_terminal --progress off)"
fi

# lines
check 'empty lines, carriage returns, no last line end' "$(sed -n 4p de.out)||$(sed -n 4p de.out)|" \
    "$(printf 'Rain!\r\n\r\nRain!' | translate | tr '\n' '|')"
check 'no input' '' "$(translate </dev/null)"
printf 'Rain!\nab\xffcd\nRain!\n' | translate >out 2>err
check 'broken line: exit code' 1 $?
check 'broken line: message' 'stdin:2: line is not UTF-8 (byte 3)' "$(cat err)"
check 'broken line: the rest' "$(sed -n 4p de.out)||$(sed -n 4p de.out)|" "$(tr '\n' '|' <out)"
printf 'a\0b\n' | translate >out 2>err
check 'zero byte' '1 stdin:1: line holds a zero byte' "$? $(cat err)"
head -c 1200000 /dev/zero | tr '\0' a >long
printf '\nRain!\n' >>long
translate long >out 2>err
check 'too long' "1 long:1: line is longer than 1048576 bytes" "$? $(cat err)"
check 'too long: the rest' "|$(sed -n 4p de.out)|" "$(tr '\n' '|' <out)"
yes 'Rain!' | head -50 | tr '\n' ' ' | translate --split none --beam 1 >out 2>err
check 'truncated: exit code' 0 $?
case $(cat err) in "stdin:1: warning: cut to 40 tokens"*) ;; *) check 'truncated: warning' 'a warning' "$(cat err)" ;; esac

# a model that was trained on cut texts
cp -r model shortened
sed 's/^{/{"tandem": {"max_source_length": 12},/' model/config.json >shortened/config.json
check 'cut as in training' "$(yes 'Rain!' | head -50 | tr '\n' ' ' | "$tandem" translate -m shortened --to de --split none --beam 1 2>err) 1" \
    "$("$tandem" translate -m shortened --to de --split none --beam 1 <<<"$(yes 'Rain!' | head -70 | tr '\n' ' ')" 2>/dev/null) $(grep -c 'warning: cut to 12 tokens' err)"
check 'cut as in training: inspect' 12 "$("$tandem" inspect --json shortened | sed 's/.*"max_source": *\([0-9]*\).*/\1/')"
sed 's/^{/{"tandem": {"max_source_length": -1},/' model/config.json >shortened/config.json
echo 'Rain!' | "$tandem" translate -m shortened --to de 2>err >/dev/null
check 'cut to nonsense' '1 tandem translate: shortened/config.json: tandem.max_source_length is -1; it must be 1 or more' "$? $(cat err)"

# minimum Bayes risk
check 'minimum risk: threads' "$(translate --beam 8 --mbr chrf de.in)" "$(translate --beam 8 --mbr chrf --threads 3 --batch-tokens 1 de.in)"
check 'minimum risk: one candidate' "$(translate de.in)" "$(translate --mbr bleu --candidates 1 de.in)"
check 'minimum risk: n-best' 12 "$(translate --mbr rouge --nbest 2 de.in | wc -l)"
echo 'Rain!' | translate --candidates 4 2>err >/dev/null
check 'candidates without a metric' 2 $?

# long lines, sentence by sentence
rain=$(echo 'Rain!' | translate) sleep=$(echo 'Two cats sleep.' | translate)
for i in 1 2 3 4 5 6; do printf 'Rain!   Two cats sleep. '; done | sed 's/ $//' >paragraph
for i in 1 2 3 4 5 6; do printf '%s   %s ' "$rain" "$sleep"; done | sed 's/ $//' >wanted
echo >>paragraph; echo >>wanted
printf 'Rain!\n\n' | cat - paragraph >>paragraphs
check 'split: sentences with their spacing' "$(printf '%s\n\n' "$rain" | cat - wanted)" "$(translate paragraphs 2>&1)"
check 'split: another verb' "$(cat wanted)" "$("$tandem" generate -m model --to de --split sentences paragraph 2>&1)"
check 'split: segments' 12 "$(translate --json paragraph | grep -o '"source":"[^"]*","text"' | wc -l)"
check 'split: short lines stay whole' 0 "$(translate --json de.in | grep -c segments)"

# failures
check 'missing file' 'tandem: nothere: No such file or directory' "$(translate nothere de.in 2>&1 >out)"
check 'missing file: the rest' "$(cat de.out)" "$(cat out)"
if [ -w /dev/full ]; then
    translate de.in >/dev/full 2>err
    check 'full disk' "1 tandem translate: standard output: No space left on device" "$? $(cat err)"
fi
fails() { # what, exit code, message, command...
    local what=$1 code=$2 message=$3 output
    shift 3
    output=$("$@" 2>&1 >/dev/null </dev/null)
    check "$what" "$code $message" "$? $output"
}
fails 'language wanted' 2 'tandem translate: the model writes several languages; choose the target language: de, nl' \
    "$tandem" translate -m model
fails 'language unknown' 2 'tandem translate: the model does not write "fr"; it knows de, nl' "$tandem" translate -m model --to fr
fails 'source language unheard' 2 'tandem translate: the model takes no source language ("fr"): it reads what it was trained on' \
    translate --from fr
cp -r model pair && sed 's/^{/{"source_lang": "en", "target_lang": "de",/' model/tokenizer_config.json >pair/tokenizer_config.json
check 'source language known' "$(cat de.out)" "$("$tandem" translate -m pair --to de --from en de.in)"
fails 'source language unknown' 2 'tandem translate: the model does not read "fr"; it knows en' "$tandem" translate -m pair --to de --from fr
fails 'target language unheard' 2 'tandem generate: the model takes no target language ("fr"): it writes what it was trained on' \
    "$tandem" generate -m "$source/pretrained/digits" --to fr
fails 'source language of ids' 2 'tandem translate: the model does not read "fr"; it knows en' \
    "$tandem" translate -m pair --to de --from fr --input ids
for option in temperature top-k top-p; do
    fails "$option without sampling" 2 \
        "tandem translate: ${option//-/_} has no effect on a search; ask for sampling, too (--sample), or leave it out" translate --$option 1
done
check 'top-k with sampling' 0 "$(translate --sample --top-k 3 --temperature 2 --top-p 0.9 de.in >out; echo $?)"
check 'top-k with sampling in settings' "$(cat out)" "$(translate --generation do_sample=true --generation num_beams=1 --top-k 3 --temperature 2 --top-p 0.9 de.in)"
fails 'nbest above beam' 2 'tandem translate: --nbest 5 is more than the --beam 4' translate --nbest 5 --beam 4
fails 'stream and beam' 2 'tandem translate: --stream prints words as they are chosen, which a beam does not settle; it needs --beam 1 or --sample' \
    translate --stream --beam 4
fails 'no model' 1 'tandem translate: nomodel/config.json: cannot open: No such file or directory' "$tandem" translate -m nomodel
fails 'no bundled model' 2 'tandem summarize: no model comes with this verb; name one with --model DIR' "$tandem" summarize
head -c 5000 model/model.safetensors >cut
mkdir broken && cp model/* broken/ && cp cut broken/model.safetensors
"$tandem" translate -m broken --to de de.in >/dev/null 2>err
check 'weights cut short' 1 $?
grep -q 'broken/model.safetensors' err
check 'weights cut short: names the file' 0 $?

# attention
translate --attention map.svg --json --output ids <<<'Rain!' | grep -q '"attention":\[\['
check 'attention in json' 0 $?
check 'attention picture' '<svg </svg>' "$(head -c 5 map.svg)$(tail -1 map.svg)"
mkfifo map.pipe
cat map.pipe >piped.svg &
translate --attention map.pipe <<<'Rain!' >out
wait $!
check 'a pipe is written to, not replaced' "yes $(cksum <map.svg)" "$([ -p map.pipe ] && echo yes) $(cksum <piped.svg)"

# lesser processors
bundled() { "$tandem" translate --to en --precision "$1" <<<$'Ein Hund rennt im Schnee.\nZwei Frauen kochen Suppe in einer kleinen Küche.'; }
for isa in plain avx2; do
    check "text with TANDEM_ISA=$isa" "$(cat de.out)" "$(TANDEM_ISA=$isa translate de.in)"
    for precision in float32 bfloat16 int8; do
        check "text with TANDEM_ISA=$isa in $precision" "$(bundled $precision)" "$(export TANDEM_ISA=$isa; bundled $precision)"
    done
done

# score: forced along the way that greedy search took, the sum of what greedy search saw
translate --beam 1 --json <<<'Rain!' >greedy
sed 's/.*"ids":\[\([^]]*\)\].*/\1/; s/,/ /g' greedy >target
sum=$(sed 's/.*"token_logprobs":\[\([^]]*\)\].*/\1/' greedy | awk -F, '{for (i = 1; i <= NF; i++) s += $i; printf "%.3f", s}')
echo '254 2 127 29 1 0' >rain.ids # ">>de<< Rain!" as transformers tokenizes it, and "The key."
echo '118 149 6 2 1 6 9 4 0' >key.ids
echo 'Rain!' >rain
echo 'The key.' >key
score() { "$tandem" score -m model "$@"; }
check 'score of greedy output' "$sum" "$(score --input ids --source rain.ids --target target | xargs printf '%.3f')"
check 'score of text' "$(score --input ids --source rain.ids --target key.ids)" "$(score --to de --source rain --target key)"
check 'score keys' '{"index":0,"score":-' "$(score --json --to de --source rain --target key | cut -c1-20)"
printf 'one\n' >one
fails 'score: unlike files' 1 'tandem score: one has fewer lines than de.in' \
    "$tandem" score -m model --to de --source de.in --target one
fails 'score: called wrongly' 2 'tandem score: two files are wanted: --source FILE --target FILE' "$tandem" score -m model

# inspect
"$tandem" inspect model >out
check 'inspect' 0 $?
for line in 'family  *marian  *(config.json: model_type)' 'licence  *cc0-1.0  *(README.md)' 'target languages  *de nl' 'width  *32 '; do
    grep -q "^$line" out
    check "inspect: $line" 0 $?
done
check 'inspect --json' '{"family":"marian","encoder_layers":1,' "$("$tandem" inspect --json model | cut -c1-38)"
fails 'inspect: called wrongly' 2 'tandem inspect: one DIR is wanted, a model directory' "$tandem" inspect

# interrupted: what was read is answered, and the command says why it ends
mkfifo pipe
"$tandem" translate -m model --to de <pipe >out 2>err &
exec 3>pipe
echo 'Rain!' >&3
for _ in $(seq 100); do [ -s out ] && break; sleep 0.1; done
kill -INT $!
wait $!
check 'interrupted: exit code' 1 $?
exec 3>&-
check 'interrupted: output' "$(sed -n 4p de.out)" "$(cat out)"
check 'interrupted: message' 'tandem translate: interrupted after 1 lines' "$(cat err)"

[ "$failures" = 0 ] || { echo "$failures failed"; exit 1; }
