/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelaysent.h"
#include "natproto/negotiation.h"
#include "natproto/rtcp.h"

#include <string.h>

#define MS(n) ((gint64)(n)*1000)

#define FIRST_SLOTS 256   /* for each track; doubled as its rate wants */
#define MAX_SLOTS   16384 /* half a round of sequence numbers: they stay unambiguous */

/* A silence is longer than this and than two usual gaps. */
#define SILENCE_US     MS (60)
#define LONGEST_GAP_US MS (1000) /* what is longer is a pause, no gap */

/* What repairs may take before any media went out, and what they may save up. */
#define ALLOWANCE_BYTES (128 * 1024)

typedef struct {
  GstBuffer *buffer; /* NULL = none */
  gsize size;
  gint64 put_us;
  gint64 sent_us; /* last */
} Slot;

/* Of one SSRC: a ring by sequence number, oldest to newest, with holes where the sender left out some. */
typedef struct {
  guint32 ssrc;
  Slot *slots;
  guint n_slots; /* a power of two */
  gboolean any;
  guint16 oldest, newest;
  gint64 put_us; /* newest's */
  gint64 gap_us; /* usual */
  gboolean silence_told;
} Track;

struct _GstNatRelaySent {
  GMutex lock; /* a leaf: guards all */
  Track tracks[NAT_TRACKS_MAX];
  guint n_tracks;
  gsize bytes;
  gsize allowance; /* bytes that repairs may take now */
  gint64 repair_us;
  GstNatRelaySentStats stats;
};

GstNatRelaySent *
gst_nat_relay_sent_new (void)
{
  GstNatRelaySent *sent = g_new0 (GstNatRelaySent, 1);

  g_mutex_init (&sent->lock);
  sent->allowance = ALLOWANCE_BYTES;
  return sent;
}

/* ---- slots --------------------------------------------------------------- */

static Slot *
slot_of (const Track *track, guint16 seq)
{
  return &track->slots[seq & (track->n_slots - 1)];
}

/* called with lock */
static void
slot_clear (GstNatRelaySent *sent, Slot *slot)
{
  if (slot->buffer == NULL)
    return;
  sent->bytes -= slot->size;
  gst_clear_buffer (&slot->buffer);
}

/* called with lock; the packet that is oldest goes, if it is not the last */
static void
drop_oldest (GstNatRelaySent *sent, Track *track)
{
  slot_clear (sent, slot_of (track, track->oldest));
  while (track->oldest != track->newest) {
    track->oldest++;
    if (slot_of (track, track->oldest)->buffer != NULL)
      break;
  }
}

/* called with lock */
static void
track_clear (GstNatRelaySent *sent, Track *track)
{
  for (guint i = 0; i < track->n_slots; i++)
    slot_clear (sent, &track->slots[i]);
  track->any = FALSE;
}

static void
track_grow (Track *track)
{
  Track old = *track;

  track->n_slots *= 2;
  track->slots = g_new0 (Slot, track->n_slots);
  for (guint16 seq = old.oldest;; seq++) {
    *slot_of (track, seq) = *slot_of (&old, seq);
    if (seq == old.newest)
      break;
  }
  g_free (old.slots);
}

/* ---- tracks -------------------------------------------------------------- */

/* called with lock; NULL if there is none */
static Track *
find_track (GstNatRelaySent *sent, guint32 ssrc)
{
  for (guint i = 0; i < sent->n_tracks; i++) {
    if (sent->tracks[i].ssrc == ssrc)
      return &sent->tracks[i];
  }
  return NULL;
}

/* called with lock; a new one takes the place of the one that was silent for longest, if there is no more room */
static Track *
need_track (GstNatRelaySent *sent, guint32 ssrc)
{
  Track *track = find_track (sent, ssrc);

  if (track != NULL)
    return track;
  if (sent->n_tracks < NAT_TRACKS_MAX) {
    track = &sent->tracks[sent->n_tracks++];
    track->n_slots = FIRST_SLOTS;
    track->slots = g_new0 (Slot, FIRST_SLOTS);
  } else {
    track = &sent->tracks[0];
    for (guint i = 1; i < sent->n_tracks; i++) {
      if (sent->tracks[i].put_us < track->put_us)
        track = &sent->tracks[i];
    }
    track_clear (sent, track);
  }
  track->ssrc = ssrc;
  track->put_us = track->gap_us = 0;
  return track;
}

/* called with lock; NULL if nothing is kept */
static Track *
track_with_oldest (GstNatRelaySent *sent)
{
  Track *found = NULL;

  for (guint i = 0; i < sent->n_tracks; i++) {
    Track *track = &sent->tracks[i];

    if (track->any && slot_of (track, track->oldest)->buffer != NULL &&
        (found == NULL ||
            slot_of (track, track->oldest)->put_us < slot_of (found, found->oldest)->put_us))
      found = track;
  }
  return found;
}

