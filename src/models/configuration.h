/* Reading config.json: keys that several families have. Every value that is not supported is an error naming file and key. */
#ifndef TD_MODELS_CONFIGURATION_H
#define TD_MODELS_CONFIGURATION_H

#include "models/architecture.h"

/* A size from the configuration: `key` must be there and within 1..limit. */
td_status td_config_size(const json_t *config, const char *file, const char *key, size_t limit, size_t *ret_size, td_error *error);
/* The same, `fallback` where it is not given; 0: it must be. */
td_status td_config_size_or(const json_t *config, const char *file, const char *key, size_t limit, size_t fallback, size_t *ret_size,
                            td_error *error);
td_status td_config_id(const json_t *config, const char *file, const char *key, int32_t *ret_id, td_error *error);
/* pad, eos, bos, decoder start; a key that is not there means what "model_type" usually has. */
td_status td_config_ids(const json_t *config, const char *file, td_network *network, td_error *error);
/* For families whose positions do not count padding, `pad`: a target that begins with it would have no first position. */
td_status td_config_counted_start(const char *file, int32_t pad, const td_network *network, td_error *error);
/* A number above 0. */
td_status td_config_real(const json_t *config, const char *file, const char *key, double fallback, td_real *ret_value, td_error *error);
/* The ids of the whole model where it names them, else those of its decoder's configuration. */
td_status td_config_nested_ids(const json_t *config, const json_t *decoder, const char *file, td_network *network, td_error *error);
/* False: no such name. */
#define TD_ACTIVATION_NAMES "relu, relu6, gelu, gelu_new, gelu_pytorch_tanh, swish, silu, tanh"
bool td_activation_find(const char *name, td_activation *ret_activation);
td_status td_config_activation(const json_t *config, const char *file, const char *key, const char *fallback, td_activation *ret_activation,
                               td_error *error);
/* `key` must be `wanted` where it is given: another value would mean another network than `model_type` has here. */
td_status td_config_flag(const json_t *config, const char *file, const char *model_type, const char *key, bool wanted, td_error *error);

#endif
