/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelaypassphrase.h"
#include "natproto/crypto.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

GST_DEBUG_CATEGORY_EXTERN (gst_nat_relay_debug);
#define GST_CAT_DEFAULT gst_nat_relay_debug

/* Rooms whose stretched passphrase is kept; a relay that names ever more of them costs time, not memory. */
#define ROOMS_MAX 16

typedef struct {
  gchar name[NAT_STREAM_NAME_MAX + 1];
  guint8 stretched[NAT_STRETCHED_SIZE];
} Room;

struct _GstNatRelayPassphrase {
  gatomicrefcount refs;
  guint8 text[NAT_PASSPHRASE_MAX];
  gsize len;

  GMutex lock; /* guards the rest; held while stretching, so that it is done once */
  Room rooms[ROOMS_MAX];
  guint n_rooms; /* ever kept; the next goes into rooms[n_rooms % ROOMS_MAX] */
};

static gboolean
refuse (GError **error, const gchar *text)
{
  g_set_error_literal (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS, text);
  return FALSE;
}

static gboolean
take (GstNatRelayPassphrase *self, const gchar *text, gsize len, GError **error)
{
  if (len < NAT_PASSPHRASE_MIN || len > NAT_PASSPHRASE_MAX) {
    g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS,
        "The passphrase has %" G_GSIZE_FORMAT " bytes; it must have %d to %d, best six words at "
        "random",
        len, NAT_PASSPHRASE_MIN, NAT_PASSPHRASE_MAX);
    return FALSE;
  }
  memcpy (self->text, text, len);
  self->len = len;
  return TRUE;
}

/* A URI may name the file, so it is not opened unless opening it can do nothing. */
static gboolean
check_file (const gchar *path, GError **error)
{
  GStatBuf info;
  int why = g_stat (path, &info) == 0 ? 0 : errno;

  if (why != 0 || !S_ISREG (info.st_mode)) {
    g_autofree gchar *name = g_filename_display_name (path);

    g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS,
        "The property key-file must name a regular file that exists and can be read; \"%s\" is "
        "none%s%s",
        name, why == 0 ? "" : ": ", why == 0 ? "" : g_strerror (why));
    return FALSE;
  }
  if (info.st_size > NAT_PASSPHRASE_MAX + 2)
    return refuse (error, "The key file is too long; it holds a passphrase of at most 1024 bytes "
                          "and nothing else");
  if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0)
    GST_WARNING ("the key file can be read by others than its owner; chmod 600 it");
  return TRUE;
}

static gboolean
read_file (GstNatRelayPassphrase *self, const gchar *path, GError **error)
{
  GError *reason = NULL;
  gchar *text;
  gsize len;
  gboolean ok;

  if (!check_file (path, error))
    return FALSE;
  if (!g_file_get_contents (path, &text, &len, &reason)) {
    g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS,
        "The key file cannot be read: %s", reason->message);
    g_error_free (reason);
    return FALSE;
  }
  while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
    len--;
  ok = take (self, text, len, error);
  nat_crypto_wipe (text, len);
  g_free (text);
  return ok;
}

GstNatRelayPassphrase *
gst_nat_relay_passphrase_new (const gchar *text, const gchar *key_file, GError **error)
{
  gboolean has_text = text != NULL && *text != '\0',
           has_file = key_file != NULL && *key_file != '\0';
  GstNatRelayPassphrase *self;
  gboolean ok;

  if (!has_text && !has_file)
    return NULL;
  if (has_text && has_file) {
    refuse (error, "Both passphrase and key-file are set; set one of them");
    return NULL;
  }
  self = g_new0 (GstNatRelayPassphrase, 1);
  g_atomic_ref_count_init (&self->refs);
  g_mutex_init (&self->lock);
  ok = has_text ? take (self, text, strlen (text), error) : read_file (self, key_file, error);
  if (!ok)
    g_clear_pointer (&self, gst_nat_relay_passphrase_unref);
  return self;
}

GstNatRelayPassphrase *
gst_nat_relay_passphrase_ref (GstNatRelayPassphrase *self)
{
  g_atomic_ref_count_inc (&self->refs);
  return self;
}

void
gst_nat_relay_passphrase_unref (GstNatRelayPassphrase *self)
{
  if (self == NULL || !g_atomic_ref_count_dec (&self->refs))
    return;
  g_mutex_clear (&self->lock);
  nat_crypto_wipe (self, sizeof *self);
  g_free (self);
}

/* called with lock */
static Room *
find_room (GstNatRelayPassphrase *self, const gchar *stream, gsize len)
{
  for (guint i = 0; i < MIN (self->n_rooms, ROOMS_MAX); i++) {
    Room *room = &self->rooms[i];

    if (strlen (room->name) == len && memcmp (room->name, stream, len) == 0)
      return room;
  }
  return NULL;
}

void
gst_nat_relay_passphrase_stretch (
    GstNatRelayPassphrase *self, const gchar *stream, guint8 stretched[NAT_STRETCHED_SIZE])
{
  gsize len = nat_passphrase_room_len (stream);
  Room *room;

  g_return_if_fail (len <= NAT_STREAM_NAME_MAX);
  g_mutex_lock (&self->lock);
  room = find_room (self, stream, len);
  if (room == NULL) {
    room = &self->rooms[self->n_rooms++ % ROOMS_MAX];
    memcpy (room->name, stream, len);
    room->name[len] = '\0';
    nat_passphrase_stretch (self->text, self->len, stream, room->stretched);
  }
  memcpy (stretched, room->stretched, NAT_STRETCHED_SIZE);
  g_mutex_unlock (&self->lock);
}

static gboolean
verify (GstNatRelayPassphrase *self, const gchar *stream, NatDescription *description)
{
  guint8 stretched[NAT_STRETCHED_SIZE];
  gboolean ok;

  gst_nat_relay_passphrase_stretch (self, stream, stretched);
  ok = nat_passphrase_verify (stretched, stream, description);
  nat_crypto_wipe (stretched, sizeof stretched);
  return ok;
}

gboolean
gst_nat_relay_passphrase_admit (
    GstNatRelayPassphrase *self, const gchar *stream, NatDescription *description, GError **error)
{
  gboolean needed = nat_passphrase_needed (description);

  if (self == NULL && !needed)
    return TRUE;
  if (self == NULL)
    g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_DECRYPT_NOKEY,
        "The publisher of \"%s\" keeps it secret with a passphrase; set the property passphrase or "
        "key-file to the same",
        stream);
  else if (!needed)
    g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_DECRYPT,
        "The publisher of \"%s\" uses no passphrase, so the relay could read and change what it "
        "sends; set the passphrase there too, or leave it out here",
        stream);
  else if (description->n_media_keys == 0 || !verify (self, stream, description))
    g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_DECRYPT,
        "The passphrase is not the one that the publisher of \"%s\" uses, or the description was "
        "changed on its way; set the same passphrase on both sides",
        stream);
  else
    return TRUE;
  return FALSE;
}
