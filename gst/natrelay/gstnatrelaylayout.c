/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelaylayout.h"
#include "gstnatrelayelement.h"
#include "gstnatrelaysrcpad.h"

#include <string.h>

#include "natproto/passphrase.h"

#define GST_CAT_DEFAULT gst_nat_relay_debug

#define WORKER_PATIENCE_US (500 * 1000)

/* One pad and what the description says of it. */
typedef struct {
  GstNatRelaySrcPad *pad;
  guint32 ssrc;
  guint8 payload_type;
  GstCaps *caps;
  GstStream *stream;
  gboolean added; /* the worker is through with adding it: whoever takes it away may remove it */
} Track;

static void
track_free (Track *track)
{
  gst_clear_object (&track->pad);
  gst_clear_caps (&track->caps);
  gst_clear_object (&track->stream);
  g_free (track);
}

static GPtrArray *
tracks_new (void)
{
  return g_ptr_array_new_with_free_func ((GDestroyNotify)track_free);
}

/* ---- pads ---------------------------------------------------------------- */

static void
remove_pad (GstNatRelayLayout *self, GstPad *pad)
{
  gst_ghost_pad_set_target (GST_GHOST_PAD (pad), NULL);
  gst_pad_set_active (pad, FALSE);
  gst_element_remove_pad (self->element, pad);
}

/* Before their SSRCs are forgotten: pads may wait for their past, or for who takes it, and rtpbin for the pads. */
static void
shut_pads (GstNatRelayLayout *self, GPtrArray *pads, const guint32 *ssrcs)
{
  for (guint i = 0; i < pads->len; i++)
    gst_nat_relay_headstart_forget (self->headstart, ssrcs[i]);
  gst_nat_relay_src_pads_shut (pads);
}

static void
shut_tracks (GstNatRelayLayout *self, GPtrArray *tracks)
{
  GPtrArray *pads = g_ptr_array_new ();
  guint32 ssrcs[NAT_TRACKS_MAX];

  for (guint i = 0; i < tracks->len; i++) {
    ssrcs[i] = ((Track *)tracks->pdata[i])->ssrc;
    g_ptr_array_add (pads, ((Track *)tracks->pdata[i])->pad);
  }
  shut_pads (self, pads, ssrcs);
  g_ptr_array_unref (pads);
}

static void
remove_pads (GstNatRelayLayout *self)
{
  GPtrArray *old;

  g_mutex_lock (&self->lock);
  old = self->tracks;
  self->tracks = tracks_new ();
  g_mutex_unlock (&self->lock);
  shut_tracks (self, old);
  for (guint i = 0; i < old->len; i++) {
    Track *track = old->pdata[i];

    if (track->added)
      remove_pad (self, GST_PAD (track->pad));
    gst_nat_relay_rtp_forget_ssrc (self->rtp, track->ssrc, NULL, NULL);
  }
  if (self->room != NULL && old->len > 0)
    self->room->changed (self->room->user);
  g_ptr_array_unref (old);
}

/* Whose it is. */
static GstStream *
new_stream (GstNatRelayLayout *self, const GstNatRelaySdpTrack *from, const gchar *name)
{
  static const GstStreamType types[GST_NAT_RELAY_N_MEDIA] = {
      [GST_NAT_RELAY_VIDEO] = GST_STREAM_TYPE_VIDEO,
      [GST_NAT_RELAY_AUDIO] = GST_STREAM_TYPE_AUDIO,
      [GST_NAT_RELAY_DATA] = GST_STREAM_TYPE_UNKNOWN,
  };
  GstTagList *tags = NULL;
  GstStream *stream;
  gchar *id;

  g_mutex_lock (&self->lock);
  id = g_strdup_printf ("%s/%u/%s", self->stream_id, self->generation, name);
  stream = gst_stream_new (id, from->caps, types[from->media], GST_STREAM_FLAG_NONE);
  if (self->room != NULL)
    tags = gst_tag_list_new (GST_TAG_TITLE, self->stream, NULL);
  g_mutex_unlock (&self->lock);
  gst_stream_set_tags (stream, tags);
  g_clear_pointer (&tags, gst_tag_list_unref);
  g_free (id);
  return stream;
}

