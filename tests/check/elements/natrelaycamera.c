/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* natrelay-camera as a person runs it, with a camera that asks for a password and vanishes, and a relay that does. */

#include <gio/gio.h>
#include <glib/gstdio.h>
#include <signal.h>

#include "rtspcamera.h"

#define PICTURE                                                                                    \
  "videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=160,height=120,"         \
  "framerate=25/1"
#define SOUND  "audiotestsrc is-live=true samplesperbuffer=160"
#define END    "fakesink sync=false async=false"
#define UNITS  25
#define WAIT_S 60

static const struct {
  const gchar *transport, *user, *password;
  const gchar *camera;
  const gchar *video, *audio; /* how they are received */
} cameras[] = {
    {"udp", "owner", "geheim",
        "( " PICTURE " ! x264enc tune=zerolatency threads=1 key-int-max=25 ! identity name=v ! "
        "rtph264pay name=pay0 "
        "pt=96 config-interval=-1 " SOUND
        " ! avenc_aac ! identity name=a ! rtpmp4gpay name=pay1 pt=97 )",
        "rtph264depay ! h264parse", "rtpmp4gdepay"},
    {"tcp", "owner", "geheim",
        "( " PICTURE
        " ! x265enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! identity name=v ! "
        "rtph265pay name=pay0 pt=96 config-interval=-1 " SOUND
        " ! alawenc ! identity name=a ! rtppcmapay name=pay1 )",
        "rtph265depay ! h265parse", "rtppcmadepay"},
    {"auto", NULL, NULL,
        "( " PICTURE " ! x264enc tune=zerolatency threads=1 key-int-max=25 ! identity name=v ! "
        "rtph264pay name=pay0 "
        "pt=96 config-interval=-1 " SOUND " ! mulawenc ! identity name=a ! rtppcmupay name=pay1 )",
        "rtph264depay ! h264parse", "rtppcmudepay"},
};

/* ---- natrelay-camera --------------------------------------------------- */

typedef struct {
  GSubprocess *process;
  GDataInputStream *log;
  gchar *config;
} Pusher;

static void
pusher_start (Pusher *pusher, const gchar *settings)
{
  g_autoptr (GError) error = NULL;

  pusher->config =
      g_strdup_printf ("%s/natrelay-camera-%08x.conf", g_get_tmp_dir (), g_random_int ());
  fail_unless (g_file_set_contents (pusher->config, settings, -1, &error));
  pusher->process = g_subprocess_new (G_SUBPROCESS_FLAGS_STDERR_PIPE, &error,
      g_getenv ("NATRELAY_CAMERA"), "--config", pusher->config, NULL);
  fail_unless (pusher->process != NULL, "%s", error ? error->message : "");
  pusher->log = g_data_input_stream_new (g_subprocess_get_stderr_pipe (pusher->process));
}

/* Until it says that; then the same line has that in it, too. Nothing that it says before has a password in it. */
static void
pusher_wait_with (Pusher *pusher, const gchar *words, const gchar *too)
{
  for (;;) {
    g_autofree gchar *line = g_data_input_stream_read_line (pusher->log, NULL, NULL, NULL);

    fail_unless (line != NULL, "it ended without having said \"%s\"", words);
    GST_INFO ("%s", line);
    fail_unless (strstr (line, "geheim") == NULL, "%s", line);
    if (strstr (line, words)) {
      fail_unless (strstr (line, too) != NULL, "%s", line);
      return;
    }
  }
}

static void
pusher_wait (Pusher *pusher, const gchar *words)
{
  pusher_wait_with (pusher, words, "");
}

static void
pusher_wait_end (Pusher *pusher, gint status)
{
  fail_unless (g_subprocess_wait (pusher->process, NULL, NULL));
  fail_unless (g_subprocess_get_if_exited (pusher->process), "it was killed");
  fail_unless_equals_int (g_subprocess_get_exit_status (pusher->process), status);
  g_object_unref (pusher->log);
  g_object_unref (pusher->process);
  g_unlink (pusher->config);
  g_free (pusher->config);
}

