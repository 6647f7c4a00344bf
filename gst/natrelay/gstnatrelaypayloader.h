/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* How an encoded stream becomes RTP: the payloader of highest rank that takes it, a parser before it where it
 * does not take the stream as it comes, and the settings that live sending needs. */

#include <gst/gst.h>

G_BEGIN_DECLS

/* What a pad takes, whatever is installed: kinds alone, so that a person can read it. */
#define GST_NAT_RELAY_INPUT_CAPS                                                                   \
  "application/x-rtp; "                                                                            \
  "video/x-h264; video/x-h265; video/x-vp8; video/x-vp9; video/x-av1; "                            \
  "image/jpeg; video/mpegts; "                                                                     \
  "audio/x-opus; audio/mpeg; audio/x-alaw; audio/x-mulaw; audio/G722; audio/x-ac3; "               \
  "audio/x-raw, format={ S16BE, S24BE }; "                                                         \
  "meta/x-klv"

/* Owned references; all zero: there is nothing. */
typedef struct {
  GstElement *payloader;
  GstElement *parser; /* or NULL */
} GstNatRelayPayloader;

/* What a pad takes now: GST_NAT_RELAY_INPUT_CAPS, first as payloaders take it without a parser. What no
 * payloader takes stays in it, so that the caps come and the error can name them. Full reference; any
 * thread. */
GstCaps *gst_nat_relay_payloader_query_caps (void);

/* Chooses and makes the elements for fixed caps that are not RTP. FALSE: GST_STREAM_ERROR, with a text
 * that says what is missing and where it comes from. */
gboolean gst_nat_relay_payloader_make (GstNatRelayPayloader *out, GstCaps *caps, GError **error);
/* TRUE: what is plugged takes these caps, too. */
gboolean gst_nat_relay_payloader_accepts (const GstNatRelayPayloader *self, GstCaps *caps);
/* size: bytes of an RTP packet. Any thread. */
void gst_nat_relay_payloader_set_packet_size (GstElement *payloader, guint size);

/* Adds the elements to bin before the sink pad of next, which is not linked, and brings them to bin's state.
 * The sink pad that the stream goes to; full reference. */
GstPad *gst_nat_relay_payloader_plug (
    const GstNatRelayPayloader *self, GstBin *bin, GstElement *next);
/* Lets go what they still hold, without an EOS; on their streaming thread. */
void gst_nat_relay_payloader_drain (const GstNatRelayPayloader *self);
/* Takes the elements out of bin, where nothing streams through them, and lets go of them. */
void gst_nat_relay_payloader_unplug (GstNatRelayPayloader *self, GstBin *bin);

G_END_DECLS