static Track *
new_track (GstNatRelayLayout *self, const GstNatRelaySdpTrack *from, guint index, guint group_id)
{
  GstPadTemplate *template = self->templates[from->media];
  const gchar *name_template = GST_PAD_TEMPLATE_NAME_TEMPLATE (template);
  gchar *name =
      g_strdup_printf ("%.*s_%u", (int)strcspn (name_template, "_"), name_template, index);
  Track *track = g_new0 (Track, 1);

  track->stream = new_stream (self, from, name);
  track->pad = gst_object_ref_sink (
      GST_NAT_RELAY_SRC_PAD (gst_nat_relay_src_pad_new (name, template, from->media)));
  track->ssrc = from->ssrc;
  track->payload_type = from->payload_type;
  track->caps = gst_caps_ref (from->caps);
  gst_nat_relay_src_pad_begin (track->pad, track->stream, group_id);
  g_free (name);
  return track;
}

static GPtrArray *
new_tracks (GstNatRelayLayout *self, GPtrArray *description)
{
  GPtrArray *tracks = tracks_new ();
  guint counts[GST_NAT_RELAY_N_MEDIA] = {0};
  guint group_id = gst_util_group_id_next ();

  self->generation++;
  for (guint i = 0; i < description->len; i++) {
    const GstNatRelaySdpTrack *from = description->pdata[i];

    guint index = self->room != NULL
                      ? (guint)g_atomic_int_add (&self->room->next_index[from->media], 1)
                      : counts[from->media]++;

    g_ptr_array_add (tracks, new_track (self, from, index, group_id));
  }
  return tracks;
}

/* FALSE: the element was stopped meanwhile. The tracks are then freed. */
static gboolean
install_tracks (GstNatRelayLayout *self, GPtrArray *tracks)
{
  gboolean ok;

  g_mutex_lock (&self->lock);
  ok = self->run == self->applied_run;
  if (ok) {
    for (guint i = 0; i < tracks->len; i++)
      gst_nat_relay_src_pad_set_latency (((Track *)tracks->pdata[i])->pad, self->latency);
    g_ptr_array_unref (self->tracks);
    self->tracks = g_ptr_array_ref (tracks);
  }
  g_mutex_unlock (&self->lock);
  return ok;
}

/* FALSE: the element was stopped meanwhile; the pad is gone again. */
static gboolean
add_pad (GstNatRelayLayout *self, Track *track)
{
  gboolean ok;

  gst_element_add_pad (self->element, GST_PAD (track->pad));
  g_mutex_lock (&self->lock);
  ok = self->run == self->applied_run;
  track->added = ok;
  g_mutex_unlock (&self->lock);
  if (!ok)
    remove_pad (self, GST_PAD (track->pad));
  return ok;
}

/* FALSE: the element was stopped meanwhile. */
static gboolean
add_pads (GstNatRelayLayout *self, GPtrArray *description)
{
  GPtrArray *tracks = new_tracks (self, description);
  gboolean ok = install_tracks (self, tracks);

  for (guint i = 0; ok && i < tracks->len; i++)
    ok = add_pad (self, tracks->pdata[i]);
  g_ptr_array_unref (tracks);
  /* In a room there may always be more. */
  if (ok && self->room == NULL)
    gst_element_no_more_pads (self->element);
  else if (ok)
    self->room->changed (self->room->user);
  return ok;
}

/* Tracks are compared in order: the publisher's pads come in the same order after each start. */
static gboolean
keeps_pads (GstNatRelayLayout *self, GPtrArray *description)
{
  gboolean keep;

  g_mutex_lock (&self->lock);
  keep = self->tracks->len == description->len;
  for (guint i = 0; keep && i < description->len; i++) {
    const GstNatRelaySdpTrack *from = description->pdata[i];

    keep = gst_nat_relay_sdp_same_codec (((Track *)self->tracks->pdata[i])->caps, from->caps);
  }
  g_mutex_unlock (&self->lock);
  return keep;
}