static void
pusher_stop (Pusher *pusher)
{
  g_subprocess_send_signal (pusher->process, SIGTERM);
  pusher_wait_end (pusher, 0);
}

/* ---- Tests ------------------------------------------------------------- */

static void
assert_flows (Flow *video, Flow *audio)
{
  guint pictures = flow_count (video), sounds = flow_count (audio);

  fail_unless (flow_wait (video, pictures + UNITS, WAIT_S), "%u pictures", flow_count (video));
  fail_unless (flow_wait (audio, sounds + UNITS, WAIT_S), "%u frames of sound", flow_count (audio));
}

GST_START_TEST (test_camera)
{
  static RtspCamera camera;
  GstElement *receiver;
  Flow video, audio;
  Pusher pusher;
  gchar *to, *from, *settings, *user;
  gint port;

  relay_begin ();
  rtsp_camera_init (&camera, 0, cameras[__i__].camera);
  camera.user = cameras[__i__].user;
  camera.password = cameras[__i__].password;
  port = rtsp_camera_start (&camera, 0);
  to = media_uri ("yard", TRUE);
  from = media_uri ("yard", FALSE);
  user = camera.user ? g_strdup_printf ("%s:%s@", camera.user, camera.password) : g_strdup ("");
  settings = g_strdup_printf ("[yard]\ncamera=rtsp://%s127.0.0.1:%d/live\nrelay=%s\ntransport=%s\n",
      user, port, to, cameras[__i__].transport);
  flow_init (&video);
  flow_init (&audio);
  receiver = media_launch ("natrelaysrc name=r uri=\"%s\" r.video_0 ! %s ! identity name=v ! " END
                           " r.audio_0 ! %s ! identity name=a ! " END,
      from, cameras[__i__].video, cameras[__i__].audio);
  flow_watch (&video, receiver, "v");
  flow_watch (&audio, receiver, "a");
  media_play (receiver);
  pusher_start (&pusher, settings);
  pusher_wait (&pusher, "plays");
  assert_flows (&video, &audio);

  rtsp_camera_vanish (&camera);
  pusher_wait (&pusher, "next try");
  rtsp_camera_start (&camera, port);
  pusher_wait (&pusher, "plays");
  assert_flows (&video, &audio);

  relay_process_kill (&relay);
  relay_process_restart (&relay);
  assert_flows (&video, &audio);

  media_stop (receiver);
  pusher_stop (&pusher);
  rtsp_camera_stop (&camera);
  flow_clear (&video);
  flow_clear (&audio);
  rtsp_camera_clear (&camera);
  relay_end ();
  g_free (settings);
  g_free (user);
  g_free (to);
  g_free (from);
}
GST_END_TEST;

/* Whoever mistyped the address is told where to look. */
GST_START_TEST (test_no_camera)
{
  Pusher pusher;

  pusher_start (
      &pusher, "[yard]\ncamera=rtsp://127.0.0.1:1/live\nrelay=natrelay://127.0.0.1:1/yard\n");
  pusher_wait (&pusher, "does not answer: check that it is on, and its address; next try");
  pusher_stop (&pusher);
}
GST_END_TEST;

/* A camera that begins to answer, and sends a byte now and then for ever. */
static gpointer
drip (gpointer user)
{
  static const gchar head[] = "RTSP/1.0 200 OK\r\nServer: ";
  GSocket *listener = user, *socket;
  gchar request[1024];

  while ((socket = g_socket_accept (listener, NULL, NULL)) != NULL) {
    g_socket_receive (socket, request, sizeof request, NULL, NULL);
    g_socket_send (socket, head, strlen (head), NULL, NULL);
    while (g_socket_send (socket, "x", 1, NULL, NULL) == 1)
      g_usleep (100 * G_TIME_SPAN_MILLISECOND);
    g_object_unref (socket);
  }
  return NULL;
}

