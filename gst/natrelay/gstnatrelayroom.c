/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelayroom.h"
#include "natproto/rtcp.h"
#include "natproto/rtcpapp.h"

#define GST_CAT_DEFAULT gst_nat_relay_debug

#define PATIENCE_US (1000 * 1000)

typedef struct {
  GstNatRelayRoom *room;
  gchar *stream;
  GstNatRelayReceiver receiver;
  guint32 ssrcs[NAT_TRACKS_MAX]; /* lock */
  guint n_ssrcs;
  gboolean listed; /* while a document is read */
} Participant;

/* ---- messages ------------------------------------------------------------ */

/**
 * message natrelay-stream-added: (natrelaysrc)
 * @stream: string: its name
 *
 * Of a room (a pattern in the uri): somebody publishes there now, and pads of his follow.
 */
/**
 * message natrelay-stream-removed: (natrelaysrc)
 * @stream: string: its name
 *
 * Of a room: he left, and his pads go.
 */
static void
post (GstNatRelayRoom *self, const gchar *name, const gchar *stream)
{
  GstElement *element = self->conn->element;

  gst_element_post_message (
      element, gst_message_new_element (GST_OBJECT (element),
                   gst_structure_new (name, "stream", G_TYPE_STRING, stream, NULL)));
}

/* called with lock */
static GstStreamCollection *
collect (GstNatRelayRoom *self)
{
  GstStreamCollection *collection =
      gst_stream_collection_new (GST_OBJECT_NAME (self->conn->element));
  GHashTableIter it;
  gpointer participant;

  g_hash_table_iter_init (&it, self->participants);
  while (g_hash_table_iter_next (&it, NULL, &participant))
    gst_nat_relay_layout_collect (&((Participant *)participant)->receiver.layout, collection);
  return collection;
}

static void
tell_collection (GstElement *element, GstStreamCollection *collection)
{
  gst_element_post_message (
      element, gst_message_new_stream_collection (GST_OBJECT (element), collection));
  gst_element_post_message (element, gst_message_new_latency (GST_OBJECT (element)));
}

/* Whose pads there are now; and who mixes them may have to wait longer. One worker at a time tells, so that the last
 * message says what is: the others leave it to that one. */
static void
pads_changed (gpointer user)
{
  GstNatRelayRoom *self = user;

  g_mutex_lock (&self->lock);
  self->changes++;
  while (self->changes > 0 && !self->telling && self->started) {
    GstStreamCollection *collection = collect (self);

    self->changes = 0;
    self->telling = TRUE;
    g_mutex_unlock (&self->lock);
    tell_collection (self->conn->element, collection);
    gst_object_unref (collection);
    g_mutex_lock (&self->lock);
    self->telling = FALSE;
  }
  g_mutex_unlock (&self->lock);
}

/* ---- those who leave ----------------------------------------------------- */

static void
participant_free (Participant *p)
{
  gst_nat_relay_receiver_clear (&p->receiver);
  g_free (p->stream);
  g_free (p);
}

/* Its pads first: what streams out of them ends there. A worker that a handler of the application holds still uses it:
 * then it is kept until the element goes, which that worker has a reference to. */
static void
participant_dispose (Participant *p)
{
  GstNatRelayRoom *self = p->room;
  gboolean idle = gst_nat_relay_receiver_stop (&p->receiver);

  gst_nat_relay_receiver_remove (&p->receiver);
  if (idle) {
    participant_free (p);
    return;
  }
  g_mutex_lock (&self->lock);
  g_ptr_array_add (self->stuck, p);
  g_mutex_unlock (&self->lock);
}

static void
leave (GstElement *element, gpointer user)
{
  Participant *p = user;
  GstNatRelayRoom *self = p->room;

  participant_dispose (p);
  g_mutex_lock (&self->lock);
  self->leaving--;
  g_cond_broadcast (&self->gone);
  g_mutex_unlock (&self->lock);
}

