/* SPDX-License-Identifier: Apache-2.0 */
/* The commands `eclusa export` and `eclusa import`. */
#ifndef STORE_COMMAND_H
#define STORE_COMMAND_H

/* The program's own arguments, argv[1] being the command. Returns the process's exit code: 0, 1
 * when it failed (said on stderr), 2 when the arguments are wrong. */
int command_export(int argc, char **argv);
int command_import(int argc, char **argv);

#endif
