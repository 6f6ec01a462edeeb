/* From a recipe to the files of a model directory: config.json and generation_config.json in the published layout that fits. */
#ifndef TD_TRAINING_MODEL_CONFIG_H
#define TD_TRAINING_MODEL_CONFIG_H

#include "decoding/generate.h"
#include "text/tokenizer.h"
#include "training/recipe.h"

#include <jansson.h>

/* How much of a captioner's picture encoder is trained goes into its configuration, of model.from only where the recipe says so. */
td_status td_model_encoder_training(const td_recipe *recipe, json_t *config, td_error *error);
/* New references. feature_width: columns of the source's features; 0 for text. */
td_status td_model_config(const td_recipe *recipe, const td_tokenizer *tokenizer, size_t feature_width, json_t **ret_config,
                          td_error *error);
td_status td_model_generation_config(const td_recipe *recipe, const td_tokenizer *tokenizer, json_t **ret_config, td_error *error);
/* The same for a run that starts from another model, whose config.json is `config`: NULL where that model has no such file and the recipe
 * says nothing of generation, so that config.json goes on to say it. */
td_status td_model_tuned_generation(const td_recipe *recipe, const td_tokenizer *tokenizer, const json_t *config, json_t **ret_config,
                                    td_error *error);

/* How the model in the run's directory begins to write (and that it never writes padding): what its generation_config.json says. */
td_status td_model_starts(const td_recipe *recipe, const td_tokenizer *tokenizer, td_generation *generation, td_error *error);

/* preprocessor_config.json of models of sound and pictures. */
td_status td_model_preprocessor_config(const td_recipe *recipe, json_t **ret_config, td_error *error);

#endif
