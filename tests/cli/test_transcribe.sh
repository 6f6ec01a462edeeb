#!/usr/bin/env bash
# tandem transcribe: one recording and several, every format, and mistakes.
. "$(dirname "$0")/common.sh"
model=$source/tests/golden/whisper-long
sound=$source/tests/golden/audio/mono16.wav
other=$source/tests/golden/audio/wide.flac
run() { "$tandem" transcribe -m "$model" --beam 1 --language en "$@"; }

text=$(run "$sound")
check 'text: exit code' 0 $?
check 'several files: name, tab, text' "$sound	$text
$other	$(run "$other")" "$(run "$sound" "$other")"
check 'threads do not matter' "$(run --threads 1 "$sound" "$other")" "$(run --threads 4 "$sound" "$other")"
printf '%s\n' "$sound" "$other" >list
check '--list' "$(run "$sound" "$other")" "$(run --list list)"

run --timestamps "$sound" >times
check '--timestamps: every line' '' "$(grep -aEvx '\[[0-9:.]{12} --> [0-9:.]{12}\] .*' times)"
run --format vtt "$sound" >vtt
check 'vtt: the head' 'WEBVTT' "$(head -1 vtt)"
check 'vtt: as many segments as lines with times' "$(wc -l <times)" "$(grep -ac -- '-->' vtt)"
run --format srt "$sound" >srt
check 'srt: numbered from 1' 1 "$(head -1 srt)"
check 'srt: the times of vtt with commas' "$(grep -a -- '-->' vtt)" "$(grep -a -- '-->' srt | tr , .)"
run --format json "$sound" "$other" >json
check 'json: an object a file' 2 "$(grep -c '^{"file":".*","language":"en","seconds":[0-9.]*,"text":".*","segments":\[.*\]}$' json)"

run "$sound" nowhere.wav "$other" >out 2>err
check 'a file that is missing: exit code' 1 $?
check 'a file that is missing: the others' 2 "$(wc -l <out)"
check 'a file that is missing: its name' 1 "$(grep -c '^nowhere.wav: .*No such file' err)"
check 'a file that is missing: named once' 0 "$(grep -c 'nowhere.wav.*nowhere.wav' err)"
check 'subtitles of two files' 'tandem transcribe: --format srt writes the subtitles of one file; call it for each, or use --format json 2' \
    "$(run --format srt "$sound" "$other" 2>&1) $?"
run --language xx "$sound" >out 2>err
check 'an unknown language: exit code' 1 $?
check 'an unknown language: those there are' 1 "$(grep -c 'does not know the language "xx"; it knows auto, ' err)"
run --output ids "$sound" >out 2>err
check '--language with --output' 2 $?
check '--output ids' '' "$("$tandem" transcribe -m "$model" --beam 1 --output ids "$sound" | tr -d '0-9 \n')"
programs=$(dirname "$tandem")
"$programs"/example_transcribe "$model" "$sound" >out
check 'the example: exit code' 0 $?
check 'the example: a segment a line' '' "$(grep -aEv '^ *[0-9.]+ +[0-9.]+  ' out)"
check 'the bundled model, without being named' 'seven three zero five' "$("$tandem" transcribe "$source/pretrained/digits/example.wav")"
exit $((failures > 0))
