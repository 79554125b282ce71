# The names of _payload.py as _codec.py sees them when it is compiled: the functions of _payload.h.

cdef extern from "_payload.h":
    bytes unmasked(const unsigned char *data, Py_ssize_t start, Py_ssize_t end)
    int append_unmasked(
        bytearray into, const unsigned char *data, Py_ssize_t start, Py_ssize_t end, bytes key, Py_ssize_t offset
    ) except -1
    int append_plain(bytearray into, const unsigned char *data, Py_ssize_t start, Py_ssize_t end) except -1
    Py_ssize_t utf8_prefix(const unsigned char *data, Py_ssize_t start, Py_ssize_t end) noexcept
    bytes plain_frame(int first_byte, bytes payload)
    bytes masked_frame(int first_byte, bytes payload, bytes key)
