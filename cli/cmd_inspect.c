/* tandem inspect: what a model is, and where each number comes from. */
#include "command.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <tandem/tandem.h>

typedef struct inspect_values {
    bool json;
} inspect_values;

const cli_option inspect_options[] = {
    {"json", 0, CLI_FLAG, offsetof(inspect_values, json), NULL, "one JSON object", 0, 0},
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, 0, 0},
};

/* 1234567 -> "1.2 M"; bytes in powers of two. */
static void format_size(const td_fact *fact, char *text, size_t size)
{
    double value = strtod(fact->value, NULL);
    bool bytes = strstr(fact->name, "bytes") || strncmp(fact->name, "memory", 6) == 0;
    double base = bytes ? 1024 : 1000;
    static const char *const units[] = {"", "k", "M", "G", "T"};
    size_t unit = 0;
    while (value >= base && unit < 4) {
        value /= base;
        unit++;
    }
    if (unit == 0 || !(bytes || strcmp(fact->name, "parameters") == 0))
        snprintf(text, size, "%s", fact->value);
    else
        snprintf(text, size, "%.1f %s%s", value, units[unit], bytes ? "iB" : "");
}

static void print_facts(const td_model *model)
{
    const td_fact *fact;
    for (size_t i = 0; (fact = td_model_fact(model, i)) != NULL; i++) {
        char value[512], name[64];
        if (fact->number)
            format_size(fact, value, sizeof value);
        else
            snprintf(value, sizeof value, "%s", fact->value);
        snprintf(name, sizeof name, "%s", fact->name);
        for (char *at = name; *at; at++)
            if (*at == '_')
                *at = ' ';
        printf("%-22s %-20s (%s)\n", name, value, fact->from);
    }
}

static void print_json(const td_model *model)
{
    json_t *object = json_object();
    const td_fact *fact;
    for (size_t i = 0; (fact = td_model_fact(model, i)) != NULL; i++) {
        json_t *value = fact->number ? json_loads(fact->value, JSON_DECODE_ANY, NULL) : json_string(fact->value);
        json_object_set_new(object, fact->name, value ? value : json_null());
    }
    json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
    fputc('\n', stdout);
    json_decref(object);
}

int cmd_inspect(const cli_command *command, int argc, char **argv)
{
    inspect_values values = {false};
    td_model *model = NULL;
    td_error error;
    int positional = 0;
    int code = cli_parse(command, argc, argv, &values, &positional);
    if (code >= 0)
        return code;
    if (positional != 1)
        return cli_complain(command, CLI_USAGE, "one DIR is wanted, a model directory");
    if (td_model_open(argv[1], NULL, &model, &error) != TD_OK)
        return cli_complain(command, CLI_FAILED, "%s", error.message);
    if (values.json)
        print_json(model);
    else
        print_facts(model);
    td_model_close(model);
    return cli_finish_output(command, CLI_DONE);
}
