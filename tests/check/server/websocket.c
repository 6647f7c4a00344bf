/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Frames: what a client may send and what it may not, however TCP cuts it; and what we send. */

#include "natserver/control/websocket.h"

#include <string.h>

typedef struct {
  const char *what;
  guint8 bytes[16];
  gsize len;
  guint code; /* of our close; 0: it stays open */
} Row;

/* Masked with zeros where they are masked, so that the bytes can be read here. */
#define M 0x80
#define Z 0, 0, 0, 0

static const Row rows[] = {
    /*  0 */ {"binary", {0x82, M | 1, Z, 'x'}, 7, 0},
    /*  1 */ {"empty binary", {0x82, M | 0, Z}, 6, 0},
    /*  2 */ {"ping", {0x89, M | 1, Z, 'x'}, 7, 0},
    /*  3 */ {"pong that nobody asked for", {0x8a, M | 0, Z}, 6, 0},
    /*  4 */ {"not masked", {0x82, 1, 'x'}, 3, 1002},
    /*  5 */ {"ping that is not masked", {0x89, 0}, 2, 1002},
    /*  6 */ {"RSV1", {0xc2, M | 0, Z}, 6, 1002},
    /*  7 */ {"RSV2", {0xa2, M | 0, Z}, 6, 1002},
    /*  8 */ {"RSV3", {0x92, M | 0, Z}, 6, 1002},
    /*  9 */ {"reserved opcode of data", {0x83, M | 0, Z}, 6, 1002},
    /* 10 */ {"reserved opcode of control", {0x8b, M | 0, Z}, 6, 1002},
    /* 11 */ {"text", {0x81, M | 1, Z, 'x'}, 7, 1003},
    /* 12 */ {"continuation of nothing", {0x80, M | 1, Z, 'x'}, 7, 1002},
    /* 13 */ {"binary within a message", {0x02, M | 0, Z, 0x82, M | 0, Z}, 12, 1002},
    /* 14 */ {"ping in fragments", {0x09, M | 0, Z}, 6, 1002},
    /* 15 */ {"ping that is too long", {0x89, M | 126, 0, 126, Z, 'x'}, 9, 1002},
    /* 16 */ {"2049 bytes", {0x82, M | 126, 0x08, 0x01, Z, 'x'}, 9, 1009},
    /* 17 */
    {"2^63 - 1 bytes", {0x82, M | 127, 0x7f, 255, 255, 255, 255, 255, 255, 255, Z, 'x'}, 15, 1009},
    /* 18 */
    {"2^64 - 1 bytes", {0x82, M | 127, 255, 255, 255, 255, 255, 255, 255, 255, Z, 'x'}, 15, 1002},
    /* 19 */ {"length in more bytes than needed", {0x82, M | 126, 0, 1, Z, 'x'}, 9, 1002},
    /* 20 */ {"close", {0x88, M | 0, Z}, 6, 1000},
    /* 21 */ {"close with a code", {0x88, M | 2, Z, 0x03, 0xe9}, 8, 1000},
    /* 22 */ {"close with a code of its own", {0x88, M | 2, Z, 0x0f, 0xa0}, 8, 1000},
    /* 23 */ {"close with half a code", {0x88, M | 1, Z, 0x03}, 7, 1002},
    /* 24 */ {"close with 1005", {0x88, M | 2, Z, 0x03, 0xed}, 8, 1002},
    /* 25 */ {"close with 999", {0x88, M | 2, Z, 0x03, 0xe7}, 8, 1002},
    /* 26 */ {"close with 5000", {0x88, M | 2, Z, 0x13, 0x88}, 8, 1002},
    /* 27 */ {"close with a reason that is no UTF-8", {0x88, M | 3, Z, 0x03, 0xe8, 0xff}, 9, 1007},
};

static guint
code_of (const Row *row, gsize step)
{
  NatWsFrames *ws = nat_ws_frames_new ();
  guint8 *data;
  gsize len;
  guint code;

  for (gsize at = 0; at < row->len; at += step) {
    nat_ws_frames_feed (ws, row->bytes + at, MIN (step, row->len - at));
    while (
        nat_ws_frames_code (ws) == 0 && nat_ws_frames_next (ws, &data, &len) != NAT_WEBSOCKET_MORE)
      continue;
  }
  code = nat_ws_frames_code (ws);
  nat_ws_frames_free (ws);
  return code;
}

static void
test_rows (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
    for (gsize step = 1; step <= rows[i].len; step++) {
      if (code_of (&rows[i], step) != rows[i].code)
        g_error ("row %u, %s, in pieces of %" G_GSIZE_FORMAT ": %u", i, rows[i].what, step,
            code_of (&rows[i], step));
    }
  }
}

static void
expect (NatWsFrames *ws, NatWebsocketEvent event, const char *text)
{
  guint8 *data = NULL;
  gsize len = 0;

  g_assert_cmpint (nat_ws_frames_next (ws, &data, &len), ==, event);
  if (text)
    g_assert_cmpmem (data, len, text, strlen (text));
}

