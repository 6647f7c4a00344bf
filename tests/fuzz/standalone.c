/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Stands in for libFuzzer where there is none (gcc), so that each test run fuzzes a little:
 * every file of the given folders, then -runs=N mutations of them, with the words of -dict=FILE, all drawn
 * from -seed=S, so a failure comes again. The input that failed is left as crash-input in the current folder. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <glib.h>

#define INPUT_MAX 4096 /* bytes, after mutation */

int LLVMFuzzerTestOneInput (const guint8 *data, size_t size);
void __asan_on_error (void);

static const guint8 *current;
static gsize current_len;
static GPtrArray *words; /* GBytes; empty = no dictionary */

/* ---- Leaving the input that failed ------------------------------------- */

static void
save_current (void)
{
  int fd = open ("crash-input", O_WRONLY | O_CREAT | O_TRUNC, 0644);

  if (fd < 0)
    return;
  if (write (fd, current, current_len) < 0)
    errno = 0; /* we are dying of something else */
  close (fd);
}

/* The address sanitizer calls this by its name before it reports. */
void
__asan_on_error (void)
{
  save_current ();
}

static void
on_signal (int number)
{
  save_current ();
  signal (number, SIG_DFL);
  raise (number);
}

/* ---- Mutation ---------------------------------------------------------- */

static gsize
below (GRand *rand, gsize n)
{
  return n > 1 ? g_rand_int (rand) % n : 0;
}

static void
change_byte (GByteArray *b, GRand *rand)
{
  static const guint8 interesting[] = {
      0, 1, 3, 4, 0x7f, 0x80, 0xff, '"', '\\', '{', '[', '\r', '\n', ' ', '/', ':'};
  gsize at = below (rand, b->len);

  switch (g_rand_int_range (rand, 0, 3)) {
  case 0: b->data[at] ^= 1u << g_rand_int_range (rand, 0, 8); break;
  case 1: b->data[at] = (guint8)g_rand_int (rand); break;
  default: b->data[at] = interesting[below (rand, sizeof interesting)]; break;
  }
}

/* Two bytes become a length: of what follows, or near a limit. */
static void
change_length (GByteArray *b, GRand *rand)
{
  gsize at = below (rand, b->len), value = b->len - at;

  if (b->len - at < 2)
    return;
  switch (g_rand_int_range (rand, 0, 4)) {
  case 0: value = value - 2; break;
  case 1: value = below (rand, 16); break;
  case 2: value = 0xffff - below (rand, 4); break;
  default: break;
  }
  b->data[at] = (guint8)(value >> 8);
  b->data[at + 1] = (guint8)value;
}

static void
insert_at (GByteArray *b, gsize at, const guint8 *data, gsize len)
{
  gsize old = b->len;

  if (len == 0 || old + len > INPUT_MAX)
    return;
  g_byte_array_set_size (b, (guint)(old + len));
  memmove (b->data + at + len, b->data + at, old - at);
  memcpy (b->data + at, data, len);
}

static void
splice_in (GByteArray *b, GBytes *other, GRand *rand)
{
  gsize len;
  const guint8 *data = g_bytes_get_data (other, &len);
  gsize from = below (rand, len);
  g_autofree guint8 *piece = g_memdup2 (data + from, len - from);

  if (len > from)
    insert_at (b, below (rand, b->len + 1u), piece, 1 + below (rand, MIN (len - from, 64)));
}

static void
put_word (GByteArray *b, GRand *rand)
{
  GBytes *word = words->pdata[below (rand, words->len)];
  gsize len = g_bytes_get_size (word), at = below (rand, b->len + 1u);

  /* In front of what is there, or over it. */
  if (g_rand_boolean (rand) && at + len <= b->len)
    memcpy (b->data + at, g_bytes_get_data (word, NULL), len);
  else
    insert_at (b, at, g_bytes_get_data (word, NULL), len);
}

static void
mutate (GByteArray *b, GPtrArray *seeds, GRand *rand)
{
  gsize at = below (rand, b->len);

  if (b->len == 0) {
    splice_in (b, seeds->pdata[below (rand, seeds->len)], rand);
    return;
  }
  if (words->len > 0 && g_rand_int_range (rand, 0, 4) == 0) {
    put_word (b, rand);
    return;
  }
  switch (g_rand_int_range (rand, 0, 8)) {
  case 0: g_byte_array_set_size (b, (guint)at); break;
  case 1:
    g_byte_array_remove_range (b, (guint)at, 1 + (guint)below (rand, MIN (b->len - at, 16)));
    break;
  case 2: splice_in (b, seeds->pdata[below (rand, seeds->len)], rand); break;
  case 3: {
    g_autofree guint8 *piece = g_memdup2 (b->data + at, b->len - at);

    insert_at (b, at, piece, 1 + below (rand, MIN (b->len - at, 32)));
    break;
  }
  case 4: change_length (b, rand); break;
  default: change_byte (b, rand); break;
  }
}

