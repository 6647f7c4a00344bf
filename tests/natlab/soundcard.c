/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A sound card where there is none, as a plugin: labmicrophone and labloudspeaker are to GStreamer what
 * alsasrc and alsasink are, with ring buffer, periods and clock, and have a device of their own behind them.
 *
 * In front of the microphone somebody beeps whenever a second of the machine's monotonic clock begins. The
 * loudspeaker prints when a beep is heard, in microseconds after the beginning of that second:
 *
 *     heard US
 *
 * So this is the time from mouth to ear, every buffer between them included, whichever process and network
 * namespace the mouth is in. At the end it prints how long it had nothing to play, in milliseconds:
 *
 *     starved MS times N */

#include "config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <gst/audio/gstaudiosink.h>
#include <gst/audio/gstaudiosrc.h>
#include <gst/gst.h>

#define RATE        48000
#define BEEP        (RATE / 10) /* samples */
#define BEEP_PERIOD 48          /* samples: 1 kHz */
#define LOUD        3000        /* of 32767: the beep is 16000 */
#define SILENCE     (RATE / 4)  /* samples between two beeps at least */
#define CAPS        "audio/x-raw,format=S16LE,rate=48000,channels=1,layout=interleaved"

static GstStaticPadTemplate source_template =
    GST_STATIC_PAD_TEMPLATE ("src", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS (CAPS));
static GstStaticPadTemplate sink_template =
    GST_STATIC_PAD_TEMPLATE ("sink", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS (CAPS));

/* What a device does: samples pass at RATE from begun_us on, whether anybody takes or brings them or not. */
typedef struct {
  gint64 begun_us; /* of sample 0, monotonic; 0 = stands still */
  guint64 at;      /* samples that were taken, or brought */
  guint size;      /* of its buffer, samples */
} Device;

static gint64
time_of (const Device *device, guint64 sample)
{
  return device->begun_us + (gint64)gst_util_uint64_scale (sample, G_USEC_PER_SEC, RATE);
}

static guint64
now_at (const Device *device)
{
  gint64 since = g_get_monotonic_time () - device->begun_us;

  return gst_util_uint64_scale ((guint64)MAX (since, 0), RATE, G_USEC_PER_SEC);
}

static void
wait_until (gint64 us)
{
  gint64 now = g_get_monotonic_time ();

  if (us > now)
    g_usleep ((gulong)(us - now));
}

static void
device_init (Device *device, const GstAudioRingBufferSpec *spec)
{
  *device = (Device){.size = (guint)(spec->segsize * spec->segtotal / 2)};
}

/* ---- the microphone -------------------------------------------------------- */

typedef struct {
  GstAudioSrc parent;
  Device device;
} LabMicrophone;
typedef GstAudioSrcClass LabMicrophoneClass;

GType lab_microphone_get_type (void);
G_DEFINE_TYPE (LabMicrophone, lab_microphone, GST_TYPE_AUDIO_SRC)

static gboolean
microphone_open (GstAudioSrc *source)
{
  return TRUE;
}

static gboolean
microphone_prepare (GstAudioSrc *source, GstAudioRingBufferSpec *spec)
{
  device_init (&((LabMicrophone *)source)->device, spec);
  return TRUE;
}

/* What is in the air at that time, in us. */
static gint16
voice (gint64 us)
{
  gint64 at = us % G_USEC_PER_SEC * RATE / G_USEC_PER_SEC;

  return at < BEEP ? (gint16)(16000 * sin (2 * G_PI * (double)at / BEEP_PERIOD)) : 0;
}

/* A period is there when its last sample is. What nobody took in time is gone. */
static guint
microphone_read (GstAudioSrc *source, gpointer data, guint length, GstClockTime *timestamp)
{
  Device *device = &((LabMicrophone *)source)->device;
  gint16 *samples = data;
  guint n = length / 2;

  if (device->begun_us == 0)
    device->begun_us = g_get_monotonic_time ();
  if (now_at (device) > device->at + device->size)
    device->at = now_at (device) - n;
  wait_until (time_of (device, device->at + n));
  for (guint i = 0; i < n; i++)
    samples[i] = voice (time_of (device, device->at + i));
  device->at += n;
  return length;
}

static guint
microphone_delay (GstAudioSrc *source)
{
  Device *device = &((LabMicrophone *)source)->device;
  guint64 now = device->begun_us != 0 ? now_at (device) : 0;

  return now > device->at ? (guint)(now - device->at) : 0;
}