/* Whoever is told of it (a collection's "stream-notify") may call the element: no lock held. */
static void
set_stream_caps (GPtrArray *streams, GPtrArray *description)
{
  for (guint i = 0; i < streams->len; i++)
    gst_stream_set_caps (streams->pdata[i], ((GstNatRelaySdpTrack *)description->pdata[i])->caps);
}

/* The pads stay; SSRCs, payload types and caps may be others. FALSE: the element was stopped meanwhile. */
static gboolean
update_pads (GstNatRelayLayout *self, GPtrArray *description, gboolean same_publisher)
{
  GPtrArray *streams = g_ptr_array_new_with_free_func (gst_object_unref);
  GPtrArray *fed = g_ptr_array_new_with_free_func (gst_object_unref);
  guint32 old[NAT_TRACKS_MAX];
  gboolean ok;

  g_mutex_lock (&self->lock);
  ok = self->run == self->applied_run;
  for (guint i = 0; ok && i < description->len; i++) {
    const GstNatRelaySdpTrack *from = description->pdata[i];
    Track *track = self->tracks->pdata[i];

    if (track->ssrc != from->ssrc || !same_publisher) {
      old[fed->len] = track->ssrc;
      g_ptr_array_add (fed, gst_object_ref (track->pad));
    }
    track->ssrc = from->ssrc;
    track->payload_type = from->payload_type;
    gst_caps_replace (&track->caps, from->caps);
    g_ptr_array_add (streams, gst_object_ref (track->stream));
    gst_nat_relay_src_pad_set_caps (track->pad, from->caps);
  }
  g_mutex_unlock (&self->lock);
  shut_pads (self, fed, old);
  /* An SSRC may come back, on this track or another: with sequence numbers and times of its own. */
  for (guint i = 0; i < fed->len; i++)
    gst_nat_relay_rtp_forget_ssrc (self->rtp, old[i], gst_nat_relay_src_pad_reopen, fed->pdata[i]);
  set_stream_caps (streams, description);
  g_ptr_array_unref (streams);
  g_ptr_array_unref (fed);
  return ok;
}

/**
 * message natrelay-tracks-changed: (natrelaysrc)
 * @tracks: guint: how many there are now
 *
 * The publisher came back with other codecs or another number of tracks: the old pads are gone, and the new ones are there.
 * Applications that link in "pad-added" need do nothing; players are taken to READY and back to PLAYING.
 */
/* Whoever built decoders by hand sees the pads go and come; players do not follow (GStreamer 1.22), and
 * start anew when told. */
static gboolean
replace_pads (GstNatRelayLayout *self, GPtrArray *description)
{
  gboolean first, ok;

  g_mutex_lock (&self->lock);
  first = self->tracks->len == 0;
  g_mutex_unlock (&self->lock);
  remove_pads (self);
  ok = add_pads (self, description);
  if (ok && !first)
    gst_element_post_message (
        self->element, gst_message_new_element (GST_OBJECT (self->element),
                           gst_structure_new ("natrelay-tracks-changed", "tracks", G_TYPE_UINT,
                               description->len, NULL)));
  return ok;
}

/* ---- the worker ---------------------------------------------------------- */

/* Last: what is let in finds its pad. */
static void
let_in (GstNatRelayLayout *self, const NatDescription *description, GPtrArray *tracks)
{
  guint32 ssrcs[NAT_TRACKS_MAX];

  for (guint i = 0; i < tracks->len; i++)
    ssrcs[i] = ((GstNatRelaySdpTrack *)tracks->pdata[i])->ssrc;
  g_mutex_lock (&self->lock);
  if (self->run == self->applied_run) {
    gst_nat_relay_open_set_ssrcs (self->rtp->open, ssrcs, tracks->len);
    gst_nat_relay_open_set_keys (
        self->rtp->open, description->media_keys, description->n_media_keys);
    gst_nat_relay_transport_src_set_held (self->rtp->rtp_src, FALSE);
  }
  g_mutex_unlock (&self->lock);
}

