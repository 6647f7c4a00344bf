/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/problem.h"

static const struct {
  guint status;
  const char *type, *title;
} problems[] = {{200, "about:blank", "No problem"},
#define X(name, status, type, title) {status, NAT_PROBLEM_BASE type, title},
    NAT_PROBLEM_LIST (X)
#undef X
};

guint
nat_problem_status (NatProblemKind kind)
{
  g_return_val_if_fail (kind < G_N_ELEMENTS (problems), 500);
  return problems[kind].status;
}

const char *
nat_problem_type (NatProblemKind kind)
{
  g_return_val_if_fail (kind < G_N_ELEMENTS (problems), "about:blank");
  return problems[kind].type;
}

const char *
nat_problem_title (NatProblemKind kind)
{
  g_return_val_if_fail (kind < G_N_ELEMENTS (problems), "");
  return problems[kind].title;
}
