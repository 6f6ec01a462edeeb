#!/usr/bin/env bash
# tandem vocabulary and average, and the program of the header.
. "$(dirname "$0")/common.sh"

fails() { # exit code, message, command...
    local code=$1 message=$2 output
    shift 2
    output=$("$@" 2>&1 </dev/null)
    check "$*" "$code $message" "$? $output"
}

# vocabulary
for i in 1 2 3 4 5 6 7 8; do
    printf 'The boat number %s leaves.\nA cat looks at the boat.\nNobody sees the cat leave.\n' $i
done >text
gzip -k text
"$tandem" vocabulary --source text --output one --size 48
check 'vocabulary: exit code' 0 $?
check 'vocabulary: files' 'source.spm special_tokens_map.json target.spm tokenizer_config.json vocab.json' "$(ls one | xargs)"
"$tandem" vocabulary --source text.gz --target text -o two --size=48 --language de
check 'vocabulary: language' 1 "$(grep -c '>>de<<' two/vocab.json)"
check 'vocabulary: the same text, the same model' "$(cksum <one/source.spm)" "$(cksum <two/source.spm)"
fails 2 'tandem vocabulary: --source FILE and --output DIR are wanted' "$tandem" vocabulary text
mkdir scratch
TMPDIR=scratch "$tandem" vocabulary --source - -o piped --size 48 <text.gz
check 'vocabulary: from standard input' "$(cksum <one/source.spm)" "$(cksum <piped/source.spm)"
check 'vocabulary: nothing left of standard input' '' "$(ls scratch)"
check 'vocabulary: standard input twice' '2 tandem vocabulary: standard input can be one file only; name the others' \
    "$("$tandem" vocabulary --source - --target - -o three 2>err <text; echo "$?" "$(cat err)")"
fails 1 'tandem vocabulary: nofile: cannot open: No such file or directory' "$tandem" vocabulary --source nofile -o three

# average: of one model itself; of two, what lies between
mkdir model other
cp "$source"/tests/golden/marian-tokenizer/* "$source"/tests/golden/tiny-translator/* model/
cp model/* other/
"$tandem" average --output same model other model
check 'average: exit code' 0 $?
check 'average of equal models' "$("$tandem" translate -m model --to de --json <<<'Two cats sleep.')" \
    "$("$tandem" translate -m same --to de --json <<<'Two cats sleep.')"
cp "$source"/tests/golden/tiny-marian/model.safetensors other/
"$tandem" average -o mixed model other 2>err
check 'average of unlike models: exit code' 1 $?
check 'average of unlike models: nothing written' no "$([ -e mixed/model.safetensors ] && echo yes || echo no)"
fails 2 'tandem average: directories to average and an --output DIR are wanted' "$tandem" average model

# convert says when a directory holds something else than expected
fails 1 'tandem convert: model: holds no model.bin, which is where a CTranslate2 model is' "$tandem" convert model none --from ct2
"$tandem" convert model whole --from safetensors
check 'convert: the form expected' "$(cksum <model/config.json)" "$(cksum <whole/config.json)"

# interrupted: nothing is left half written. The weights of 256 MB are a hole in a file, so that writing them takes a while.
header='{"w":{"dtype":"F16","shape":[67108864],"data_offsets":[0,134217728]}}  '
mkdir huge && printf '%b%s' "\\x$(printf %02x ${#header})\\0\\0\\0\\0\\0\\0\\0" "$header" >huge/model.safetensors
truncate -s $((8 + ${#header} + 134217728)) huge/model.safetensors
cp model/config.json huge/
for command in "convert huge stopped" "average -o stopped huge huge"; do
    rm -rf stopped
    "$tandem" $command 2>err &
    seen=no
    while kill -0 $! 2>>err; do
        compgen -G 'stopped/model.safetensors.*.partial' >>out && seen=yes && kill -TERM $! && break
    done
    wait $!
    check "interrupted ${command%% *}: exit code" 1 $?
    check "interrupted ${command%% *}: seen at work" yes $seen
    check "interrupted ${command%% *}: what is left" '' "$(ls stopped | grep -e partial -e safetensors)"
    check "interrupted ${command%% *}: says so" "tandem ${command%% *}: interrupted" "$(grep tandem err)"
done
rm -rf huge stopped

# convert to int8: the file gives what rounding while loading gives, and is not rounded twice
"$tandem" convert model small --precision int8
check 'convert to int8: exit code' 0 $?
check 'an int8 directory' "$("$tandem" translate -m model --to de --json --precision int8 <<<'Two cats sleep.')" \
    "$("$tandem" translate -m small --to de --json <<<'Two cats sleep.')"
check 'an int8 file is smaller' yes "$([ "$(stat -c %s small/model.safetensors)" -lt "$(stat -c %s model/model.safetensors)" ] && echo yes)"
"$tandem" convert small again
check 'convert from int8: exit code' 0 $?
check 'convert from int8: the numbers that int8 stands for' \
    "$("$tandem" translate -m small --to de --json --precision float32 <<<'Two cats sleep.')" \
    "$("$tandem" translate -m again --to de --json <<<'Two cats sleep.')"
"$tandem" convert small twice --precision int8 2>err
check 'convert from int8 to int8: exit code' 1 $?
check 'convert from int8 to int8: why' yes "$(grep -q 'is int8 already; use the model it was made from' err && echo yes)"

# the program of the header; a model of several languages wants one chosen, so this one gets a default
example=$(dirname "$tandem")/example_translate
if [ -x "$example" ]; then
    sed '0,/{/s//{"tandem": {"target_language": "de"},/' model/config.json >config && mv config same/config.json
    check 'example' "$("$tandem" translate -m model --to de <<<'Rain!')" "$("$example" same 'Rain!')"
    check 'default language' "$("$tandem" translate -m model --to de <<<'Rain!')" "$("$tandem" translate -m same <<<'Rain!')"
fi
[ "$failures" = 0 ] || { echo "$failures failed"; exit 1; }
