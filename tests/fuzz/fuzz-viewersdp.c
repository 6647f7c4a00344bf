/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A publisher's SDP, as natrelaysrc makes pads of it. What is taken has complete caps, and can be described again. */

#include <stddef.h>
#include <stdint.h>

#include "gstnatrelaysdp.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);
int __lsan_is_turned_off (void);

static void
describe (GPtrArray *tracks)
{
  static const GstNatRelaySdpOrigin origin = {"camera@example", 1, 1};
  GstCaps **caps = g_new0 (GstCaps *, tracks->len + 1);
  gchar *sdp;

  for (guint i = 0; i < tracks->len; i++) {
    const GstNatRelaySdpTrack *t = tracks->pdata[i];

    g_assert_true (gst_caps_is_fixed (t->caps));
    g_assert_cmpuint (t->ssrc, !=, 0);
    g_assert_cmpint (t->media, <, GST_NAT_RELAY_N_MEDIA);
    g_assert_true (gst_nat_relay_sdp_same_codec (t->caps, t->caps));
    if (i > 0)
      g_assert_cmpint (t->media, >=, ((const GstNatRelaySdpTrack *)tracks->pdata[i - 1])->media);
    caps[i] = t->caps;
  }
  sdp = gst_nat_relay_sdp_from_caps (caps, tracks->len, &origin, NULL);
  if (sdp)
    g_assert_true (gst_nat_relay_sdp_same_session (sdp, sdp));
  g_free (sdp);
  g_free (caps);
}

/* GLib's table of quarks grows by leaving the old one behind, on purpose. */
int
__lsan_is_turned_off (void)
{
  return 1;
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autofree char *sdp = g_strndup ((const char *)data, size);
  GPtrArray *tracks;

  /* It comes in JSON, which is UTF-8. */
  if (!g_utf8_validate (sdp, -1, NULL))
    return 0;
  if (!gst_is_initialized ())
    gst_init (NULL, NULL);
  gst_nat_relay_sdp_same_session (sdp, "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\n");
  tracks = gst_nat_relay_sdp_to_tracks (sdp, NULL);
  if (!tracks)
    return 0;
  g_assert_cmpuint (tracks->len, >, 0);
  describe (tracks);
  g_ptr_array_unref (tracks);
  return 0;
}
