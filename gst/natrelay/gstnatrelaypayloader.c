/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Payloaders come from the registry, so that whatever a machine has is used (hardware vendors bring their own).
 * Parsers come from the table: the registry's ranks say nothing about them here, as some have none. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelaypayloader.h"
#include "gstnatrelayelement.h"

#define GST_CAT_DEFAULT gst_nat_relay_debug

#define GOOD "GStreamer's \"good\" plugins"
#define BAD  "GStreamer's \"bad\" plugins"
#define RUST "GStreamer's Rust plugins (gst-plugin-rtp)"

/* One frame of sound then goes at once, instead of as many as a packet holds. */
#define MAX_PTIME (20 * GST_MSECOND)

typedef struct {
  const gchar *caps;
  /* What there is for it, and where: for who has not installed it, and where others have the same rank. */
  const gchar *payloader, *payloader_from;
  const gchar *parser, *parser_from; /* or NULL */
  gint64 max_ptime; /* ns of sound that may wait in the payloader for more; 0: none waits anyway */
} Format;

static const Format formats[] = {
    {"video/x-h264", "rtph264pay", GOOD, "h264parse", BAD, 0},
    {"video/x-h265", "rtph265pay", GOOD, "h265parse", BAD, 0},
    {"video/x-vp8", "rtpvp8pay", GOOD, NULL, NULL, 0},
    {"video/x-vp9", "rtpvp9pay", GOOD, "vp9parse", BAD, 0},
    {"video/x-av1", "rtpav1pay", RUST, "av1parse", BAD, 0},
    {"image/jpeg", "rtpjpegpay", GOOD, NULL, NULL, 0},
    {"video/mpegts", "rtpmp2tpay", GOOD, "tsparse", BAD, 0},
    {"audio/x-opus", "rtpopuspay", GOOD, NULL, NULL, 0},
    /* Not rtpmp4apay, whose depayloader spoils the first frame. */
    {"audio/mpeg, mpegversion=(int){ 2, 4 }", "rtpmp4gpay", GOOD, "aacparse", GOOD, 0},
    {"audio/mpeg, mpegversion=(int)1", "rtpmpapay", GOOD, "mpegaudioparse", GOOD, MAX_PTIME},
    {"audio/x-alaw", "rtppcmapay", GOOD, NULL, NULL, 0},
    {"audio/x-mulaw", "rtppcmupay", GOOD, NULL, NULL, 0},
    {"audio/G722", "rtpg722pay", GOOD, NULL, NULL, 0},
    {"audio/x-ac3", "rtpac3pay", GOOD, "ac3parse", GOOD, MAX_PTIME},
    {"audio/x-raw, format=S16BE", "rtpL16pay", GOOD, NULL, NULL, 0},
    {"audio/x-raw, format=S24BE", "rtpL24pay", GOOD, NULL, NULL, 0},
    {"meta/x-klv", "rtpklvpay", GOOD, NULL, NULL, 0},
};

/* Set on whichever of the elements has such a property. */
static const struct {
  const gchar *property, *value;
} live_settings[] = {
    /* Parameter sets with each key frame: who joins has no others. */
    {"config-interval", "-1"},
    /* Parameter sets with their picture in one packet, but no picture waits for the next. */
    {"aggregate-mode", "zero-latency"},
    /* A receiver sees which pictures are missing. */
    {"picture-id-mode", "15-bit"},
    /* A transport stream out of a file has no time stamps but its own. */
    {"set-timestamps", "true"},
};

/* ---- what is installed --------------------------------------------------- */

/* The best first. Free with gst_plugin_feature_list_free. */
static GList *
list_payloaders (void)
{
  return gst_element_factory_list_get_elements (
      GST_ELEMENT_FACTORY_TYPE_PAYLOADER, GST_RANK_MARGINAL);
}

static GstCaps *
template_caps (GstElementFactory *factory, GstPadDirection direction)
{
  const GList *l = gst_element_factory_get_static_pad_templates (factory);
  GstCaps *caps = gst_caps_new_empty ();

  for (; l != NULL; l = l->next) {
    GstStaticPadTemplate *template = l->data;

    if (template->direction == direction && template->presence == GST_PAD_ALWAYS)
      caps = gst_caps_merge (caps, gst_static_pad_template_get_caps (template));
  }
  return caps;
}

/* Takes all of caps, or, if not whole, some. */
static gboolean
takes (GstElementFactory *factory, GstCaps *caps, gboolean whole)
{
  GstCaps *own = template_caps (factory, GST_PAD_SINK);
  gboolean ok = !gst_caps_is_any (own) &&
                (whole ? gst_caps_is_subset (caps, own) : gst_caps_can_intersect (caps, own));

  gst_caps_unref (own);
  return ok;
}