/* ---- Running ----------------------------------------------------------- */

/* Each input is a heap block of its own size, so that a sanitizer sees one byte too far. */
static void
run_one (const guint8 *data, gsize len)
{
  guint8 *copy = g_malloc (len > 0 ? len : 1);

  if (len > 0)
    memcpy (copy, data, len);
  current = copy;
  current_len = len;
  LLVMFuzzerTestOneInput (copy, len);
  g_free (copy);
}

static int
compare_names (gconstpointer a, gconstpointer b)
{
  return strcmp (*(char *const *)a, *(char *const *)b);
}

static void
load_folder (GPtrArray *seeds, const char *path)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GDir) dir = g_dir_open (path, 0, &error);
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
  const char *name;

  if (dir == NULL)
    g_error ("%s", error->message);
  while ((name = g_dir_read_name (dir)) != NULL)
    g_ptr_array_add (names, g_build_filename (path, name, NULL));
  g_ptr_array_sort (names, compare_names); /* the folder's own order is not the same everywhere */
  for (guint i = 0; i < names->len; i++) {
    char *data;
    gsize len;

    if (!g_file_get_contents (names->pdata[i], &data, &len, &error))
      g_error ("%s", error->message);
    g_ptr_array_add (seeds, g_bytes_new_take (data, len));
  }
}

/* Lines of libFuzzer's: name="...\x0d..." with or without a name. */
static void
load_words (const char *path)
{
  g_autofree char *text = NULL;
  g_auto (GStrv) lines = NULL;

  if (!g_file_get_contents (path, &text, NULL, NULL))
    g_error ("%s cannot be read", path);
  lines = g_strsplit (text, "\n", -1);
  for (guint i = 0; lines[i] != NULL; i++) {
    const char *quote = lines[i][0] == '#' ? NULL : strchr (lines[i], '"');
    GByteArray *word = g_byte_array_new ();

    for (const char *p = quote ? quote + 1 : ""; *p != '\0' && *p != '"'; p++) {
      guint8 c = (guint8)*p;

      if (p[0] == '\\' && p[1] == 'x') {
        c = (guint8)(g_ascii_xdigit_value (p[2]) << 4 | g_ascii_xdigit_value (p[3]));
        p += 3;
      } else if (p[0] == '\\') {
        c = (guint8) * ++p;
      }
      g_byte_array_append (word, &c, 1);
    }
    if (word->len > 0)
      g_ptr_array_add (words, g_byte_array_free_to_bytes (word));
    else
      g_byte_array_unref (word);
  }
}

static void
run_mutations (GPtrArray *seeds, guint64 runs, guint32 seed)
{
  g_autoptr (GRand) rand = g_rand_new_with_seed (seed);
  g_autoptr (GByteArray) b = g_byte_array_new ();

  for (guint64 i = 0; i < runs; i++) {
    GBytes *from = seeds->pdata[below (rand, seeds->len)];

    g_byte_array_set_size (b, 0);
    g_byte_array_append (
        b, g_bytes_get_data (from, NULL), (guint)MIN (g_bytes_get_size (from), INPUT_MAX));
    for (gsize n = 1 + below (rand, 8); n > 0; n--)
      mutate (b, seeds, rand);
    run_one (b->data, b->len);
  }
}

int
main (int argc, char **argv)
{
  g_autoptr (GPtrArray) seeds = g_ptr_array_new_with_free_func ((GDestroyNotify)g_bytes_unref);
  guint64 runs = 10000, seed = 1;

  words = g_ptr_array_new_with_free_func ((GDestroyNotify)g_bytes_unref);
  signal (SIGSEGV, on_signal);
  signal (SIGABRT, on_signal);
  signal (SIGTRAP, on_signal); /* g_error */
  for (int i = 1; i < argc; i++) {
    if (g_str_has_prefix (argv[i], "-runs="))
      runs = g_ascii_strtoull (argv[i] + 6, NULL, 10);
    else if (g_str_has_prefix (argv[i], "-seed="))
      seed = g_ascii_strtoull (argv[i] + 6, NULL, 10);
    else if (g_str_has_prefix (argv[i], "-dict="))
      load_words (argv[i] + 6);
    else if (argv[i][0] != '-') /* other options are libFuzzer's */
      load_folder (seeds, argv[i]);
  }
  if (seeds->len == 0)
    g_error ("no seeds: give a folder that holds some");
  for (guint i = 0; i < seeds->len; i++)
    run_one (g_bytes_get_data (seeds->pdata[i], NULL), g_bytes_get_size (seeds->pdata[i]));
  run_mutations (seeds, runs, (guint32)seed);
  g_print ("%u seeds and %" G_GUINT64_FORMAT " mutations from seed %" G_GUINT64_FORMAT "\n",
      seeds->len, runs, seed);
  g_ptr_array_unref (words);
  return 0;
}
