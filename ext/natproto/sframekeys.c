/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/sframekeys.h"

#include <string.h>

#include "natproto/bytes.h"
#include "natproto/crypto.h"
#include "natproto/replay.h"
#include "natproto/rtp.h"

/* A window of 16320 packets: 2 s of video at 50 Mbit/s in packets of 1200 bytes are 10400, and the
 * relay's cache spans no more. */
#define REPLAY_WORDS    NAT_REPLAY_WORDS_MAX
#define OPENER_KEYS_MAX 4
#define RTP_PADDING     0x20

void
nat_media_key_generate (NatMediaKey *key, NatSframeSuite suite)
{
  guint8 kid[2];

  nat_crypto_random (kid, sizeof kid);
  key->kid = nat_read_u16 (kid);
  key->suite = suite;
  nat_crypto_random (key->key, sizeof key->key);
}

void
nat_media_key_generate_next (NatMediaKey *key, const NatMediaKey *current)
{
  do
    nat_media_key_generate (key, current->suite);
  while (key->kid == current->kid);
}

/* The formula stands in the header. */
static NatSframeKey *
ssrc_key_new (const NatMediaKey *media, guint32 ssrc)
{
  guint8 info[sizeof NAT_LABEL_SFRAME - 1 + 4 + 8];
  guint8 base_key[NAT_MEDIA_KEY_SIZE];
  gsize label = sizeof NAT_LABEL_SFRAME - 1;
  NatSframeKey *key;

  memcpy (info, NAT_LABEL_SFRAME, label);
  nat_write_be (info + label, ssrc, 4);
  nat_write_be (info + label + 4, media->kid, 8);
  nat_crypto_hkdf (
      media->key, sizeof media->key, NULL, 0, info, sizeof info, base_key, sizeof base_key);
  key = nat_sframe_key_new (media->suite, media->kid, base_key, sizeof base_key);
  nat_crypto_wipe (base_key, sizeof base_key);
  return key;
}

/* ---- Sealing ----------------------------------------------------------- */

typedef struct {
  guint32 ssrc;
  NatSframeKey *key;
  guint64 next_counter;
} Source;

struct _NatSframeSealer {
  NatMediaKey media;
  guint n_sources;
  Source sources[NAT_TRACKS_MAX];
};

NatSframeSealer *
nat_sframe_sealer_new (const NatMediaKey *key)
{
  NatSframeSealer *s = g_new0 (NatSframeSealer, 1);

  s->media = *key;
  return s;
}

void
nat_sframe_sealer_free (NatSframeSealer *s)
{
  if (s == NULL)
    return;
  for (guint i = 0; i < s->n_sources; i++)
    nat_sframe_key_free (s->sources[i].key);
  nat_crypto_wipe (s, sizeof *s);
  g_free (s);
}

static Source *
find_source (NatSframeSealer *s, guint32 ssrc)
{
  Source *source;

  for (guint i = 0; i < s->n_sources; i++) {
    if (s->sources[i].ssrc == ssrc)
      return &s->sources[i];
  }
  if (s->n_sources == NAT_TRACKS_MAX)
    return NULL;
  source = &s->sources[s->n_sources++];
  source->ssrc = ssrc;
  source->key = ssrc_key_new (&s->media, ssrc);
  source->next_counter = 0;
  return source;
}

gsize
nat_sframe_sealer_seal (NatSframeSealer *s, const guint8 *packet, gsize len, guint8 *out)
{
  NatRtpHeader h;
  Source *source;
  gsize sealed;

  if (!nat_rtp_parse (&h, packet, len))
    return 0;
  source = find_source (s, h.ssrc);
  if (source == NULL || source->next_counter >= NAT_SFRAME_COUNTERS)
    return 0;
  memcpy (out, packet, h.header_len);
  out[0] &= ~RTP_PADDING;
  /* The counter is used up even if sealing fails: it must never come back. */
  sealed = nat_sframe_seal (source->key, source->next_counter++, out, h.header_len,
      packet + h.header_len, h.payload_len, out + h.header_len);
  return sealed > 0 ? h.header_len + sealed : 0;
}

/* ---- Opening ----------------------------------------------------------- */

typedef struct {
  guint32 ssrc;
  NatSframeKey *key;
  NatReplay replay;
  guint64 words[REPLAY_WORDS];
} Sink;

typedef struct {
  NatMediaKey media;
  guint n_sinks;
  Sink *sinks[NAT_TRACKS_MAX];
} Ring;

struct _NatSframeOpener {
  guint n_rings;
  Ring *rings[OPENER_KEYS_MAX];
};

static void
sink_free (Sink *sink)
{
  nat_sframe_key_free (sink->key);
  g_free (sink);
}

static Sink *
sink_new (const NatMediaKey *media, guint32 ssrc)
{
  Sink *sink = g_new0 (Sink, 1);

  sink->ssrc = ssrc;
  sink->key = ssrc_key_new (media, ssrc);
  nat_replay_init (&sink->replay, sink->words, REPLAY_WORDS);
  return sink;
}

static Ring *
ring_new (const NatMediaKey *media)
{
  Ring *ring = g_new0 (Ring, 1);

  ring->media = *media;
  return ring;
}