/* A mask, fragments, and a ping between them. */
static void
test_message (void)
{
  static const guint8 bytes[] = {0x02, M | 2, 1, 2, 3, 4, 'a' ^ 1, 'b' ^ 2, /* ab- */
      0x89, M | 2, 9, 8, 7, 6, 'h' ^ 9, 'i' ^ 8,                            /* ping hi */
      0x00, M | 0, 5, 5, 5, 5,                                              /* - - */
      0x80, M | 5, 1, 2, 3, 4, 'c' ^ 1, 'd' ^ 2, 'e' ^ 3, 'f' ^ 4, 'g' ^ 1, /* -cdefg */
      0x82, M | 1, 7, 0, 0, 0, 'x' ^ 7, 0x88, M | 0, Z, 0x82, M | 1, Z, 'y'};
  NatWsFrames *ws = nat_ws_frames_new ();

  nat_ws_frames_feed (ws, bytes, sizeof bytes);
  expect (ws, NAT_WEBSOCKET_PING, "hi");
  expect (ws, NAT_WEBSOCKET_MESSAGE, "abcdefg");
  expect (ws, NAT_WEBSOCKET_MESSAGE, "x");
  expect (ws, NAT_WEBSOCKET_CLOSED, NULL);
  expect (ws, NAT_WEBSOCKET_CLOSED, NULL); /* what comes behind is not looked at */
  g_assert_cmpuint (nat_ws_frames_code (ws), ==, 1000);
  nat_ws_frames_free (ws);
}

/* Fragments add up. */
static void
test_too_big_in_fragments (void)
{
  guint8 first[8 + 2047] = {0x02, M | 126, 0x07, 0xff, Z};
  static const guint8 fits[] = {0x00, M | 1, Z, 'x'}, more[] = {0x80, M | 1, Z, 'x'};
  NatWsFrames *ws = nat_ws_frames_new ();

  nat_ws_frames_feed (ws, first, sizeof first);
  expect (ws, NAT_WEBSOCKET_MORE, NULL);
  nat_ws_frames_feed (ws, fits, sizeof fits);
  expect (ws, NAT_WEBSOCKET_MORE, NULL);
  nat_ws_frames_feed (ws, more, sizeof more);
  expect (ws, NAT_WEBSOCKET_CLOSED, NULL);
  g_assert_cmpuint (nat_ws_frames_code (ws), ==, 1009);
  nat_ws_frames_free (ws);
}

static void
test_write (void)
{
  NatWsFrames *ws = nat_ws_frames_new ();
  guint8 data[2048], out[2048 + NAT_WEBSOCKET_HEADER_MAX];

  memset (data, 7, sizeof data);
  g_assert_cmpuint (nat_ws_frames_write (ws, NAT_WEBSOCKET_BINARY, data, 3, out), ==, 5);
  g_assert_cmpmem (out, 5, "\x82\x03\x07\x07\x07", 5);
  g_assert_cmpuint (nat_ws_frames_write (ws, NAT_WEBSOCKET_BINARY, data, 2048, out), ==, 2052);
  g_assert_cmpmem (out, 5, "\x82\x7e\x08\x00\x07", 5);
  g_assert_cmpuint (nat_ws_frames_write (ws, NAT_WEBSOCKET_PONG, data, 1, out), ==, 3);
  g_assert_cmpmem (out, 3, "\x8a\x01\x07", 3);
  g_assert_cmpuint (nat_ws_frames_write_close (ws, NAT_WEBSOCKET_GOING_AWAY, out), ==, 4);
  g_assert_cmpmem (out, 4, "\x88\x02\x03\xe9", 4);
  nat_ws_frames_free (ws);
}

static void
test_accept (void)
{
  char accept[NAT_WEBSOCKET_ACCEPT_TEXT + 1];

  /* RFC 6455 section 1.3. */
  g_assert_true (nat_ws_accept ("dGhlIHNhbXBsZSBub25jZQ==", accept));
  g_assert_cmpstr (accept, ==, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  g_assert_false (nat_ws_accept ("", accept));
  g_assert_false (nat_ws_accept ("dGhlIHNhbXBsZSBub25jZQ", accept));
  g_assert_false (nat_ws_accept ("dGhlIHNhbXBsZSBub25j", accept));
  g_assert_false (nat_ws_accept ("dGhlIHNhbXBsZSBub25jZQ=!", accept));
  g_assert_false (nat_ws_accept ("dGhlIHNhbXBsZSBub25jZXh4eHg=", accept));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/websocket/rows", test_rows);
  g_test_add_func ("/websocket/message", test_message);
  g_test_add_func ("/websocket/too-big-in-fragments", test_too_big_in_fragments);
  g_test_add_func ("/websocket/write", test_write);
  g_test_add_func ("/websocket/accept", test_accept);
  return g_test_run ();
}