static GSocket *
listen_anywhere (guint16 *port)
{
  GInetAddress *loopback = g_inet_address_new_loopback (G_SOCKET_FAMILY_IPV4);
  GSocketAddress *address = g_inet_socket_address_new (loopback, 0);
  GSocket *socket =
      g_socket_new (G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_DEFAULT, NULL);

  fail_unless (g_socket_bind (socket, address, TRUE, NULL) && g_socket_listen (socket, NULL));
  g_object_unref (address);
  address = g_socket_get_local_address (socket, NULL);
  *port = g_inet_socket_address_get_port (G_INET_SOCKET_ADDRESS (address));
  g_object_unref (address);
  g_object_unref (loopback);
  return socket;
}

/* rtspsrc waits for the end of what it began to read. Neither another camera nor who stops us waits with it. */
GST_START_TEST (test_unending)
{
  guint16 port;
  GSocket *listener = listen_anywhere (&port);
  GThread *thread = g_thread_new ("drip", drip, listener);
  Pusher pusher;
  gchar *settings = g_strdup_printf (
      "[slow]\ncamera=rtsp://127.0.0.1:%u/live\nrelay=natrelay://127.0.0.1:1/slow\n"
      "[none]\ncamera=rtsp://127.0.0.1:1/live\nrelay=natrelay://127.0.0.1:1/none\n",
      port);

  pusher_start (&pusher, settings);
  pusher_wait (&pusher, "slow: the camera sends nothing");
  pusher_wait (&pusher, "none: The camera does not answer");
  pusher_stop (&pusher);
  g_socket_shutdown (listener, TRUE, TRUE, NULL);
  g_thread_join (thread);
  g_object_unref (listener);
  g_free (settings);
}
GST_END_TEST;

/* It is said, and tried again: somebody may set the camera right. */
static const struct {
  const gchar *user, *path, *says;
} refusals[] = {
    {"owner:geheim", "live", "The camera wants another user or password: check"},
    {"owner:another", "dead", "The camera has no such stream: check"},
};

GST_START_TEST (test_refused)
{
  static RtspCamera camera;
  Pusher pusher;
  gchar *settings;
  gint port;

  rtsp_camera_init (&camera, 0, cameras[0].camera);
  camera.user = "owner";
  camera.password = "another";
  port = rtsp_camera_start (&camera, 0);
  settings = g_strdup_printf (
      "[yard]\ncamera=rtsp://%s@127.0.0.1:%d/%s\nrelay=natrelay://127.0.0.1:1/yard\n",
      refusals[__i__].user, port, refusals[__i__].path);
  pusher_start (&pusher, settings);
  pusher_wait (&pusher, refusals[__i__].says);
  pusher_wait (&pusher, "next try in 2 s");
  pusher_stop (&pusher);
  rtsp_camera_stop (&camera);
  rtsp_camera_clear (&camera);
  g_free (settings);
}
GST_END_TEST;

/* A relay, a camera that asks for no password, and what pushes it there. */
typedef struct {
  RtspCamera camera;
  Pusher pusher;
  gchar *to;
} Yard;

static void
yard_begin (Yard *yard, gboolean may_publish)
{
  gchar *settings;
  gint port;

  relay_begin ();
  rtsp_camera_init (&yard->camera, 0, cameras[2].camera);
  port = rtsp_camera_start (&yard->camera, 0);
  yard->to = media_uri ("yard", may_publish);
  settings = g_strdup_printf (
      "[yard]\ncamera=rtsp://127.0.0.1:%d/live\nrelay=%s\ntransport=tcp\n", port, yard->to);
  pusher_start (&yard->pusher, settings);
  g_free (settings);
}

/* When the pusher has ended. */
static void
yard_end (Yard *yard)
{
  rtsp_camera_stop (&yard->camera);
  rtsp_camera_clear (&yard->camera);
  relay_end ();
  g_free (yard->to);
}

