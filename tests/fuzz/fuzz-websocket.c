/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Frames of a WebSocket client. What comes of them does not depend on how TCP cut them: read whole, and cut
 * as the first byte says, they give the same messages and the same end. */

#include <string.h>

#include "natserver/control/websocket.h"

int LLVMFuzzerTestOneInput (const guint8 *data, gsize size);

static void
read_some (NatWsFrames *ws, const guint8 *data, gsize size, GChecksum *sum)
{
  NatWebsocketEvent event;
  guint8 *bytes;
  gsize len;

  nat_ws_frames_feed (ws, data, size);
  while ((event = nat_ws_frames_next (ws, &bytes, &len)) != NAT_WEBSOCKET_MORE) {
    guint8 tag = (guint8)event;

    g_checksum_update (sum, &tag, 1);
    if (event == NAT_WEBSOCKET_CLOSED)
      return;
    if (len > (event == NAT_WEBSOCKET_PING ? NAT_WEBSOCKET_CONTROL_MAX : NAT_DATAGRAM_MAX))
      g_error ("more than was asked for");
    g_checksum_update (sum, bytes, (gssize)len);
  }
}

static char *
read_all (const guint8 *data, gsize size, gsize step)
{
  NatWsFrames *ws = nat_ws_frames_new ();
  GChecksum *sum = g_checksum_new (G_CHECKSUM_MD5);
  char *text;

  for (gsize at = 0; at < size && nat_ws_frames_code (ws) == 0; at += step) {
    /* Of its own size, so that reading beyond is seen. */
    gsize n = MIN (step, size - at);
    g_autofree guint8 *copy = g_memdup2 (data + at, n);

    read_some (ws, copy, n, sum);
  }
  text = g_strdup_printf ("%s %u", g_checksum_get_string (sum), nat_ws_frames_code (ws));
  g_checksum_free (sum);
  nat_ws_frames_free (ws);
  return text;
}

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  g_autofree char *whole = NULL;
  g_autofree char *cut = NULL;

  if (size < 2)
    return 0;
  whole = read_all (data + 1, size - 1, size);
  cut = read_all (data + 1, size - 1, 1 + data[0]);
  if (strcmp (whole, cut) != 0)
    g_error ("it depends on how it was cut");
  return 0;
}