/* A reference, or NULL. */
static GstElementFactory *
find_payloader (const Format *format, GstCaps *caps, gboolean whole)
{
  GList *payloaders = list_payloaders ();
  GstElementFactory *found = NULL;

  for (GList *l = payloaders; l != NULL; l = l->next) {
    GstPluginFeature *feature = l->data;

    if (found != NULL && gst_plugin_feature_get_rank (feature) <
                             gst_plugin_feature_get_rank (GST_PLUGIN_FEATURE (found)))
      break;
    if ((found == NULL || g_str_equal (GST_OBJECT_NAME (feature), format->payloader)) &&
        takes (GST_ELEMENT_FACTORY (feature), caps, whole))
      found = GST_ELEMENT_FACTORY (feature);
  }
  if (found != NULL)
    gst_object_ref (found);
  gst_plugin_feature_list_free (payloaders);
  return found;
}

static const Format *
find_format (GstCaps *caps)
{
  for (guint i = 0; i < G_N_ELEMENTS (formats); i++) {
    GstCaps *own = gst_caps_from_string (formats[i].caps);
    gboolean fits = gst_caps_is_subset (caps, own);

    gst_caps_unref (own);
    if (fits)
      return &formats[i];
  }
  return NULL;
}

/* ---- caps ---------------------------------------------------------------- */

static GstCaps *
format_caps (const Format *format, GList *payloaders)
{
  GstCaps *all = gst_caps_from_string (format->caps), *caps = gst_caps_new_empty ();
  gboolean any;

  for (GList *l = payloaders; l != NULL; l = l->next) {
    GstCaps *own = template_caps (l->data, GST_PAD_SINK);

    if (!gst_caps_is_any (own))
      caps = gst_caps_merge (caps, gst_caps_intersect (own, all));
    gst_caps_unref (own);
  }
  any = !gst_caps_is_empty (caps);
  if (!any || format->parser != NULL)
    return gst_caps_merge (caps, all);
  gst_caps_unref (all);
  return caps;
}

static GstCaps *
collect_caps (void)
{
  GstCaps *caps = gst_caps_new_empty_simple ("application/x-rtp");
  GList *payloaders = list_payloaders ();

  for (guint i = 0; i < G_N_ELEMENTS (formats); i++)
    caps = gst_caps_merge (caps, format_caps (&formats[i], payloaders));
  gst_plugin_feature_list_free (payloaders);
  return caps;
}

GstCaps *
gst_nat_relay_payloader_query_caps (void)
{
  static GMutex lock;
  static GstCaps *caps;
  static guint32 cookie;
  guint32 now = gst_registry_get_feature_list_cookie (gst_registry_get ());
  GstCaps *ret;

  g_mutex_lock (&lock);
  if (caps == NULL || cookie != now) {
    gst_clear_caps (&caps);
    caps = collect_caps ();
    GST_MINI_OBJECT_FLAG_SET (caps, GST_MINI_OBJECT_FLAG_MAY_BE_LEAKED);
    cookie = now;
  }
  ret = gst_caps_ref (caps);
  g_mutex_unlock (&lock);
  return ret;
}

/* ---- choice -------------------------------------------------------------- */

static gboolean refuse (GError **error, GstStreamError code, GstCaps *caps, const gchar *format,
    ...) G_GNUC_PRINTF (4, 5);

static gboolean
refuse (GError **error, GstStreamError code, GstCaps *caps, const gchar *format, ...)
{
  gchar *text, *stream = gst_caps_to_string (caps);
  va_list args;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error (error, GST_STREAM_ERROR, (gint)code, "%s (it is %s)", text, stream);
  g_free (text);
  g_free (stream);
  return FALSE;
}

static gboolean
refuse_kind (GError **error, GstCaps *caps)
{
  const gchar *name = gst_structure_get_name (gst_caps_get_structure (caps, 0));

  if (g_str_equal (name, "video/x-raw"))
    return refuse (error, GST_STREAM_ERROR_WRONG_TYPE, caps,
        "raw video must be encoded first: put an encoder before, as x264enc tune=zerolatency");
  if (g_str_equal (name, "audio/x-raw"))
    return refuse (error, GST_STREAM_ERROR_WRONG_TYPE, caps,
        "raw sound must be encoded first: put an encoder before, as opusenc");
  return refuse (error, GST_STREAM_ERROR_WRONG_TYPE, caps,
      "nothing is known that brings this into RTP; if something does, put it before");
}

static gboolean
refuse_form (GError **error, GstCaps *caps, const Format *format)
{
  return refuse (error, GST_STREAM_ERROR_FORMAT, caps,
      "no payloader takes this as it is, %s among them", format->payloader);
}

static GstElement *
make_element (GstElementFactory *factory, const Format *format)
{
  GstElement *element = gst_element_factory_create (factory, NULL);

  if (element == NULL)
    return NULL;
  for (guint i = 0; i < G_N_ELEMENTS (live_settings); i++) {
    if (g_object_class_find_property (G_OBJECT_GET_CLASS (element), live_settings[i].property))
      gst_util_set_object_arg (
          G_OBJECT (element), live_settings[i].property, live_settings[i].value);
  }
  if (format->max_ptime != 0 &&
      g_object_class_find_property (G_OBJECT_GET_CLASS (element), "max-ptime"))
    g_object_set (element, "max-ptime", format->max_ptime, NULL);
  return gst_object_ref_sink (element);
}