/* called with lock */
static void
forget_ssrcs (GstNatRelayRoom *self, Participant *p)
{
  for (guint i = 0; i < p->n_ssrcs; i++) {
    if (g_hash_table_lookup (self->ssrcs, GUINT_TO_POINTER (p->ssrcs[i])) == p)
      g_hash_table_remove (self->ssrcs, GUINT_TO_POINTER (p->ssrcs[i]));
  }
  p->n_ssrcs = 0;
}

/* ---- the document -------------------------------------------------------- */

static guint
get_settings (GstNatRelayRoom *self, GstNatRelayReceiverSettings *settings)
{
  guint n;

  g_mutex_lock (&self->lock);
  *settings = self->settings;
  n = self->settings_set;
  g_mutex_unlock (&self->lock);
  return n;
}

/* What is set last is what p must have in the end. */
static void
apply_settings (GstNatRelayRoom *self, Participant *p)
{
  GstNatRelayReceiverSettings settings;
  guint applied, n = get_settings (self, &settings);

  do {
    applied = n;
    gst_nat_relay_receiver_set (&p->receiver, &settings);
    gst_nat_relay_receiver_set_rtpbin (p->receiver.rtp.rtpbin, &settings);
    n = get_settings (self, &settings);
  } while (n != applied);
}

/* Children are made and started by whoever calls: nothing of them waits for this thread. */
static Participant *
participant_new (GstNatRelayRoom *self, const gchar *stream)
{
  NatSession *session = gst_nat_relay_connection_get_session (self->conn);
  Participant *p = g_new0 (Participant, 1);

  p->room = self;
  p->stream = g_strdup (stream);
  gst_nat_relay_receiver_init (
      &p->receiver, self->conn, self->admit, self->templates, &self->layouts);
  apply_settings (self, p);
  gst_nat_relay_receiver_start (&p->receiver, session, stream);
  gst_nat_relay_receiver_sync_state (&p->receiver);
  g_clear_pointer (&session, nat_session_unref);
  return p;
}

/* called with lock */
static Participant *
find (GstNatRelayRoom *self, const gchar *stream)
{
  return g_hash_table_lookup (self->participants, stream);
}

/* Who publishes it is new. FALSE: the element is stopping. */
static gboolean
enter (GstNatRelayRoom *self, const gchar *stream)
{
  Participant *p = participant_new (self, stream);
  gboolean ok;

  g_mutex_lock (&self->lock);
  ok = self->started;
  if (ok)
    g_hash_table_insert (self->participants, p->stream, p);
  g_mutex_unlock (&self->lock);
  if (!ok) {
    participant_dispose (p);
    return FALSE;
  }
  /* What was set before it was among the others went to those. */
  apply_settings (self, p);
  post (self, "natrelay-stream-added", stream);
  return TRUE;
}

static void
take_stream (GstNatRelayRoom *self, const NatRoomStream *stream)
{
  const NatDescription *description = &stream->description;
  Participant *p;
  NatTracks tracks;
  gboolean known;

  g_mutex_lock (&self->lock);
  known = find (self, stream->name) != NULL;
  if (known)
    find (self, stream->name)->listed = TRUE;
  g_mutex_unlock (&self->lock);
  if (description->sdp == NULL || !nat_tracks_from_sdp (&tracks, description->sdp, NULL) ||
      (!known && !enter (self, stream->name)))
    return;
  g_mutex_lock (&self->lock);
  p = find (self, stream->name);
  if (p != NULL) {
    p->listed = TRUE;
    forget_ssrcs (self, p);
    for (guint i = 0; i < tracks.n_tracks; i++) {
      p->ssrcs[p->n_ssrcs++] = tracks.tracks[i].ssrc;
      g_hash_table_insert (self->ssrcs, GUINT_TO_POINTER (tracks.tracks[i].ssrc), p);
    }
    gst_nat_relay_receiver_take_description (&p->receiver, stream->publisher, description);
  }
  g_mutex_unlock (&self->lock);
}