/* called with lock; grows or loses old packets until seq is within a ring's length of the oldest */
static void
track_advance (GstNatRelaySent *sent, Track *track, guint16 seq, gint64 now_us)
{
  while ((guint16)(seq - track->oldest) >= track->n_slots) {
    Slot *oldest = slot_of (track, track->oldest);

    if (track->n_slots < MAX_SLOTS && oldest->buffer != NULL &&
        now_us - oldest->put_us < GST_NAT_RELAY_SENT_KEEP_US) {
      track_grow (track);
    } else if (track->oldest != track->newest) {
      drop_oldest (sent, track);
    } else {
      slot_clear (sent, oldest);
      track->oldest = seq;
    }
  }
  track->newest = seq;
}

/* called with lock; seq's slot may be used afterwards */
static void
track_make_room (GstNatRelaySent *sent, Track *track, guint16 seq, gint64 now_us)
{
  guint16 ahead = (guint16)(seq - track->newest), behind = (guint16)-ahead;

  if (track->any && ahead < MAX_SLOTS) {
    track_advance (sent, track, seq, now_us);
    return;
  }
  /* Far away: another run of the payloader. */
  if (track->any && behind >= track->n_slots)
    track_clear (sent, track);
  if (!track->any)
    track->newest = track->oldest = seq;
  else if ((guint16)(track->newest - track->oldest) < behind)
    track->oldest = seq;
  track->any = TRUE;
}

/* called with lock; the usual gap is the longest of late, forgotten slowly: frames come in bursts, and the pause between
 * two of them is no silence */
static void
track_note_gap (Track *track, gint64 now_us)
{
  gint64 gap = now_us - track->put_us;

  if (track->put_us != 0 && gap <= LONGEST_GAP_US)
    track->gap_us = MAX (gap, track->gap_us - track->gap_us / 64);
  track->put_us = now_us;
  track->silence_told = FALSE;
}

static gint64
track_tail_due (const Track *track)
{
  if (!track->any || track->silence_told)
    return G_MAXINT64;
  return track->put_us + MAX (SILENCE_US, 2 * track->gap_us);
}

/* ---- what is sent -------------------------------------------------------- */

/* called with lock */
static void
drop_surplus (GstNatRelaySent *sent, Track *track, gint64 now_us)
{
  while (track->oldest != track->newest &&
         (slot_of (track, track->oldest)->buffer == NULL ||
             now_us - slot_of (track, track->oldest)->put_us > GST_NAT_RELAY_SENT_KEEP_US))
    drop_oldest (sent, track);
  while (sent->bytes > GST_NAT_RELAY_SENT_MAX_BYTES && (track = track_with_oldest (sent)) != NULL)
    drop_oldest (sent, track);
}

/* As the sealer makes them: in one piece, and nobody waits to have it back. */
static gboolean
is_plain (GstBuffer *buffer)
{
  return gst_buffer_n_memory (buffer) == 1 && buffer->pool == NULL &&
         gst_buffer_peek_memory (buffer, 0)->parent == NULL &&
         gst_buffer_get_parent_buffer_meta (buffer) == NULL;
}

static GstBuffer *
keep (GstBuffer *buffer)
{
  gsize size = gst_buffer_get_size (buffer);
  GstBuffer *copy;
  GstMapInfo map;

  if (is_plain (buffer))
    return gst_buffer_ref (buffer);
  copy = gst_buffer_new_allocate (NULL, size, NULL);
  gst_buffer_map (copy, &map, GST_MAP_WRITE);
  gst_buffer_extract (buffer, 0, map.data, size);
  gst_buffer_unmap (copy, &map);
  return copy;
}

void
gst_nat_relay_sent_put (GstNatRelaySent *sent, GstBuffer *buffer, gint64 now_us)
{
  guint8 header[12];
  GstBuffer *old;
  guint16 seq;
  Track *track;
  Slot *slot;

  if (gst_buffer_extract (buffer, 0, header, sizeof header) < sizeof header)
    return;
  seq = GST_READ_UINT16_BE (header + 2);
  buffer = keep (buffer);
  g_mutex_lock (&sent->lock);
  track = need_track (sent, GST_READ_UINT32_BE (header + 8));
  track_make_room (sent, track, seq, now_us);
  track_note_gap (track, now_us);
  slot = slot_of (track, seq);
  old = slot->buffer;
  if (old != NULL)
    sent->bytes -= slot->size;
  *slot = (Slot){buffer, gst_buffer_get_size (buffer), now_us, now_us};
  sent->bytes += slot->size;
  sent->allowance = MIN (sent->allowance + slot->size, MAX (ALLOWANCE_BYTES, sent->bytes / 2));
  drop_surplus (sent, track, now_us);
  g_mutex_unlock (&sent->lock);
  gst_clear_buffer (&old);
}

/* ---- what is sent again -------------------------------------------------- */

typedef struct {
  gint64 now_us, rtt_us;
  GstBuffer **out;
  guint n, max;
} Answer;

