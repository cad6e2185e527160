/* SPDX-License-Identifier: Apache-2.0 */
/* The program: arguments, signals, start and stop order. */
#include <stdio.h>

int main(void)
{
    puts("eclusa " ECLUSA_VERSION);
    return 0;
}
