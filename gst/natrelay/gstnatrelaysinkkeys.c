/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelaysinkkeys.h"
#include "natproto/crypto.h"

#include <string.h>

GST_DEBUG_CATEGORY_EXTERN (gst_nat_relay_debug);
#define GST_CAT_DEFAULT gst_nat_relay_debug

/* Subscribers are told at once; those that miss it see it in the answer to their next Binding, 4 s later at most, and
 * have fetched the key in the rest of the time. */
#define ROLL_DELAY (10 * GST_SECOND)
/* Whoever joins gets packets of the past, as old as the last key frame. */
#define KEEP_OLD_KEY (60 * GST_SECOND)

/* called with lock; what seals, of a key as the document has it */
static void
sealing_key (GstNatRelaySinkKeys *self, const NatMediaKey *key, NatMediaKey *out)
{
  *out = *key;
  if (self->passphrase != NULL)
    nat_passphrase_apply (self->stretched, self->stream, out);
}

/* called with lock */
static void
draw_first_key (GstNatRelaySinkKeys *self)
{
  NatMediaKey key;

  nat_media_key_generate (&self->keys[0], self->suite);
  self->n_keys = 1;
  sealing_key (self, &self->keys[0], &key);
  gst_nat_relay_seal_set_key (self->seal, &key);
  nat_crypto_wipe (&key, sizeof key);
  self->ready = TRUE;
}

/* ---- the life of a key --------------------------------------------------- */

gboolean
gst_nat_relay_sink_keys_roll (GstNatRelaySinkKeys *self)
{
  gboolean begin;

  g_mutex_lock (&self->lock);
  begin = self->n_keys > 0 && !self->rolling;
  if (begin) {
    /* With the old key not forgotten yet, the one in use is the second. */
    if (self->n_keys == 2)
      self->keys[0] = self->keys[1];
    nat_media_key_generate_next (&self->keys[1], &self->keys[0]);
    self->n_keys = 2;
    self->rolling = TRUE;
    self->announced = FALSE;
  }
  g_mutex_unlock (&self->lock);
  if (begin) {
    GST_INFO_OBJECT (self->element, "announcing the next media key");
    self->changed (self->element);
  }
  return begin;
}

static gboolean
has_key (const NatDescription *description, const NatMediaKey *key)
{
  for (guint i = 0; i < description->n_media_keys; i++) {
    if (description->media_keys[i].kid == key->kid)
      return TRUE;
  }
  return FALSE;
}

/* called with lock; once, though the relay may be told again before the delay is over */
static void
use_next_key (GstNatRelaySinkKeys *self)
{
  NatMediaKey key;

  if (self->announce_serial == 0 || self->relay_serial < self->announce_serial)
    return;
  self->announce_serial = 0;
  sealing_key (self, &self->keys[1], &key);
  gst_nat_relay_seal_roll_to (self->seal, &key, ROLL_DELAY, KEEP_OLD_KEY);
  nat_crypto_wipe (&key, sizeof key);
}

void
gst_nat_relay_sink_keys_offered (
    GstNatRelaySinkKeys *self, const NatDescription *description, guint serial)
{
  g_mutex_lock (&self->lock);
  if (self->rolling && !self->announced && has_key (description, &self->keys[1])) {
    self->announced = TRUE;
    self->announce_serial = serial;
    use_next_key (self);
  }
  g_mutex_unlock (&self->lock);
}

void
gst_nat_relay_sink_keys_described (GstNatRelaySinkKeys *self, guint serial)
{
  g_mutex_lock (&self->lock);
  self->relay_serial = serial;
  use_next_key (self);
  g_mutex_unlock (&self->lock);
}

static void
key_is_used (GstNatRelaySinkKeys *self)
{
  g_mutex_lock (&self->lock);
  self->rolling = FALSE;
  self->rolls++;
  g_mutex_unlock (&self->lock);
  GST_INFO_OBJECT (self->element, "the next media key is in use");
}

static void
forget_old_key (GstNatRelaySinkKeys *self)
{
  gboolean forget;

  g_mutex_lock (&self->lock);
  forget = self->n_keys == 2 && !self->rolling;
  if (forget) {
    self->keys[0] = self->keys[1];
    nat_crypto_wipe (&self->keys[1], sizeof self->keys[1]);
    self->n_keys = 1;
  }
  g_mutex_unlock (&self->lock);
  if (forget)
    self->changed (self->element);
}

static void
on_seal_event (GstNatRelaySealEvent event, gpointer user)
{
  switch (event) {
  case GST_NAT_RELAY_SEAL_WEARS_OUT: gst_nat_relay_sink_keys_roll (user); break;
  case GST_NAT_RELAY_SEAL_TOOK_KEY: key_is_used (user); break;
  case GST_NAT_RELAY_SEAL_OLD_KEY_IS_OLD: forget_old_key (user); break;
  }
}

/* ---- the passphrase ------------------------------------------------------- */

typedef struct {
  GstNatRelaySinkKeys *keys;
  GstNatRelayPassphrase *passphrase;
  gchar *stream;
  guint run;
} Stretching;