static void
complain (GstNatRelayLayout *self, const GError *error)
{
  if (!self->bad_sdp_told)
    GST_ELEMENT_WARNING (self->element, STREAM, FORMAT,
        ("The publisher's description cannot be used; its natrelaysink may be of another version"),
        ("%s", error->message));
  self->bad_sdp_told = TRUE;
}

/* FALSE: the element was stopped meanwhile. */
static gboolean
apply_tracks (GstNatRelayLayout *self, const gchar *sdp, GPtrArray *tracks)
{
  gboolean ok,
      same_publisher = self->sdp != NULL && gst_nat_relay_sdp_same_session (self->sdp, sdp);
  gchar *shown = nat_passphrase_hide (sdp);

  GST_DEBUG_OBJECT (self->element, "the publisher offers\n%s", shown);
  g_free (shown);
  g_free (self->sdp);
  self->sdp = g_strdup (sdp);
  /* Nothing comes in while it is not clear where it goes: the jitterbuffer of a pad that leads nowhere would refuse the
   * rest of a list, and that ends the session. */
  gst_nat_relay_open_shut (self->rtp->open);
  if (keeps_pads (self, tracks))
    ok = update_pads (self, tracks, same_publisher);
  else
    ok = replace_pads (self, tracks);
  /* rtpbin remembers what it was told of a payload type. */
  g_signal_emit_by_name (self->rtp->rtpbin, "clear-pt-map");
  return ok;
}

static void
apply_description (GstNatRelayLayout *self, const NatDescription *description)
{
  GError *error = NULL;
  GPtrArray *tracks = gst_nat_relay_sdp_to_tracks (description->sdp, &error);
  gboolean ok = TRUE;

  if (tracks == NULL) {
    complain (self, error);
    g_error_free (error);
    return;
  }
  if (g_strcmp0 (description->sdp, self->sdp) != 0)
    ok = apply_tracks (self, description->sdp, tracks);
  if (ok)
    let_in (self, description, tracks);
  g_ptr_array_unref (tracks);
}

/* EOS goes through the jitterbuffers, after what is in them; a pad without one has it at once. */
static void
end_stream (GstNatRelayLayout *self)
{
  GPtrArray *pads = g_ptr_array_new_with_free_func (gst_object_unref);

  GST_INFO_OBJECT (self->element, "the stream ended");
  g_mutex_lock (&self->lock);
  if (self->run == self->applied_run)
    gst_nat_relay_transport_src_end (self->rtp->rtp_src);
  g_mutex_unlock (&self->lock);
  gst_nat_relay_layout_get_pads (self, pads);
  g_ptr_array_foreach (pads, gst_nat_relay_src_pad_end_unfed, NULL);
  g_ptr_array_unref (pads);
}

/* ended: and one was there before. One that ended before we came is no reason to end. */
static void
apply_news (GstNatRelayLayout *self, NatPublisherState publisher, gboolean ended,
    NatDescription *description)
{
  gboolean eos_on_end;

  if (description->sdp != NULL &&
      self->admit (self->user, publisher == NAT_PUBLISHER_LIVE, description))
    apply_description (self, description);
  g_mutex_lock (&self->lock);
  eos_on_end = self->eos_on_end;
  g_mutex_unlock (&self->lock);
  if (ended && eos_on_end)
    end_stream (self);
}

/* called with lock; what a run before this one left */
static void
enter_run (GstNatRelayLayout *self)
{
  if (self->applied_run == self->run)
    return;
  self->applied_run = self->run;
  g_clear_pointer (&self->sdp, g_free);
  self->bad_sdp_told = FALSE;
}

static void
work (GstElement *element, gpointer user)
{
  GstNatRelayLayout *self = user;

  g_mutex_lock (&self->lock);
  while (self->started && self->news) {
    NatDescription description = self->description;
    NatPublisherState publisher = self->publisher;
    gboolean ended = publisher == NAT_PUBLISHER_ENDED && self->seen_live;

    enter_run (self);
    memset (&self->description, 0, sizeof self->description);
    self->news = FALSE;
    g_mutex_unlock (&self->lock);
    apply_news (self, publisher, ended, &description);
    nat_description_clear (&description);
    g_mutex_lock (&self->lock);
  }
  self->working = FALSE;
  g_cond_broadcast (&self->idle);
  g_mutex_unlock (&self->lock);
}

