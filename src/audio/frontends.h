/* The front ends for sound, by the "feature_extractor_type" that they read. */
#ifndef TD_AUDIO_FRONTENDS_H
#define TD_AUDIO_FRONTENDS_H

#include "frontend/kind.h"

extern const td_frontend_kind td_whisper_frontend;        /* WhisperFeatureExtractor */
extern const td_frontend_kind td_speech_to_text_frontend; /* Speech2TextFeatureExtractor */
extern const td_frontend_kind td_waveform_frontend;       /* Wav2Vec2FeatureExtractor */
extern const td_frontend_kind td_tandem_sound_frontend;   /* TandemFeatureExtractor */

#endif