static void
stretching_free (gpointer user)
{
  Stretching *s = user;

  gst_nat_relay_passphrase_unref (s->passphrase);
  g_free (s->stream);
  g_free (s);
}

static void
stretch (GstElement *element, gpointer user)
{
  const Stretching *s = user;
  GstNatRelaySinkKeys *self = s->keys;
  guint8 stretched[NAT_STRETCHED_SIZE];
  gboolean wanted;

  gst_nat_relay_passphrase_stretch (s->passphrase, s->stream, stretched);
  g_mutex_lock (&self->lock);
  wanted = self->run == s->run;
  if (wanted) {
    memcpy (self->stretched, stretched, sizeof stretched);
    draw_first_key (self);
  }
  g_mutex_unlock (&self->lock);
  nat_crypto_wipe (stretched, sizeof stretched);
  if (wanted)
    self->changed (element);
}

/* ---- for the element ------------------------------------------------------ */

void
gst_nat_relay_sink_keys_init (GstNatRelaySinkKeys *self, GstElement *element, GstNatRelaySeal *seal,
    void (*changed) (GstElement *element))
{
  g_mutex_init (&self->lock);
  self->element = element;
  self->seal = seal;
  self->changed = changed;
  if (seal != NULL)
    gst_nat_relay_seal_set_hook (seal, on_seal_event, self);
}

void
gst_nat_relay_sink_keys_clear (GstNatRelaySinkKeys *self)
{
  g_mutex_clear (&self->lock);
}

/* called with lock */
static Stretching *
stretching_new (GstNatRelaySinkKeys *self)
{
  Stretching *s = g_new0 (Stretching, 1);

  s->keys = self;
  s->passphrase = gst_nat_relay_passphrase_ref (self->passphrase);
  s->stream = g_strdup (self->stream);
  s->run = self->run;
  return s;
}

gboolean
gst_nat_relay_sink_keys_start (GstNatRelaySinkKeys *self, GstNatRelayConnection *conn,
    GstNatRelayEncryption encryption, gboolean hold)
{
  GstNatRelayPassphrase *passphrase = gst_nat_relay_connection_get_passphrase (conn);
  Stretching *s = NULL;

  if (passphrase != NULL && encryption == GST_NAT_RELAY_ENCRYPTION_NONE) {
    GST_ELEMENT_ERROR (self->element, RESOURCE, SETTINGS,
        ("A passphrase is set, but encryption is none; leave one of them out"), (NULL));
    gst_nat_relay_passphrase_unref (passphrase);
    return FALSE;
  }
  g_mutex_lock (&self->lock);
  self->run++;
  self->suite = (NatSframeSuite)encryption;
  self->passphrase = passphrase;
  self->stream = gst_nat_relay_connection_get_stream (conn);
  if (passphrase != NULL) {
    gst_nat_relay_seal_set_held (self->seal, hold);
    s = stretching_new (self);
  } else if (encryption == GST_NAT_RELAY_ENCRYPTION_NONE) {
    gst_nat_relay_seal_set_key (self->seal, NULL);
    self->ready = TRUE;
  } else {
    draw_first_key (self);
  }
  g_mutex_unlock (&self->lock);
  if (s != NULL)
    gst_element_call_async (self->element, stretch, s, stretching_free);
  return TRUE;
}

void
gst_nat_relay_sink_keys_stop (GstNatRelaySinkKeys *self)
{
  g_mutex_lock (&self->lock);
  self->run++;
  gst_nat_relay_seal_reset (self->seal);
  g_clear_pointer (&self->passphrase, gst_nat_relay_passphrase_unref);
  g_clear_pointer (&self->stream, g_free);
  nat_crypto_wipe (self->keys, sizeof self->keys);
  nat_crypto_wipe (self->stretched, sizeof self->stretched);
  self->n_keys = self->rolls = self->announce_serial = self->relay_serial = 0;
  self->ready = self->rolling = self->announced = FALSE;
  g_mutex_unlock (&self->lock);
}

gboolean
gst_nat_relay_sink_keys_are_ready (GstNatRelaySinkKeys *self)
{
  gboolean ready;

  g_mutex_lock (&self->lock);
  ready = self->ready;
  g_mutex_unlock (&self->lock);
  return ready;
}

void
gst_nat_relay_sink_keys_fill (GstNatRelaySinkKeys *self, NatDescription *description)
{
  gchar *proved;

  g_mutex_lock (&self->lock);
  memcpy (description->media_keys, self->keys, sizeof self->keys);
  description->n_media_keys = self->n_keys;
  if (self->passphrase != NULL && self->ready) {
    proved = nat_passphrase_sign (self->stretched, self->stream, description);
    g_free (description->sdp);
    description->sdp = proved;
  }
  g_mutex_unlock (&self->lock);
}

guint
gst_nat_relay_sink_keys_get_rolls (GstNatRelaySinkKeys *self)
{
  guint rolls;

  g_mutex_lock (&self->lock);
  rolls = self->rolls;
  g_mutex_unlock (&self->lock);
  return rolls;
}
