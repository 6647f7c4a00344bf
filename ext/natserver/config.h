/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The relay's settings: from the command line, the environment (NATRELAY_...) and natrelay-server.conf (a
 * GKeyFile with one group, [server]), all by the one table in options.h. */

#include <glib.h>
#include "natproto/address.h"
#include "natserver/data/dataplane.h"

G_BEGIN_DECLS

#define NAT_CONFIG_GROUP "server"

typedef enum {
  NAT_OPEN_NO,       /* access tokens are needed */
  NAT_OPEN_LOOPBACK, /* no tokens, this machine only */
  NAT_OPEN_ANYONE,
} NatOpen;

typedef struct {
#define NAT_FIELD_TEXT(field)   char *field;  /* NULL = not set */
#define NAT_FIELD_LIST(field)   char **field; /* NULL = not set */
#define NAT_FIELD_NUMBER(field) guint field;
#define NAT_FIELD_FLAG(field)   gboolean field;
#define NAT_FIELD_OPEN(field)   NatOpen field;
#define NAT_OPTION(kind, field, name, where, when, argument, def, min, max, example, help, more)   \
  NAT_FIELD_##kind (field)
#include "natserver/options.h"
#undef NAT_OPTION
  /* What the texts mean, after nat_config_load. */
  NatAddress listen_addresses[NAT_LISTEN_MAX];
  guint n_listen;
  gboolean default_listen; /* nobody asked for these: an address family may be missing */
  NatAddress public_addresses[NAT_LISTEN_MAX];
  guint n_public;
} NatConfig;

/* The command line, then the environment, then the file that the command line names; what was read first wins.
 * Then the meaning of it all. The GError says what to write instead. With --help or --version nothing but
 * that is looked at. */
gboolean nat_config_load (NatConfig *config, int argc, char **argv, GError **error);
void nat_config_clear (NatConfig *config); /* safe on zeroed memory */
/* The names of what only a start reads and is not the same in both, as "listen, workers"; NULL if there is none. */
char *nat_config_changed_start (const NatConfig *a, const NatConfig *b);
/* All that SIGHUP may change. */
void nat_config_swap_reloads (NatConfig *a, NatConfig *b);

G_END_DECLS
