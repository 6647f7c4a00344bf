/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "blockedport.h"

void
blocked_port_init (BlockedPort *b)
{
  g_autoptr (GSocketAddress) any = g_inet_socket_address_new_from_string ("127.0.0.1", 0);
  g_autoptr (GSocketAddress) here = NULL;

  b->listener =
      g_socket_new (G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, NULL);
  g_assert_true (g_socket_bind (b->listener, any, FALSE, NULL));
  g_socket_set_listen_backlog (b->listener, 0);
  g_assert_true (g_socket_listen (b->listener, NULL));
  here = g_socket_get_local_address (b->listener, NULL);
  b->port = g_inet_socket_address_get_port (G_INET_SOCKET_ADDRESS (here));
  for (guint i = 0; i < G_N_ELEMENTS (b->callers); i++) {
    b->callers[i] =
        g_socket_new (G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, NULL);
    g_socket_set_blocking (b->callers[i], FALSE);
    g_socket_connect (b->callers[i], here, NULL, NULL);
  }
}

void
blocked_port_clear (BlockedPort *b)
{
  for (guint i = 0; i < G_N_ELEMENTS (b->callers); i++)
    g_object_unref (b->callers[i]);
  g_object_unref (b->listener);
}
