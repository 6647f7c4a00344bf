/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Numbers in network order at any address. The caller has seen to it that the bytes are there. */

#include <glib.h>

static inline guint16
nat_read_u16 (const guint8 *p)
{
  return (guint16)(p[0] << 8 | p[1]);
}

static inline guint32
nat_read_u32 (const guint8 *p)
{
  return (guint32)nat_read_u16 (p) << 16 | nat_read_u16 (p + 2);
}

/* n: 0 to 8 bytes */
static inline guint64
nat_read_be (const guint8 *p, guint n)
{
  guint64 value = 0;

  for (guint i = 0; i < n; i++)
    value = value << 8 | p[i];
  return value;
}

static inline void
nat_write_u16 (guint8 *p, guint16 value)
{
  p[0] = (guint8)(value >> 8);
  p[1] = (guint8)value;
}

static inline void
nat_write_u32 (guint8 *p, guint32 value)
{
  nat_write_u16 (p, (guint16)(value >> 16));
  nat_write_u16 (p + 2, (guint16)value);
}

/* The low n bytes of value. */
static inline void
nat_write_be (guint8 *p, guint64 value, guint n)
{
  while (n > 0) {
    p[--n] = (guint8)value;
    value >>= 8;
  }
}
