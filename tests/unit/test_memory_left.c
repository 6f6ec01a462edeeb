/* What the system says of memory, from made-up files in the place of /proc and /sys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/file.h"
#include "platform/memory_left.h"

static char root[] = "/tmp/tandem-memory-left-XXXXXX";

static int enter(void **state)
{
    (void)state;
    return mkdtemp(root) ? 0 : -1;
}

static int leave(void **state)
{
    (void)state;
    return td_directory_remove(root, NULL) == TD_OK ? 0 : -1;
}

static void put(const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", root, name);
    for (char *slash = path + strlen(root) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = 0;
        assert_int_equal(td_directory_create(path, NULL), TD_OK);
    }
    assert_int_equal(td_file_write(path, text, strlen(text), NULL), TD_OK);
}

static size_t left(void)
{
    size_t bytes = 0;
    assert_true(td_memory_left(root, &bytes));
    return bytes;
}

static void nothing_is_known(void **state)
{
    (void)state;
    size_t bytes = 7;
    assert_false(td_memory_left(root, &bytes));
    assert_int_equal(bytes, 7);
}

static void of_the_machine(void **state)
{
    (void)state;
    put("proc/meminfo", "MemTotal:       24000000 kB\nMemFree:         1000 kB\nMemAvailable:    5000 kB\nBuffers: 1 kB\n");
    assert_int_equal(left(), 5000 * 1024);
    put("proc/self/cgroup", "0::/\n");
    assert_int_equal(left(), 5000 * 1024);
}

static void of_control_groups(void **state)
{
    (void)state;
    put("proc/self/cgroup", "9:name=systemd:/\n0::/all/mine\n");
    put("sys/fs/cgroup/all/mine/memory.max", "max\n");
    put("sys/fs/cgroup/all/mine/memory.current", "1000000\n");
    assert_int_equal(left(), 5000 * 1024);
    put("sys/fs/cgroup/all/memory.max", "3000000\n");
    put("sys/fs/cgroup/all/memory.current", "2500000\n");
    assert_int_equal(left(), 500000);
    put("sys/fs/cgroup/all/memory.stat", "anon 1200000\nfile 1300000\ninactive_file 700000\nactive_file 300000\n");
    assert_int_equal(left(), 1500000);
    put("sys/fs/cgroup/all/mine/memory.max", "1400000\n");
    assert_int_equal(left(), 400000);
    put("sys/fs/cgroup/all/mine/memory.max", "900000\n");
    assert_int_equal(left(), 0);
}

/* The path is that outside of the container; its own group is the mount itself. */
static void of_the_first_version(void **state)
{
    (void)state;
    put("proc/self/cgroup", "5:cpu:/elsewhere\n4:memory:/outside/of/it\n0::/\n");
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "2000000\n");
    put("sys/fs/cgroup/memory/memory.usage_in_bytes", "1500000\n");
    assert_int_equal(left(), 500000);
    put("sys/fs/cgroup/memory/memory.stat", "inactive_file 5\ntotal_inactive_file 100000\ntotal_active_file 20000\n");
    assert_int_equal(left(), 620000);
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    assert_int_equal(left(), 5000 * 1024);
}

static void of_this_machine(void **state)
{
    (void)state;
    size_t bytes = 0;
    if (!td_memory_left("", &bytes))
        skip();
    print_message("%.1f MB\n", (double)bytes / 1e6);
    assert_true(bytes > 1 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_is_known), cmocka_unit_test(of_the_machine),
                                       cmocka_unit_test(of_control_groups), cmocka_unit_test(of_the_first_version),
                                       cmocka_unit_test(of_this_machine)};
    return cmocka_run_group_tests(tests, enter, leave);
}
