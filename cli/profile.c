#include "profile.h"

int cli_profile_begin(const cli_command *command, const char *wanted, td_profile **ret_profile)
{
    td_profile_options options = TD_PROFILE_OPTIONS_INIT;
    td_error error;
    *ret_profile = NULL;
    if (!wanted)
        return -1;
    options.trace = *wanted != 0;
    return td_profile_new(&options, ret_profile, &error) ? cli_complain(command, CLI_FAILED, "%s", error.message) : -1;
}

int cli_profile_end(const cli_command *command, const char *wanted, td_profile *profile, int code)
{
    td_error error;
    if (!profile)
        return code;
    const char *table = td_profile_table(profile);
    fputs(table ? table : "", stderr);
    if (*wanted && td_profile_write_trace(profile, wanted, &error) != TD_OK)
        code = cli_complain(command, CLI_FAILED, "%s", error.message);
    td_profile_free(profile);
    return code;
}
