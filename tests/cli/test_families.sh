#!/usr/bin/env bash
# Directories of other families through the command: the words of each commands.tsv print what transformers writes.
. "$(dirname "$0")/common.sh"
count=0
for directory in "$source"/tests/golden/whole/*/; do
    name=$(basename "$directory")
    while IFS=$'\t' read -r words input expected; do
        count=$((count + 1))
        case $words in
        caption) got=$("$tandem" caption -m "$directory" --beam 1 "$source/tests/golden/$input" 2>&1) ;;
        generate) got=$("$tandem" generate -m "$directory" --beam 1 <<<"$source/tests/golden/$input" 2>&1) ;;
        *) got=$("$tandem" $words -m "$directory" --beam 1 <<<"$input" 2>&1) ;;
        esac
        check "$name: $words: $input" "$expected" "$got"
    done <"$directory/commands.tsv"
done
check 'how many there were' 13 "$count"

# every family stored as int8 opens again
count=0
for directory in "$source"/tests/golden/families/*/; do
    [ -f "$directory/config.json" ] || continue
    count=$((count + 1))
    "$tandem" convert "$directory" int8 --precision int8 2>err && "$tandem" inspect int8 >out 2>>err
    check "$(basename "$directory"): int8 and back ($(head -c 200 err))" 0 $?
    rm -r int8
done
check 'how many families' 1 $((count > 30))

# a page's cells are no square: 6 rows of 4, over the picture as it was before it was turned
"$tandem" caption -m "$source/tests/golden/whole/donut" --beam 1 --json --attention page.svg "$source/tests/golden/pictures/rgb.png" >out
check 'attention over a page: exit code' 0 $?
cells=$(grep -c '^<rect x.*opacity="0\.[0-9]*"/>$' page.svg) panels=$(grep -c '<use href="#picture"/>' page.svg)
check 'attention over a page: cells of every word' $((24 * (panels - 1))) "$cells"
check 'attention over a page: words' 1 $((panels > 2))

# speech that is cut at pauses, and the program of the examples
"$tandem" transcribe -m "$source/tests/golden/whole/moonshine" --timestamps "$source/tests/golden/audio/mono16.wav" >out 2>err
check "transcribe with Moonshine: exit code ($(cat err))" 0 $?
check 'transcribe with Moonshine: every line' '' "$(grep -aEvx '\[[0-9:.]{12} --> [0-9:.]{12}\] .*' out)"
blip=$source/tests/golden/whole/blip picture=$source/tests/golden/pictures/rgb.png
example=$(dirname "$tandem")/example_caption
"$example" "$blip" "$picture" >out
check 'the example: exit code' 0 $?
check 'the example: three captions, best first' "$("$tandem" caption -m "$blip" --beam 3 "$picture")" "$(head -1 out | sed 's/^ *-[0-9.]*  //')"
check 'the example: their number' 3 "$(wc -l <out)"
"$example" >out 2>err
check 'the example without arguments' "2 usage: $example MODEL PICTURE" "$? $(cat out err)"
"$example" "$blip" nowhere.png >out 2>err
check 'the example without a picture: exit code' 1 $?
check 'the example without a picture' 1 "$(grep -c 'nowhere.png' err)"
exit $((failures > 0))