/* The message is posted here, as that of who comes: else a stream that comes back could be told to be gone. */
static void
drop_unlisted (GstNatRelayRoom *self)
{
  GPtrArray *gone = g_ptr_array_new ();
  GHashTableIter it;
  gpointer value;

  g_mutex_lock (&self->lock);
  g_hash_table_iter_init (&it, self->participants);
  while (self->started && g_hash_table_iter_next (&it, NULL, &value)) {
    Participant *p = value;

    if (!p->listed) {
      g_hash_table_iter_remove (&it);
      forget_ssrcs (self, p);
      gst_nat_relay_receiver_add_stats (&p->receiver, &self->left);
      self->leaving++;
      g_ptr_array_add (gone, p);
    }
    p->listed = FALSE;
  }
  g_mutex_unlock (&self->lock);
  for (guint i = 0; i < gone->len; i++) {
    post (self, "natrelay-stream-removed", ((Participant *)gone->pdata[i])->stream);
    gst_element_call_async (self->conn->element, leave, gone->pdata[i], NULL);
  }
  g_ptr_array_unref (gone);
}

void
gst_nat_relay_room_take_document (GstNatRelayRoom *self, const NatSessionDocument *document)
{
  for (guint i = 0; i < document->n_streams; i++) {
    if (g_strcmp0 (document->streams[i].name, self->exclude) != 0)
      take_stream (self, &document->streams[i]);
  }
  drop_unlisted (self);
}

/* ---- packets ------------------------------------------------------------- */

static guint32
ssrc_of (const NatDatagram *packet)
{
  return packet->len >= 12 ? GST_READ_UINT32_BE (packet->data + 8) : 0;
}

/* Runs of one SSRC go together. */
void
gst_nat_relay_room_push_rtp (GstNatRelayRoom *self, const NatDatagram *packets, guint n)
{
  g_mutex_lock (&self->lock);
  for (guint from = 0, to; from < n; from = to) {
    guint32 ssrc = ssrc_of (&packets[from]);
    Participant *p = g_hash_table_lookup (self->ssrcs, GUINT_TO_POINTER (ssrc));

    for (to = from + 1; to < n && ssrc_of (&packets[to]) == ssrc; to++)
      ;
    if (p != NULL)
      gst_nat_relay_receiver_push_rtp (&p->receiver, packets + from, to - from);
  }
  g_mutex_unlock (&self->lock);
}

/* called with lock. A compound is about one stream: its first sender report tells, or what it says of live edges. */
static Participant *
participant_of (GstNatRelayRoom *self, const NatDatagram *compound)
{
  NatLiveEdge edges[NAT_TRACKS_MAX];
  Participant *p = NULL;
  NatRtcpPacket packet;
  NatRtcpIter it;

  if (!nat_rtcp_iter_init (&it, compound->data, compound->len))
    return NULL;
  while (p == NULL && nat_rtcp_iter_next (&it, &packet)) {
    guint32 ssrc = 0;

    if (packet.type == NAT_RTCP_SR)
      ssrc = nat_rtcp_sender_ssrc (&packet);
    else if (nat_rtcp_edges (&packet, edges) > 0)
      ssrc = edges[0].ssrc;
    p = ssrc != 0 ? g_hash_table_lookup (self->ssrcs, GUINT_TO_POINTER (ssrc)) : NULL;
  }
  return p;
}

void
gst_nat_relay_room_push_rtcp (GstNatRelayRoom *self, const NatDatagram *packet)
{
  Participant *p;

  g_mutex_lock (&self->lock);
  p = participant_of (self, packet);
  if (p != NULL)
    gst_nat_relay_receiver_push_rtcp (&p->receiver, packet);
  g_mutex_unlock (&self->lock);
}

/* ---- for the element ----------------------------------------------------- */

void
gst_nat_relay_room_set (GstNatRelayRoom *self, const GstNatRelayReceiverSettings *settings)
{
  GPtrArray *rtpbins = g_ptr_array_new_with_free_func (gst_object_unref);
  GHashTableIter it;
  gpointer value;

  g_mutex_lock (&self->lock);
  self->settings = *settings;
  self->settings_set++;
  g_hash_table_iter_init (&it, self->participants);
  while (g_hash_table_iter_next (&it, NULL, &value)) {
    Participant *p = value;

    gst_nat_relay_receiver_set (&p->receiver, settings);
    g_ptr_array_add (rtpbins, gst_object_ref (p->receiver.rtp.rtpbin));
  }
  g_mutex_unlock (&self->lock);
  for (guint i = 0; i < rtpbins->len; i++)
    gst_nat_relay_receiver_set_rtpbin (rtpbins->pdata[i], settings);
  g_ptr_array_unref (rtpbins);
}