/* A payloader is there, but takes the stream in another form. */
static gboolean
choose_parser (GstNatRelayPayloader *out, GstCaps *caps, const Format *format, GError **error)
{
  GstElementFactory *parser = gst_element_factory_find (format->parser), *payloader;
  GstCaps *parsed;

  if (parser == NULL)
    return refuse (error, GST_STREAM_ERROR_CODEC_NOT_FOUND, caps,
        "the parser that this needs is not installed: %s, which comes with %s", format->parser,
        format->parser_from);
  parsed = template_caps (parser, GST_PAD_SRC);
  payloader = find_payloader (format, parsed, FALSE);
  if (payloader != NULL) {
    out->parser = make_element (parser, format);
    out->payloader = make_element (payloader, format);
    gst_object_unref (payloader);
  }
  gst_caps_unref (parsed);
  gst_object_unref (parser);
  return payloader != NULL || refuse_form (error, caps, format);
}

static gboolean
choose_other_form (GstNatRelayPayloader *out, GstCaps *caps, const Format *format, GError **error)
{
  GstCaps *any = gst_caps_from_string (format->caps);
  GstElementFactory *payloader = find_payloader (format, any, FALSE);

  gst_caps_unref (any);
  if (payloader == NULL)
    return refuse (error, GST_STREAM_ERROR_CODEC_NOT_FOUND, caps,
        "the payloader for this is not installed: %s, which comes with %s", format->payloader,
        format->payloader_from);
  gst_object_unref (payloader);
  if (format->parser == NULL)
    return refuse_form (error, caps, format);
  return choose_parser (out, caps, format, error);
}

gboolean
gst_nat_relay_payloader_make (GstNatRelayPayloader *out, GstCaps *caps, GError **error)
{
  const Format *format = find_format (caps);
  GstElementFactory *payloader;

  *out = (GstNatRelayPayloader){NULL, NULL};
  if (format == NULL)
    return refuse_kind (error, caps);
  payloader = find_payloader (format, caps, TRUE);
  if (payloader == NULL)
    return choose_other_form (out, caps, format, error);
  out->payloader = make_element (payloader, format);
  gst_object_unref (payloader);
  return TRUE;
}

gboolean
gst_nat_relay_payloader_accepts (const GstNatRelayPayloader *self, GstCaps *caps)
{
  GstElement *head = self->parser != NULL ? self->parser : self->payloader;

  return head != NULL && takes (gst_element_get_factory (head), caps, TRUE);
}

void
gst_nat_relay_payloader_set_packet_size (GstElement *payloader, guint size)
{
  if (g_object_class_find_property (G_OBJECT_GET_CLASS (payloader), "mtu") != NULL)
    g_object_set (payloader, "mtu", size, NULL);
}

/* ---- plugging ------------------------------------------------------------ */

GstPad *
gst_nat_relay_payloader_plug (const GstNatRelayPayloader *self, GstBin *bin, GstElement *next)
{
  GstElement *head = self->payloader;

  gst_bin_add (bin, self->payloader);
  gst_element_link_pads (self->payloader, "src", next, "sink");
  if (self->parser != NULL) {
    gst_bin_add (bin, self->parser);
    gst_element_link_pads (self->parser, "src", self->payloader, "sink");
    head = self->parser;
  }
  gst_element_sync_state_with_parent (self->payloader);
  if (self->parser != NULL)
    gst_element_sync_state_with_parent (self->parser);
  return gst_element_get_static_pad (head, "sink");
}

static GstPadProbeReturn
drop_eos (GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
  return GST_EVENT_TYPE (GST_PAD_PROBE_INFO_EVENT (info)) == GST_EVENT_EOS ? GST_PAD_PROBE_DROP
                                                                           : GST_PAD_PROBE_OK;
}

void
gst_nat_relay_payloader_drain (const GstNatRelayPayloader *self)
{
  GstElement *head = self->parser != NULL ? self->parser : self->payloader;
  GstPad *src = gst_element_get_static_pad (self->payloader, "src");
  GstPad *sink = gst_element_get_static_pad (head, "sink");

  gst_pad_add_probe (src, GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, drop_eos, NULL, NULL);
  gst_pad_send_event (sink, gst_event_new_eos ());
  gst_object_unref (src);
  gst_object_unref (sink);
}

static void
remove_element (GstBin *bin, GstElement **element)
{
  if (*element == NULL)
    return;
  /* The bin may have let go of its children already. */
  if (GST_OBJECT_PARENT (*element) == GST_OBJECT (bin)) {
    gst_element_set_locked_state (*element, TRUE);
    gst_element_set_state (*element, GST_STATE_NULL);
    gst_bin_remove (bin, *element);
  }
  gst_clear_object (element);
}

void
gst_nat_relay_payloader_unplug (GstNatRelayPayloader *self, GstBin *bin)
{
  remove_element (bin, &self->parser);
  remove_element (bin, &self->payloader);
}
