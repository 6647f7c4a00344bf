/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/limits.h"

#include <sys/resource.h>

#include "natserver/control/memory.h"

#define DESCRIPTORS_SPARE 64 /* files and what libraries open */

NatAdmissionLimits
nat_limits_admission (const NatConfig *config)
{
  NatAdmissionLimits limits = {
      .requests_per_second = config->max_posts_per_second,
      .requests_burst = config->max_posts_burst,
      .requests_per_hour = config->max_posts_per_hour,
      .sessions = config->max_sessions,
      .sessions_per_subject = config->max_sessions_per_subject,
      .sessions_per_address = config->max_sessions_per_address,
      .requests_per_hour_per_subject = config->max_posts_per_hour_per_subject,
      .streams = config->max_streams,
      .streams_per_subject = config->max_streams_per_subject,
      .streams_per_address = config->max_streams_per_address,
      .subscribers_per_stream = config->max_subscribers_per_stream,
      .patterns = config->max_patterns,
      .patterns_per_stream = config->max_patterns_per_stream,
  };

  return limits;
}

void
nat_limits_media (const NatConfig *config, NatRate rates[NAT_LIMITS])
{
  rates[NAT_LIMIT_STREAM] = (NatRate){config->max_kbps_per_stream, config->max_packets_per_stream};
  rates[NAT_LIMIT_SUBJECT] =
      (NatRate){config->max_kbps_per_subject, config->max_packets_per_subject};
  rates[NAT_LIMIT_ADDRESS] =
      (NatRate){config->max_kbps_per_address, config->max_packets_per_address};
  rates[NAT_LIMIT_ALL] = (NatRate){config->max_kbps, config->max_packets};
}

/* As many as the system lets us have. */
static guint64
raise_descriptors (void)
{
  struct rlimit files;
  rlim_t before;

  if (getrlimit (RLIMIT_NOFILE, &files) != 0)
    return G_MAXUINT64;
  before = files.rlim_cur;
  files.rlim_cur = files.rlim_max;
  if (setrlimit (RLIMIT_NOFILE, &files) != 0)
    files.rlim_cur = before;
  return files.rlim_cur;
}

/* HTTPS has at least a third. */
void
nat_limits_connections (
    const NatConfig *config, guint sockets, NatHttpLimits *http, NatWsLimits *websockets)
{
  guint64 have = raise_descriptors ();
  guint spare = DESCRIPTORS_SPARE + sockets;
  guint64 left = have > spare + 6 ? have - spare : 6;

  *http = (NatHttpLimits){config->max_connections, config->max_connections_per_address,
      config->max_handshakes, config->request_timeout * 1000, NAT_HTTP_IDLE_MS, NULL};
  *websockets = (NatWsLimits){config->max_websockets, config->max_websockets_per_address,
      NAT_WS_STRANGERS, NAT_WEBSOCKET_STRANGERS_US, NAT_CONSENT_US};
  if (left >= (guint64)http->connections + websockets->connections)
    return;
  http->connections =
      (guint)MIN (http->connections, MAX (left / 3, left - MIN (left, websockets->connections)));
  websockets->connections = (guint)MIN (websockets->connections, left - http->connections);
  g_warning ("the system allows %" G_GUINT64_FORMAT " descriptors only (LimitNOFILE, ulimit -n): "
             "max-connections is lowered to %u and max-websockets to %u",
      have, http->connections, websockets->connections);
}

guint64
nat_limits_memory (const NatConfig *config)
{
  if (config->max_memory_mb > 0)
    return (guint64)config->max_memory_mb << 20;
  return nat_memory_of_machine () / 4 * 3;
}