void
gst_nat_relay_room_get_stats (GstNatRelayRoom *self, GstNatRelayReceiverStats *stats)
{
  GHashTableIter it;
  gpointer participant;

  g_mutex_lock (&self->lock);
  *stats = self->left;
  g_hash_table_iter_init (&it, self->participants);
  while (g_hash_table_iter_next (&it, NULL, &participant))
    gst_nat_relay_receiver_add_stats (&((Participant *)participant)->receiver, stats);
  g_mutex_unlock (&self->lock);
}

void
gst_nat_relay_room_get_pads (GstNatRelayRoom *self, GPtrArray *pads)
{
  GHashTableIter it;
  gpointer participant;

  g_mutex_lock (&self->lock);
  g_hash_table_iter_init (&it, self->participants);
  while (g_hash_table_iter_next (&it, NULL, &participant))
    gst_nat_relay_layout_get_pads (&((Participant *)participant)->receiver.layout, pads);
  g_mutex_unlock (&self->lock);
}

void
gst_nat_relay_room_start (GstNatRelayRoom *self, const gchar *exclude)
{
  g_mutex_lock (&self->lock);
  g_free (self->exclude);
  self->exclude = g_strdup (exclude);
  self->started = TRUE;
  self->changes = 0;
  self->left = (GstNatRelayReceiverStats){0};
  g_mutex_unlock (&self->lock);
}

void
gst_nat_relay_room_unblock (GstNatRelayRoom *self)
{
  GHashTableIter it;
  gpointer participant;

  g_mutex_lock (&self->lock);
  g_hash_table_iter_init (&it, self->participants);
  while (g_hash_table_iter_next (&it, NULL, &participant))
    gst_nat_relay_receiver_unblock (&((Participant *)participant)->receiver);
  g_mutex_unlock (&self->lock);
}

/* Those who leave are waited for, but not for ever, for the reason that gst_nat_relay_layout_stop has. */
void
gst_nat_relay_room_stop (GstNatRelayRoom *self)
{
  gint64 until = g_get_monotonic_time () + PATIENCE_US;
  GHashTableIter it;
  gpointer participant;
  GPtrArray *all = g_ptr_array_new ();

  g_mutex_lock (&self->lock);
  self->started = FALSE;
  g_hash_table_iter_init (&it, self->participants);
  while (g_hash_table_iter_next (&it, NULL, &participant))
    g_ptr_array_add (all, participant);
  g_hash_table_remove_all (self->participants);
  g_hash_table_remove_all (self->ssrcs);
  while (self->leaving > 0 && g_cond_wait_until (&self->gone, &self->lock, until))
    ;
  g_mutex_unlock (&self->lock);
  for (guint i = 0; i < all->len; i++)
    participant_dispose (all->pdata[i]);
  g_ptr_array_unref (all);
}

void
gst_nat_relay_room_init (GstNatRelayRoom *self, GstNatRelayConnection *conn,
    GstNatRelayReceiverAdmit admit, GstStaticPadTemplate *templates)
{
  self->conn = conn;
  self->admit = admit;
  self->templates = templates;
  self->layouts.changed = pads_changed;
  self->layouts.user = self;
  g_mutex_init (&self->lock);
  g_cond_init (&self->gone);
  self->participants = g_hash_table_new (g_str_hash, g_str_equal);
  self->ssrcs = g_hash_table_new (NULL, NULL);
  self->stuck = g_ptr_array_new_with_free_func ((GDestroyNotify)participant_free);
}

void
gst_nat_relay_room_clear (GstNatRelayRoom *self)
{
  g_ptr_array_unref (self->stuck);
  g_hash_table_unref (self->participants);
  g_hash_table_unref (self->ssrcs);
  g_free (self->exclude);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->gone);
}