/* called with lock */
static void
resend (GstNatRelaySent *sent, Slot *slot, Answer *answer)
{
  slot->sent_us = answer->now_us;
  sent->repair_us = answer->now_us;
  sent->stats.resent++;
  sent->stats.resent_bytes += slot->size;
  sent->allowance -= MIN (sent->allowance, slot->size);
  answer->out[answer->n++] = gst_buffer_ref (slot->buffer);
}

/* called with lock */
static void
answer_one (GstNatRelaySent *sent, Track *track, guint16 seq, Answer *answer)
{
  Slot *slot = NULL;

  sent->stats.asked++;
  if (track != NULL && track->any &&
      (guint16)(seq - track->oldest) <= (guint16)(track->newest - track->oldest))
    slot = slot_of (track, seq);
  if (slot == NULL || slot->buffer == NULL ||
      answer->now_us - slot->put_us > GST_NAT_RELAY_SENT_KEEP_US)
    sent->stats.gone++;
  /* A round trip is measured now and then, and packets vary: three quarters of it are surely too short. */
  else if (answer->n == answer->max || sent->allowance < slot->size ||
           answer->now_us - slot->sent_us < answer->rtt_us * 3 / 4)
    sent->stats.spared++;
  else
    resend (sent, slot, answer);
}

/* called with lock */
static void
answer_nack (GstNatRelaySent *sent, const NatRtcpPacket *nack, Answer *answer)
{
  NatRtcpNackEntry entry;
  Track *track = NULL;
  guint32 ssrc;

  if (nat_rtcp_media_ssrc (nack, &ssrc))
    track = find_track (sent, ssrc);
  for (guint i = 0; nat_rtcp_nack_entry (nack, i, &entry); i++) {
    answer_one (sent, track, entry.first, answer);
    for (guint bit = 0; bit < 16; bit++) {
      if (entry.following & 1u << bit)
        answer_one (sent, track, (guint16)(entry.first + 1 + bit), answer);
    }
  }
}

guint
gst_nat_relay_sent_answer (GstNatRelaySent *sent, const guint8 *compound, gsize len, gint64 now_us,
    gint64 rtt_us, GstBuffer **out, guint max)
{
  Answer answer = {now_us, rtt_us, out, 0, max};
  gboolean nack = FALSE;
  NatRtcpPacket packet;
  NatRtcpIter it;

  if (!nat_rtcp_iter_init (&it, compound, len))
    return 0;
  g_mutex_lock (&sent->lock);
  while (nat_rtcp_iter_next (&it, &packet)) {
    if (packet.type != NAT_RTCP_RTPFB || packet.count != NAT_RTCP_FMT_NACK)
      continue;
    nack = TRUE;
    answer_nack (sent, &packet, &answer);
  }
  sent->stats.nacks += nack;
  g_mutex_unlock (&sent->lock);
  return answer.n;
}

guint
gst_nat_relay_sent_tails (GstNatRelaySent *sent, gint64 now_us, GstBuffer **out, guint max)
{
  Answer answer = {now_us, 0, out, 0, max};

  g_mutex_lock (&sent->lock);
  for (guint i = 0; i < sent->n_tracks && answer.n < max; i++) {
    Track *track = &sent->tracks[i];
    Slot *last = slot_of (track, track->newest);

    if (track_tail_due (track) > now_us)
      continue;
    track->silence_told = TRUE;
    if (last->buffer != NULL)
      resend (sent, last, &answer);
  }
  g_mutex_unlock (&sent->lock);
  return answer.n;
}

gint64
gst_nat_relay_sent_tail_due (GstNatRelaySent *sent)
{
  gint64 due = G_MAXINT64;

  g_mutex_lock (&sent->lock);
  for (guint i = 0; i < sent->n_tracks; i++)
    due = MIN (due, track_tail_due (&sent->tracks[i]));
  g_mutex_unlock (&sent->lock);
  return due;
}

gint64
gst_nat_relay_sent_last_repair (GstNatRelaySent *sent)
{
  gint64 last;

  g_mutex_lock (&sent->lock);
  last = sent->repair_us;
  g_mutex_unlock (&sent->lock);
  return last;
}

/* ---- the whole ----------------------------------------------------------- */

void
gst_nat_relay_sent_get_stats (GstNatRelaySent *sent, GstNatRelaySentStats *stats)
{
  g_mutex_lock (&sent->lock);
  *stats = sent->stats;
  g_mutex_unlock (&sent->lock);
}

void
gst_nat_relay_sent_clear (GstNatRelaySent *sent)
{
  g_mutex_lock (&sent->lock);
  for (guint i = 0; i < sent->n_tracks; i++) {
    track_clear (sent, &sent->tracks[i]);
    g_free (sent->tracks[i].slots);
  }
  memset (sent->tracks, 0, sizeof sent->tracks);
  sent->n_tracks = 0;
  sent->allowance = ALLOWANCE_BYTES;
  g_mutex_unlock (&sent->lock);
}

void
gst_nat_relay_sent_free (GstNatRelaySent *sent)
{
  gst_nat_relay_sent_clear (sent);
  g_mutex_clear (&sent->lock);
  g_free (sent);
}