static void
lab_microphone_class_init (LabMicrophoneClass *klass)
{
  klass->open = klass->unprepare = klass->close = microphone_open;
  klass->prepare = microphone_prepare;
  klass->read = microphone_read;
  klass->delay = microphone_delay;
  gst_element_class_add_static_pad_template (GST_ELEMENT_CLASS (klass), &source_template);
  gst_element_class_set_static_metadata (GST_ELEMENT_CLASS (klass), "Lab microphone",
      "Source/Audio", "Hears a beep each second", "natrelay");
}

static void
lab_microphone_init (LabMicrophone *microphone)
{
}

/* ---- the loudspeaker ------------------------------------------------------- */

typedef struct {
  GstAudioSink parent;
  Device device;
  guint quiet; /* samples since the last loud one, or since sound began */
  guint64 starved, times;
} LabLoudspeaker;
typedef GstAudioSinkClass LabLoudspeakerClass;

GType lab_loudspeaker_get_type (void);
G_DEFINE_TYPE (LabLoudspeaker, lab_loudspeaker, GST_TYPE_AUDIO_SINK)

static gboolean
loudspeaker_open (GstAudioSink *sink)
{
  return TRUE;
}

static gboolean
loudspeaker_prepare (GstAudioSink *sink, GstAudioRingBufferSpec *spec)
{
  device_init (&((LabLoudspeaker *)sink)->device, spec);
  return TRUE;
}

static gboolean
loudspeaker_unprepare (GstAudioSink *sink)
{
  LabLoudspeaker *self = (LabLoudspeaker *)sink;

  printf ("starved %" G_GUINT64_FORMAT " times %" G_GUINT64_FORMAT "\n",
      self->starved * 1000 / RATE, self->times);
  fflush (stdout);
  return TRUE;
}

static void
listen_to (LabLoudspeaker *self, const gint16 *samples, guint n)
{
  for (guint i = 0; i < n; i++) {
    gboolean loud = abs (samples[i]) > LOUD;

    if (loud && self->quiet > SILENCE) {
      gint64 heard = time_of (&self->device, self->device.at + i) % G_USEC_PER_SEC;
      printf ("heard %" G_GINT64_FORMAT "\n", heard);
      fflush (stdout);
    }
    self->quiet = loud ? 0 : self->quiet + 1;
  }
}

/* It plays when its buffer has been filled once, and goes on though nothing comes. */
static gint
loudspeaker_write (GstAudioSink *sink, gpointer data, guint length)
{
  LabLoudspeaker *self = (LabLoudspeaker *)sink;
  Device *device = &self->device;
  guint n = length / 2;

  if (device->begun_us == 0 && device->at + n >= device->size)
    device->begun_us = g_get_monotonic_time ();
  if (device->begun_us != 0 && now_at (device) > device->at) {
    self->starved += now_at (device) - device->at;
    self->times++;
    device->at = now_at (device);
  }
  if (device->begun_us != 0 && device->at + n > device->size)
    wait_until (time_of (device, device->at + n - device->size));
  listen_to (self, data, n);
  device->at += n;
  return (gint)length;
}

static guint
loudspeaker_delay (GstAudioSink *sink)
{
  Device *device = &((LabLoudspeaker *)sink)->device;
  guint64 now = device->begun_us != 0 ? now_at (device) : 0;

  return device->at > now ? (guint)(device->at - now) : 0;
}

static void
lab_loudspeaker_class_init (LabLoudspeakerClass *klass)
{
  klass->open = klass->close = loudspeaker_open;
  klass->prepare = loudspeaker_prepare;
  klass->unprepare = loudspeaker_unprepare;
  klass->write = loudspeaker_write;
  klass->delay = loudspeaker_delay;
  gst_element_class_add_static_pad_template (GST_ELEMENT_CLASS (klass), &sink_template);
  gst_element_class_set_static_metadata (GST_ELEMENT_CLASS (klass), "Lab loudspeaker", "Sink/Audio",
      "Tells when beeps are heard", "natrelay");
}

static void
lab_loudspeaker_init (LabLoudspeaker *loudspeaker)
{
}

static gboolean
plugin_init (GstPlugin *plugin)
{
  return gst_element_register (
             plugin, "labmicrophone", GST_RANK_NONE, lab_microphone_get_type ()) &&
         gst_element_register (
             plugin, "labloudspeaker", GST_RANK_NONE, lab_loudspeaker_get_type ());
}

GST_PLUGIN_DEFINE (GST_VERSION_MAJOR, GST_VERSION_MINOR, soundcard, "A sound card of the lab",
    plugin_init, PACKAGE_VERSION, "LGPL", "natrelay", "https://natrelay.example.org")
