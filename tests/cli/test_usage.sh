#!/usr/bin/env bash
# The command without a model: its pages, versions, mistakes and exit codes.
. "$(dirname "$0")/common.sh"

fails() { # exit code, message, command...
    local code=$1 message=$2 output
    shift 2
    output=$("$@" 2>&1 >out </dev/null)
    check "$*" "$code $message" "$? $output"
    check "$*: nothing on standard output" '' "$(cat out)"
}

"$tandem" >overview
check 'alone: exit code' 0 $?
check 'alone: one screen' yes "$([ "$(wc -l <overview)" -le 24 ] && echo yes)"
check 'two examples' 2 "$(grep -c '^  echo\|^  tandem ' overview)"
check 'help is the same' "$(cat overview)" "$("$tandem" help)"
check '--help is the same' "$(cat overview)" "$("$tandem" --help)"
check 'version' "tandem $(sed -n 's/^project(tandem VERSION \([0-9.]*\).*/\1/p' "$source/CMakeLists.txt")" "$("$tandem" --version)"

# every verb listed has a page, the same both ways, of lines that fit
verbs=$(sed -n 's/^  \([a-z]*\)  .*/\1/p' overview)
check 'verbs' yes "$([ "$(wc -w <<<"$verbs")" -ge 6 ] && echo yes)"
for verb in $verbs; do
    "$tandem" help "$verb" >page
    check "help $verb: exit code" 0 $?
    check "$verb --help" "$(cat page)" "$("$tandem" "$verb" --help)"
    check "$verb: usage" "Usage: tandem $verb" "$(head -1 page | cut -d' ' -f1-3)"
    check "$verb: lines fit" '' "$(awk 'length > 110' page)"
    grep -q "tandem $verb" <("$tandem" help --man)
    check "$verb: in the man page" 0 $?
done

fails 2 'tandem: unknown verb "translat"; did you mean "translate"?' "$tandem" translat
fails 2 'tandem: unknown verb "xyzzyplugh"; `tandem` alone lists the verbs' "$tandem" xyzzyplugh
fails 2 'tandem: unknown verb "inspekt"; did you mean "inspect"?' "$tandem" help inspekt
fails 2 'tandem: unknown option --verbose; `tandem` alone prints the usage' "$tandem" --verbose
fails 2 'tandem translate: unknown option --bean; did you mean --beam?' "$tandem" translate --bean 4
fails 2 'tandem translate: unknown option --lenght-penalty; did you mean --length-penalty?' "$tandem" translate --lenght-penalty=1
fails 2 'tandem translate: unknown option --colour; `tandem help translate` lists the options' "$tandem" translate --colour
fails 2 'tandem translate: unknown option -z; `tandem help translate` lists the options' "$tandem" translate -z
fails 2 'tandem translate: --beam needs an argument: N' "$tandem" translate --beam
fails 2 'tandem translate: --beam takes a whole number from 1 to 1024, not "0"' "$tandem" translate --beam 0
fails 2 'tandem translate: --beam takes a whole number from 1 to 1024, not "4x"' "$tandem" translate --beam=4x
fails 2 'tandem translate: --top-p takes a number from 1e-06 to 1, not "nan"' "$tandem" translate --top-p nan
fails 2 'tandem translate: --output is one of text|pieces|ids, not "json"' "$tandem" translate --output json
fails 2 'tandem translate: --json takes no argument' "$tandem" translate --json=yes
fails 2 'tandem translate: --sample draws and --beam searches; choose one' "$tandem" translate --sample --beam 3
fails 2 'tandem inspect: one DIR is wanted, a model directory' "$tandem" inspect
fails 2 'tandem generate: no model comes with this verb; name one with --model DIR' "$tandem" generate
if [ -w /dev/full ]; then
    "$tandem" help >/dev/full 2>err
    check 'full disk' '1 tandem: standard output: No space left on device' "$? $(cat err)"
fi
[ "$failures" = 0 ] || { echo "$failures failed"; exit 1; }
