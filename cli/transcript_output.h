/* Transcripts as text, subtitles (SubRip, WebVTT) or JSON. */
#ifndef TANDEM_TRANSCRIPT_OUTPUT_H
#define TANDEM_TRANSCRIPT_OUTPUT_H

#include <stdio.h>
#include <tandem/transcribe.h>

typedef enum transcript_format { TRANSCRIPT_TEXT, TRANSCRIPT_SRT, TRANSCRIPT_VTT, TRANSCRIPT_JSON } transcript_format;

/* All of it on a line. */
void transcript_print_text(const td_transcript *transcript, FILE *stream);
/* A line for each segment, "[00:00:01.000 --> 00:00:02.500] text", each after `before`. */
void transcript_print_times(const td_transcript *transcript, const char *before, FILE *stream);
void transcript_print_srt(const td_transcript *transcript, FILE *stream);
void transcript_print_vtt(const td_transcript *transcript, FILE *stream);
/* {"file":..,"language":..,"seconds":..,"text":..,"segments":[..]} and a line end; transcript NULL: {"file":..,"error":problem}. */
void transcript_print_json(const td_transcript *transcript, const char *file, const char *problem, FILE *stream);

#endif