/* ---- for the element ----------------------------------------------------- */

void
gst_nat_relay_layout_take_description (
    GstNatRelayLayout *self, NatPublisherState publisher, const NatDescription *description)
{
  gboolean begin;

  g_mutex_lock (&self->lock);
  nat_description_clear (&self->description);
  self->description = *description;
  self->description.sdp = g_strdup (description->sdp);
  self->publisher = publisher;
  self->seen_live |= publisher == NAT_PUBLISHER_LIVE;
  self->news = TRUE;
  begin = self->started && !self->working;
  self->working |= begin;
  g_mutex_unlock (&self->lock);
  if (begin)
    gst_element_call_async (self->element, work, self, NULL);
}

static GstPadProbeReturn
drop (GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
  return GST_PAD_PROBE_DROP;
}

/* called with lock. A reference, or NULL. */
static GstNatRelaySrcPad *
find_pad (GstNatRelayLayout *self, guint32 ssrc)
{
  for (guint i = 0; i < self->tracks->len; i++) {
    Track *track = self->tracks->pdata[i];

    if (track->ssrc == ssrc)
      return gst_object_ref (track->pad);
  }
  return NULL;
}

gboolean
gst_nat_relay_layout_feed (GstNatRelayLayout *self, guint32 ssrc, GstPad *rtpbin_pad)
{
  GstNatRelaySrcPad *pad;

  g_mutex_lock (&self->lock);
  pad = find_pad (self, ssrc);
  if (pad != NULL) {
    gst_nat_relay_src_pad_arm (pad, self->headstart, ssrc);
    gst_ghost_pad_set_target (GST_GHOST_PAD (pad), rtpbin_pad);
  }
  g_mutex_unlock (&self->lock);
  if (pad == NULL) {
    /* "Not linked" would go up to the transport's source and stop all tracks. */
    gst_pad_add_probe (
        rtpbin_pad, GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_BUFFER_LIST, drop, NULL, NULL);
    return FALSE;
  }
  GST_INFO_OBJECT (pad, "fed by SSRC %08x", ssrc);
  gst_nat_relay_src_pad_fed_anew (pad);
  gst_object_unref (pad);
  return TRUE;
}

/* Whose pad is held up downstream stays: to wait for that would hold up all that comes in. Should it come again, it
 * goes where it went. */
void
gst_nat_relay_layout_forget_silent (GstNatRelayLayout *self, guint32 ssrc)
{
  GstNatRelaySrcPad *pad;

  g_mutex_lock (&self->lock);
  pad = find_pad (self, ssrc);
  g_mutex_unlock (&self->lock);
  if (pad == NULL)
    gst_nat_relay_rtp_forget_ssrc (self->rtp, ssrc, NULL, NULL);
  else if (gst_nat_relay_src_pad_try_shut (pad))
    gst_nat_relay_rtp_forget_ssrc (self->rtp, ssrc, gst_nat_relay_src_pad_reopen, pad);
  else
    GST_INFO_OBJECT (pad, "SSRC %08x is silent, and is kept", ssrc);
  gst_clear_object (&pad);
}

GstCaps *
gst_nat_relay_layout_get_caps (GstNatRelayLayout *self, guint payload_type)
{
  GstCaps *caps = NULL;

  g_mutex_lock (&self->lock);
  for (guint i = 0; caps == NULL && i < self->tracks->len; i++) {
    Track *track = self->tracks->pdata[i];

    if (track->payload_type == payload_type)
      caps = gst_caps_ref (track->caps);
  }
  g_mutex_unlock (&self->lock);
  return caps;
}

