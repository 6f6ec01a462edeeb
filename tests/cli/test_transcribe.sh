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

time='[0-9]{2}:[0-9]{2}:[0-9]{2}'
run --word-timestamps --timestamps "$sound" >words
check '--word-timestamps: every line' '' "$(grep -aEvx "\\[$time\\.[0-9]{3} --> $time\\.[0-9]{3}\\] .*" words)"
check '--word-timestamps: more lines than segments' 1 $(($(wc -l <words) > $(wc -l <times)))
run --word-timestamps --format json "$sound" >json
check '--word-timestamps: in json' "$(wc -l <words)" "$(grep -aoE '\{"start":[0-9.]+,"end":[0-9.]+,"text":"[^}]*"\}' json | wc -l)"
check '--word-timestamps: in srt a cue each' "$(wc -l <words)" "$(run --word-timestamps --format srt "$sound" | grep -aEc "$time,[0-9]{3} --> ")"
run --word-timestamps --format vtt "$sound" >vtt
check '--word-timestamps: in vtt within the cues' "$(wc -l <times)" "$(grep -ac -- '-->' vtt)"
check '--word-timestamps: without times' 'tandem transcribe: --word-timestamps shows in --format json, vtt or srt, or with --timestamps 2' \
    "$(run --word-timestamps "$sound" 2>&1) $?"
check '--temperatures: one is the default' "$text" "$(run --temperatures 0 "$sound")"
check '--temperatures: no list' "tandem transcribe: --temperatures 0,x: at most 32 numbers from 0 to 100 with commas between them, as in 0,0.2,0.4 2" \
    "$(run --temperatures 0,x "$sound" 2>&1) $?"
check 'thresholds are asked: a fallback that samples' 1 $(("$(run --temperatures 0,30 --logprob-threshold -0.001 "$sound" | cmp -s - <(echo "$text"); echo $?)" > 0))
check 'thresholds are asked: nothing is that silent' "$text" "$(run --no-speech-threshold 1 --logprob-threshold 0 "$sound")"
check '--prompt: another text' 1 $(("$(run --prompt ' one ten' "$sound" | cmp -s - <(echo "$text"); echo $?)" > 0))
run --prompt 'one <|transcribe|>' "$sound" >out 2>err
check '--prompt with a special token' 1 "$(grep -c 'the prompt spells the special token <|transcribe|>' err)"
"$tandem" transcribe --prompt x "$source/pretrained/digits/example.wav" >out 2>err
check '--prompt: of Whisper only' 1 "$(grep -c 'prompt is for Whisper checkpoints' err)"
printf 'no sound\n' >noise.wav
run noise.wav >out 2>err
check 'a file that is no sound' 1 "$(grep -c 'noise.wav: not a sound file that can be read (wav, flac, ogg, mp3, ...): ' err)"
check 'a file that is no sound: why' 0 "$(grep -c 'No Error' err)"
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
outputs() { # prompt tokens that single outputs begin with
    "$@" --beam 1 --output pieces --generation max_new_tokens=3 | cut -d ' ' -f 1-3
}
check '--language with --output' '<|en|> <|transcribe|> <|notimestamps|>' "$(outputs "$tandem" transcribe -m "$model" --language en "$sound")"
check '--task with --output' '<|de|> <|translate|> <|notimestamps|>' \
    "$(outputs "$tandem" transcribe -m "$model" --task translate --language de "$sound")"
detected=$(run --language auto --format json "$sound" | sed 's/.*"language":"\([a-z]*\)".*/\1/')
check 'generate --task: language detected' "<|$detected|> <|translate|> <|notimestamps|>
<|$detected|> <|translate|> <|notimestamps|>" "$(outputs "$tandem" generate -m "$model" --task translate --threads 2 - <<<"$sound
$sound")"
check 'generate --task: the text of transcribe' \
    "$("$tandem" transcribe -m "$model" --beam 1 --language de --task translate --timestamps "$sound" | sed 's/^[^]]*] //')" \
    "$(echo "$sound" | "$tandem" generate -m "$model" --beam 1 --from de --task translate --generation return_timestamps=true)"
"$tandem" transcribe -m "$model" --json --task translate --language en "$sound" >json
check '--json --task' 1 "$(grep -c '"outputs":\[{"text":.*"pieces":\["<|en|>","<|translate|>","<|notimestamps|>"' json)"
check 'generate --from: an unknown language' \
    'tandem generate: the model does not know the language "xx"; it knows auto, de, en, fr, ja 2' \
    "$("$tandem" generate -m "$model" --from xx 2>&1 <<<"$sound") $?"
check 'generate --to: none of Whisper' 2 "$("$tandem" generate -m "$model" --to de >out 2>&1 <<<"$sound"; echo $?)"
check '--task: of Whisper only' 'tandem translate: task is for Whisper checkpoints; this model is of type marian 2' \
    "$("$tandem" translate -m "$source/pretrained/multi30k" --task translate 2>&1 <<<a) $?"
check '--top-k without --sample' \
    'tandem transcribe: top_k has no effect on a search; ask for sampling, too (--sample), or leave it out 2' \
    "$(run --top-k 3 "$sound" 2>&1) $?"
check '--top-k with temperatures' 0 "$(run --top-k 3 --temperatures 0,1 "$sound" >out 2>&1; echo $?)"
check '--output ids' '' "$("$tandem" transcribe -m "$model" --beam 1 --output ids "$sound" | tr -d '0-9 \n')"
programs=$(dirname "$tandem")
"$programs"/example_transcribe "$model" "$sound" >out
check 'the example: exit code' 0 $?
check 'the example: a segment a line' '' "$(grep -aEv '^ *[0-9.]+ +[0-9.]+  ' out)"
check 'the bundled model, without being named' 'seven three zero five' "$("$tandem" transcribe "$source/pretrained/digits/example.wav")"
# the recurrent recogniser in int8: stored, read back, and by --precision
"$tandem" convert "$source/pretrained/digits" digits8 --precision int8
check 'int8: what is stored' I8 "$("$tandem" inspect digits8 | sed -n 's/^precision *\([A-Z0-9]*\) .*/\1/p')"
outputs() { "$tandem" transcribe --json "$@" "$source/pretrained/digits/example.wav"; }
check 'int8: stored and made while opening' "$(outputs -m "$source/pretrained/digits" --precision int8)" "$(outputs -m digits8)"
check 'int8: rounded' 1 $(("$(outputs -m digits8 | cmp -s - <(outputs -m "$source/pretrained/digits"); echo $?)" > 0))
for precision in int8 bfloat16; do
    check "$precision: the text" 'seven three zero five' "$("$tandem" transcribe --precision $precision "$source/pretrained/digits/example.wav")"
done
exit $((failures > 0))
