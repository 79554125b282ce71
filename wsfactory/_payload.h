/* What happens to every byte of a payload: masking (RFC 6455 section 5.3) and UTF-8 (section 8.1).
 *
 * The C twin of _payload.py, function for function: _codec.pxd puts these in the place of those.  Plain C99 and the
 * Python C API; with gcc and clang, sixteen bytes at a time, elsewhere eight.
 */

#ifndef WSFACTORY_PAYLOAD_H
#define WSFACTORY_PAYLOAD_H

#include <Python.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__) || defined(__clang__)
typedef uint64_t wsf_lane __attribute__((vector_size(16)));
#define WSF_ANY(lane) (((lane)[0] | (lane)[1]) != 0)
#else
typedef uint64_t wsf_lane;
#define WSF_ANY(lane) ((lane) != 0)
#endif

#define WSF_LANE ((Py_ssize_t)sizeof(wsf_lane))

/* Loads and stores go through memcpy: the compiler makes each one unaligned instruction of it. */

static inline wsf_lane
wsf_load(const unsigned char *from)
{
    wsf_lane lane;
    memcpy(&lane, from, sizeof lane);
    return lane;
}

static inline void
wsf_store(unsigned char *to, wsf_lane lane)
{
    memcpy(to, &lane, sizeof lane);
}

static inline wsf_lane
wsf_repeated(uint32_t word)
{
    unsigned char bytes[sizeof(wsf_lane)];
    size_t i;
    for (i = 0; i < sizeof bytes; i += 4)
        memcpy(bytes + i, &word, 4);
    return wsf_load(bytes);
}

/* Write the *length* bytes of *from*, XORed with the four-byte *key*, to *to*; they may be the same. */
static inline void
wsf_xor(unsigned char *to, const unsigned char *from, Py_ssize_t length, uint32_t key)
{
    const wsf_lane keys = wsf_repeated(key);
    unsigned char tail[4];
    Py_ssize_t i = 0, j;
    /* Four at a time: with one, the loop's own instructions cost as much as the bytes. */
    for (; length - i >= 4 * WSF_LANE; i += 4 * WSF_LANE) {
        wsf_lane a = wsf_load(from + i), b = wsf_load(from + i + WSF_LANE);
        wsf_lane c = wsf_load(from + i + 2 * WSF_LANE), d = wsf_load(from + i + 3 * WSF_LANE);
        wsf_store(to + i, a ^ keys);
        wsf_store(to + i + WSF_LANE, b ^ keys);
        wsf_store(to + i + 2 * WSF_LANE, c ^ keys);
        wsf_store(to + i + 3 * WSF_LANE, d ^ keys);
    }
    for (; length - i >= WSF_LANE; i += WSF_LANE)
        wsf_store(to + i, wsf_load(from + i) ^ keys);
    for (; length - i >= 4; i += 4) {
        uint32_t word;
        memcpy(&word, from + i, 4);
        word ^= key;
        memcpy(to + i, &word, 4);
    }
    memcpy(tail, &key, 4);
    for (j = 0; i + j < length; j++)
        to[i + j] = from[i + j] ^ tail[j];
}

static PyObject *
unmasked(const unsigned char *data, Py_ssize_t start, Py_ssize_t end)
{
    PyObject *payload = PyBytes_FromStringAndSize(NULL, end - start);
    uint32_t key;
    if (payload == NULL)
        return NULL;
    memcpy(&key, data + start - 4, 4);
    wsf_xor((unsigned char *)PyBytes_AS_STRING(payload), data + start, end - start, key);
    return payload;
}

/* Make *into* longer by *length* bytes and return where those are; NULL with an exception when memory is short. */
static unsigned char *
wsf_extend(PyObject *into, Py_ssize_t length)
{
    Py_ssize_t before = PyByteArray_GET_SIZE(into);
    if (length > PY_SSIZE_T_MAX - before) {
        PyErr_NoMemory();
        return NULL;
    }
    if (PyByteArray_Resize(into, before + length) < 0)
        return NULL;
    return (unsigned char *)PyByteArray_AS_STRING(into) + before;
}

static int
append_unmasked(PyObject *into, const unsigned char *data, Py_ssize_t start, Py_ssize_t end, PyObject *key,
                Py_ssize_t offset)
{
    const char *bytes = PyBytes_AS_STRING(key);
    unsigned char turned[4];
    uint32_t word;
    Py_ssize_t i;
    unsigned char *to = wsf_extend(into, end - start);
    if (to == NULL)
        return -1;
    for (i = 0; i < 4; i++)
        turned[i] = (unsigned char)bytes[(offset + i) & 3];
    memcpy(&word, turned, 4);
    wsf_xor(to, data + start, end - start, word);
    return 0;
}

static int
append_plain(PyObject *into, const unsigned char *data, Py_ssize_t start, Py_ssize_t end)
{
    unsigned char *to = wsf_extend(into, end - start);
    if (to == NULL)
        return -1;
    memcpy(to, data + start, (size_t)(end - start));
    return 0;
}