static void
ring_free (Ring *ring)
{
  if (ring == NULL)
    return;
  for (guint i = 0; i < ring->n_sinks; i++)
    sink_free (ring->sinks[i]);
  nat_crypto_wipe (ring, sizeof *ring);
  g_free (ring);
}

NatSframeOpener *
nat_sframe_opener_new (void)
{
  return g_new0 (NatSframeOpener, 1);
}

void
nat_sframe_opener_free (NatSframeOpener *o)
{
  if (o == NULL)
    return;
  nat_sframe_opener_set_keys (o, NULL, 0);
  g_free (o);
}

/* Takes the ring of exactly this key out of the old set. */
static Ring *
steal_ring (NatSframeOpener *o, const NatMediaKey *key)
{
  for (guint i = 0; i < o->n_rings; i++) {
    Ring *ring = o->rings[i];

    if (ring != NULL && ring->media.kid == key->kid && ring->media.suite == key->suite &&
        nat_crypto_equal (ring->media.key, key->key, sizeof key->key)) {
      o->rings[i] = NULL;
      return ring;
    }
  }
  return NULL;
}

void
nat_sframe_opener_set_keys (NatSframeOpener *o, const NatMediaKey *keys, guint n)
{
  Ring *rings[OPENER_KEYS_MAX] = {NULL};

  n = MIN (n, OPENER_KEYS_MAX);
  for (guint i = 0; i < n; i++) {
    rings[i] = steal_ring (o, &keys[i]);
    if (rings[i] == NULL)
      rings[i] = ring_new (&keys[i]);
  }
  for (guint i = 0; i < o->n_rings; i++)
    ring_free (o->rings[i]);
  memcpy (o->rings, rings, sizeof rings);
  o->n_rings = n;
}

static gboolean
is_one_of (guint32 ssrc, const guint32 *ssrcs, guint n)
{
  for (guint i = 0; i < n; i++) {
    if (ssrcs[i] == ssrc)
      return TRUE;
  }
  return FALSE;
}

void
nat_sframe_opener_set_ssrcs (NatSframeOpener *o, const guint32 *ssrcs, guint n)
{
  for (guint i = 0; i < o->n_rings; i++) {
    Ring *ring = o->rings[i];

    for (guint k = ring->n_sinks; k > 0; k--) {
      if (is_one_of (ring->sinks[k - 1]->ssrc, ssrcs, n))
        continue;
      sink_free (ring->sinks[k - 1]);
      ring->sinks[k - 1] = ring->sinks[--ring->n_sinks];
    }
  }
}

static Ring *
find_ring (NatSframeOpener *o, guint64 kid)
{
  for (guint i = 0; i < o->n_rings; i++) {
    if (o->rings[i]->media.kid == kid)
      return o->rings[i];
  }
  return NULL;
}

static Sink *
find_sink (Ring *ring, guint32 ssrc)
{
  for (guint i = 0; i < ring->n_sinks; i++) {
    if (ring->sinks[i]->ssrc == ssrc)
      return ring->sinks[i];
  }
  return NULL;
}

static NatOpenStatus
open_with (
    Sink *sink, const NatRtpHeader *h, const NatSframeHeader *sframe, guint8 *packet, gsize *len)
{
  guint8 *payload = packet + h->header_len;
  gsize text;

  if (!nat_replay_check (&sink->replay, sframe->ctr))
    return NAT_OPEN_REPLAYED;
  if (!nat_sframe_open (
          sink->key, sframe, packet, h->header_len, payload, h->payload_len, payload, &text))
    return NAT_OPEN_FORGED;
  nat_replay_commit (&sink->replay, sframe->ctr);
  *len = h->header_len + text;
  return NAT_OPEN_OK;
}

/* An SSRC takes a place only once a packet of it proved genuine, so that noise cannot fill them. */
static NatOpenStatus
open_first (
    Ring *ring, const NatRtpHeader *h, const NatSframeHeader *sframe, guint8 *packet, gsize *len)
{
  NatOpenStatus status;
  Sink *sink;

  if (ring->n_sinks == NAT_TRACKS_MAX)
    return NAT_OPEN_LIMIT;
  sink = sink_new (&ring->media, h->ssrc);
  status = open_with (sink, h, sframe, packet, len);
  if (status == NAT_OPEN_OK)
    ring->sinks[ring->n_sinks++] = sink;
  else
    sink_free (sink);
  return status;
}

NatOpenStatus
nat_sframe_opener_open (NatSframeOpener *o, guint8 *packet, gsize *len)
{
  NatSframeHeader sframe;
  NatRtpHeader h;
  Ring *ring;
  Sink *sink;

  if (!nat_rtp_parse (&h, packet, *len) || h.padding_len > 0 ||
      !nat_sframe_header_parse (&sframe, packet + h.header_len, h.payload_len))
    return NAT_OPEN_MALFORMED;
  ring = find_ring (o, sframe.kid);
  if (ring == NULL)
    return NAT_OPEN_UNKNOWN_KEY;
  sink = find_sink (ring, h.ssrc);
  if (sink == NULL)
    return open_first (ring, &h, &sframe, packet, len);
  return open_with (sink, &h, &sframe, packet, len);
}