void
gst_nat_relay_layout_set_latency (GstNatRelayLayout *self, GstClockTime latency)
{
  g_mutex_lock (&self->lock);
  self->latency = latency;
  for (guint i = 0; i < self->tracks->len; i++)
    gst_nat_relay_src_pad_set_latency (((Track *)self->tracks->pdata[i])->pad, latency);
  g_mutex_unlock (&self->lock);
}

void
gst_nat_relay_layout_set_eos_on_end (GstNatRelayLayout *self, gboolean eos_on_end)
{
  g_mutex_lock (&self->lock);
  self->eos_on_end = eos_on_end;
  g_mutex_unlock (&self->lock);
}

void
gst_nat_relay_layout_collect (GstNatRelayLayout *self, GstStreamCollection *collection)
{
  g_mutex_lock (&self->lock);
  for (guint i = 0; i < self->tracks->len; i++) {
    Track *track = self->tracks->pdata[i];

    if (track->added)
      gst_stream_collection_add_stream (collection, gst_object_ref (track->stream));
  }
  g_mutex_unlock (&self->lock);
}

void
gst_nat_relay_layout_get_pads (GstNatRelayLayout *self, GPtrArray *pads)
{
  g_mutex_lock (&self->lock);
  for (guint i = 0; i < self->tracks->len; i++)
    g_ptr_array_add (pads, gst_object_ref (((Track *)self->tracks->pdata[i])->pad));
  g_mutex_unlock (&self->lock);
}

void
gst_nat_relay_layout_start (GstNatRelayLayout *self, gchar *stream_id, const gchar *stream)
{
  g_mutex_lock (&self->lock);
  self->run++;
  self->started = TRUE;
  self->seen_live = FALSE;
  g_free (self->stream_id);
  self->stream_id = stream_id;
  g_free (self->stream);
  self->stream = g_strdup (stream);
  g_mutex_unlock (&self->lock);
}

/* called with lock. Who stops an element may free what its signal handlers use, so the worker is waited for; but not
 * for ever: it may be in a handler that waits for the very state change that this is part of. */
static void
wait_for_worker (GstNatRelayLayout *self)
{
  gint64 until = g_get_monotonic_time () + WORKER_PATIENCE_US;

  while (self->working && g_cond_wait_until (&self->idle, &self->lock, until))
    ;
  if (self->working)
    GST_WARNING_OBJECT (
        self->element, "a handler of pad-added or pad-removed waits for this state change");
}

/* A worker that is in the middle of something gives up when it looks at run next, and takes away what it
 * was adding; all that it was through with goes here. */
gboolean
gst_nat_relay_layout_stop (GstNatRelayLayout *self)
{
  gboolean idle;

  g_mutex_lock (&self->lock);
  self->run++;
  self->started = FALSE;
  self->news = FALSE;
  nat_description_clear (&self->description);
  gst_nat_relay_open_reset (self->rtp->open);
  wait_for_worker (self);
  idle = !self->working;
  g_mutex_unlock (&self->lock);
  gst_nat_relay_open_flush (self->rtp->open);
  remove_pads (self);
  return idle;
}

void
gst_nat_relay_layout_init (GstNatRelayLayout *self, GstElement *element,
    GstNatRelayLayoutAdmit admit, gpointer user, const GstNatRelayRtp *rtp,
    GstNatRelayHeadstart *headstart, GstStaticPadTemplate *templates, GstNatRelayLayoutRoom *room)
{
  g_mutex_init (&self->lock);
  g_cond_init (&self->idle);
  self->element = element;
  self->admit = admit;
  self->user = user;
  self->room = room;
  self->rtp = rtp;
  self->headstart = headstart;
  self->tracks = tracks_new ();
  for (guint i = 0; i < GST_NAT_RELAY_N_MEDIA; i++)
    self->templates[i] = gst_element_class_get_pad_template (
        GST_ELEMENT_GET_CLASS (element), templates[i].name_template);
}

void
gst_nat_relay_layout_clear (GstNatRelayLayout *self)
{
  g_ptr_array_unref (self->tracks);
  nat_description_clear (&self->description);
  g_free (self->stream_id);
  g_free (self->stream);
  g_free (self->sdp);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->idle);
}