/* Return up to where *data* is ASCII, from *i* on; it may stop early by less than 16 bytes before *end*. */
static inline Py_ssize_t
wsf_ascii(const unsigned char *data, Py_ssize_t i, Py_ssize_t end)
{
    const wsf_lane high = wsf_repeated(0x80808080u);
    for (; end - i >= 4 * WSF_LANE; i += 4 * WSF_LANE) {
        wsf_lane any = wsf_load(data + i) | wsf_load(data + i + WSF_LANE) | wsf_load(data + i + 2 * WSF_LANE) |
                       wsf_load(data + i + 3 * WSF_LANE);
        any &= high;
        if (WSF_ANY(any))
            break;
    }
    for (; end - i >= WSF_LANE; i += WSF_LANE) {
        wsf_lane lane = wsf_load(data + i) & high;
        if (WSF_ANY(lane))
            break;
    }
    return i;
}

/* What may follow a lead byte (RFC 3629 section 4, UTF8-2 to UTF8-4): how many bytes, and the range of the first. */
static inline int
wsf_lead(unsigned char lead, unsigned char *low, unsigned char *high)
{
    *low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    *high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (lead < 0xC2 || lead > 0xF4)
        return 0;
    return lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
}

/* Return the size of the character beyond ASCII at *data*, 0 when only its beginning is here, -1 when it is none. */
static inline int
wsf_character(const unsigned char *data, Py_ssize_t here)
{
    unsigned char low, high;
    int i, more = wsf_lead(data[0], &low, &high);
    if (more == 0)
        return -1;
    for (i = 1; i <= more; i++) {
        if (i >= here)
            return 0;
        if (data[i] < low || data[i] > high)
            return -1;
        low = 0x80;
        high = 0xBF;
    }
    return more + 1;
}

static Py_ssize_t
utf8_prefix(const unsigned char *data, Py_ssize_t start, Py_ssize_t end)
{
    Py_ssize_t i = wsf_ascii(data, start, end);
    while (i < end) {
        if (data[i] < 0x80) {
            i++;
            if (end - i >= WSF_LANE && data[i] < 0x80)
                i = wsf_ascii(data, i, end);
        }
        else {
            int size = wsf_character(data + i, end - i);
            if (size <= 0)
                return size == 0 ? i : -1;
            i += size;
        }
    }
    return i;
}

#define WSF_MASKED 0x80

/* 5.2: the length in one, three or nine bytes; return how many bytes the head has. */
static inline Py_ssize_t
wsf_head(unsigned char head[10], int first_byte, int mask_bit, Py_ssize_t length)
{
    int i;
    head[0] = (unsigned char)first_byte;
    if (length <= 125) {
        head[1] = (unsigned char)(mask_bit | (int)length);
        return 2;
    }
    if (length <= 0xFFFF) {
        head[1] = (unsigned char)(mask_bit | 126);
        head[2] = (unsigned char)(length >> 8);
        head[3] = (unsigned char)length;
        return 4;
    }
    head[1] = (unsigned char)(mask_bit | 127);
    for (i = 0; i < 8; i++)
        head[2 + i] = (unsigned char)((uint64_t)length >> (56 - 8 * i));
    return 10;
}

/* Make the bytes of a frame with its head in place; *at* becomes where the rest goes. */
static PyObject *
wsf_begin_frame(int first_byte, int mask_bit, Py_ssize_t length, unsigned char **at)
{
    unsigned char head[10];
    Py_ssize_t head_size = wsf_head(head, first_byte, mask_bit, length);
    Py_ssize_t key_size = mask_bit ? 4 : 0;
    PyObject *frame;
    if (length > PY_SSIZE_T_MAX - 64)
        return PyErr_NoMemory();
    frame = PyBytes_FromStringAndSize(NULL, head_size + key_size + length);
    if (frame == NULL)
        return NULL;
    *at = (unsigned char *)PyBytes_AS_STRING(frame);
    memcpy(*at, head, (size_t)head_size);
    *at += head_size;
    return frame;
}

static PyObject *
plain_frame(int first_byte, PyObject *payload)
{
    Py_ssize_t length = PyBytes_GET_SIZE(payload);
    unsigned char *at;
    PyObject *frame = wsf_begin_frame(first_byte, 0, length, &at);
    if (frame != NULL)
        memcpy(at, PyBytes_AS_STRING(payload), (size_t)length);
    return frame;
}

static PyObject *
masked_frame(int first_byte, PyObject *payload, PyObject *key)
{
    Py_ssize_t length = PyBytes_GET_SIZE(payload);
    unsigned char *at;
    uint32_t word;
    PyObject *frame = wsf_begin_frame(first_byte, WSF_MASKED, length, &at);
    if (frame == NULL)
        return NULL;
    memcpy(&word, PyBytes_AS_STRING(key), 4);
    memcpy(at, &word, 4);
    wsf_xor(at + 4, (const unsigned char *)PyBytes_AS_STRING(payload), length, word);
    return frame;
}

#endif