/* What the relay says is said once in each try. */
GST_START_TEST (test_refused_by_relay)
{
  static Yard yard;

  yard_begin (&yard, FALSE);
  pusher_wait_with (&yard.pusher, "does not permit", "must name it; next try in 1 s");
  pusher_stop (&yard.pusher);
  yard_end (&yard);
}
GST_END_TEST;

/* Another publisher with the same token took the stream: to take it back would be a quarrel. */
GST_START_TEST (test_superseded)
{
  static Yard yard;
  GstElement *other;

  yard_begin (&yard, TRUE);
  pusher_wait (&yard.pusher, "Registered");
  other = media_launch ("audiotestsrc is-live=true ! natrelaysink uri=\"%s\"", yard.to);
  media_play (other);
  pusher_wait (&yard.pusher, "given up");
  pusher_wait_end (&yard.pusher, 3);
  media_stop (other);
  yard_end (&yard);
}
GST_END_TEST;

/* What nobody can mean is refused, with its place, and without repeating a password. */
GST_START_TEST (test_settings)
{
  static const struct {
    const gchar *text, *says;
  } rows[] = {
      {"", "names no camera"},
      {"[a]\ncamera=rtsp://x/\n", "[a]: camera= (rtsp://...) and relay="},
      {"[a]\ncamera=http://u:geheim@x/\nrelay=natrelay://y/z\n", "rtsp://, not http://"},
      {"[a]\ncamera=rtsp://u:geheim@/\nrelay=natrelay://y/z\n", "no host"},
      {"[a]\ncamera=rtsp://u:geheim@im@x/\nrelay=natrelay://y/z\n", "@ as %40"},
      {"[a]\ncamera=rtsp://u:geheim/im@x/\nrelay=natrelay://y/z\n", "/ as %2F"},
      {"[a]\ncamera=rtsp://x/\nrelay=rtsp://y/z\n", "natrelay://, not rtsp://"},
      {"[a]\ncamera=rtsp://x/\nrelay=natrelay://y\n", "[a]: The URI names no stream"},
      {"[a]\ncamera=rtsp://x/\nrelay=natrelay://y/room/*\n",
          "[a]: The relay's address has a pattern"},
      {"[a]\ncamera=rtsp://x/\nrelay=natrelay://y/z?colour=red\n", "colour"},
      {"[a]\ncamera=rtsp://x/\nrelay=natrelay://y/z\ntransport=smoke\n", "auto, udp or tcp"},
      {"[a]\ncamera=rtsp://x/\nrelay=natrelay://y/z\nlatency=x\n", "latency"},
      {"[a]\ncamera=rtsp://x/\nrelay=natrelay://y/z\nlatence=1\n", "no key \"latence\""},
      {"[a]\ncamera=rtsp://x/\nrelay=natrelay://y/z\nauth-token-file=/nonexistent\n",
          "/nonexistent"},
      {"a\n", "cannot be read"},
  };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
    Pusher pusher;

    pusher_start (&pusher, rows[i].text);
    pusher_wait (&pusher, rows[i].says);
    pusher_wait_end (&pusher, 1);
  }
}
GST_END_TEST;

static Suite *
natrelaycamera_suite (void)
{
  Suite *s = suite_create ("natrelaycamera");
  TCase *tc = tcase_create ("camera");

  suite_add_tcase (s, tc);
  tcase_add_loop_test (tc, test_camera, 0, G_N_ELEMENTS (cameras));
  tcase_add_test (tc, test_no_camera);
  tcase_add_test (tc, test_unending);
  tcase_add_loop_test (tc, test_refused, 0, G_N_ELEMENTS (refusals));
  tcase_add_test (tc, test_refused_by_relay);
  tcase_add_test (tc, test_superseded);
  tcase_add_test (tc, test_settings);
  return s;
}

GST_CHECK_MAIN (natrelaycamera);
