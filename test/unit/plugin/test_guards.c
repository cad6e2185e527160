/* SPDX-License-Identifier: Apache-2.0 */
/* What the builder knows of plugins that are not built in, against those that are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "config/plugin_set.c"
#include "plugin/registry.h"

/* A plugin that has come says itself what it guards. */
static void test_others_are_not_built_in(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        for (size_t k = 0; plugin_registry[k]; k++)
            if (strcmp(others[i].name, plugin_registry[k]->name) == 0)
                fail_msg("%s is built in: take it out of the list in plugin_set.c, and see that "
                         "its record says .guard or .auth",
                         others[i].name);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(others[i].name, others[k].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_others_are_not_built_in)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
