/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* g_error ends a program by SIGTRAP, of which libFuzzer knows nothing: it would not keep the input. */

#include <signal.h>
#include <stdlib.h>

int LLVMFuzzerInitialize (int *argc, char ***argv);

static void
on_trap (int number)
{
  abort ();
}

int
LLVMFuzzerInitialize (int *argc, char ***argv)
{
  signal (SIGTRAP, on_trap);
  return 0;
}
