/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/sessionconfig.h"

#include <string.h>

#include "natproto/crypto.h"

#define HTTPS_PORT       443 /* that firewalls and proxies know */
#define TIMEOUT_MS       15000
#define BACKOFF_FACTOR_S 0.25
#define BACKOFF_MAX_S    10.0

void
nat_session_config_init (NatSessionConfig *config)
{
  memset (config, 0, sizeof *config);
  config->role = NAT_ROLE_SUBSCRIBER;
  config->port = NAT_DEFAULT_PORT;
  config->second_port = HTTPS_PORT;
  config->tls_validation_flags = G_TLS_CERTIFICATE_VALIDATE_ALL;
  config->qos_dscp = -1;
  config->timeout_ms = TIMEOUT_MS;
  config->auto_reconnect = TRUE;
  config->retries = -1;
  config->backoff_factor = BACKOFF_FACTOR_S;
  config->backoff_max = BACKOFF_MAX_S;
}

void
nat_session_config_clear (NatSessionConfig *config)
{
  g_free (config->host);
  g_free (config->stream);
  g_free (config->exclude);
  nat_crypto_wipe_free (config->auth_token);
  g_free (config->tls_ca_file);
  g_free (config->tls_fingerprint);
  g_clear_object (&config->tls_database);
  nat_crypto_wipe_free (config->proxy);
  g_free (config->bind_address);
  memset (config, 0, sizeof *config);
}

void
nat_session_config_copy (NatSessionConfig *to, const NatSessionConfig *from)
{
  *to = *from;
  to->host = g_strdup (from->host);
  to->stream = g_strdup (from->stream);
  to->exclude = g_strdup (from->exclude);
  to->auth_token = g_strdup (from->auth_token);
  to->tls_ca_file = g_strdup (from->tls_ca_file);
  to->tls_fingerprint = g_strdup (from->tls_fingerprint);
  if (to->tls_database != NULL)
    g_object_ref (to->tls_database);
  to->proxy = g_strdup (from->proxy);
  to->bind_address = g_strdup (from->bind_address);
  to->timeout_ms = MAX (from->timeout_ms, 1);
}

void
nat_session_stats_clear (NatSessionStats *stats)
{
  nat_cause_free (stats->last_cause);
  memset (stats, 0, sizeof *stats);
}
