/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* "natrelay-server status": the streams and sessions of a relay in a terminal. */

/* argv[0] is "status". Returns what the program is to end with. */
int nat_status_command (int argc, char **argv);
