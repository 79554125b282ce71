# The C types of _codec.py: what stands here is compiled, what does not stays Python.
#
# `p` is the same bytes as `data`, seen from C: p[i] is an int in both builds.

cimport cython

# The C functions in the place of the Python ones: "from wsfactory import _payload" in _codec.py becomes this.
from wsfactory cimport _payload


cdef int FIN
cdef int _CONTINUATION
cdef int _TEXT
cdef int _BINARY
cdef int _PONG
cdef int _WHOLE_TEXT
cdef int _WHOLE_BINARY
cdef int _COMPRESSED
cdef int _RSV2_RSV3
cdef int _CONTROL
cdef int _MASKED
cdef int _MAX_CONTROL
cdef Py_ssize_t _NO_LIMIT


cdef class Decoder:
    cdef object _deliver
    cdef object _control
    cdef object _inflate
    cdef int _mask_bit
    cdef int _short_head
    cdef Py_ssize_t _max_message
    cdef Py_ssize_t _max_compressed
    cdef Py_ssize_t _max_frame
    cdef Py_ssize_t _max_single
    cdef Py_ssize_t _max_fragments
    cdef readonly bint stopped
    cdef readonly unsigned long long messages
    cdef readonly unsigned long long payload_bytes
    cdef bint _busy
    cdef bint _failed
    cdef bytes _data
    cdef Py_ssize_t _position
    cdef Py_ssize_t _needed
    cdef bytearray _later
    cdef int _opcode
    cdef bint _fin
    cdef Py_ssize_t _remaining
    cdef Py_ssize_t _offset
    cdef bytes _key
    cdef bytearray _control_payload
    cdef bytearray _message
    cdef int _message_opcode
    cdef Py_ssize_t _message_limit
    cdef bint _compressed
    cdef Py_ssize_t _frames
    cdef Py_ssize_t _checked

    cpdef void receive(self, bytes data) except *
    cdef void _keep(self, bytes data) except *
    cdef bint _join(self, bytes data) except -1
    cdef void _run(self) except *
    cdef bint _take_later(self) except -1

    @cython.locals(p="const unsigned char *", size=Py_ssize_t, i=Py_ssize_t, start=Py_ssize_t, end=Py_ssize_t,
                   length=Py_ssize_t, head=int, mask_bit=int, is_binary=bint, in_between=bint, data=bytes, payload=bytes)
    cdef bint _read_messages(self) except -1

    cdef bint _read_frame(self) except -1

    @cython.locals(p="const unsigned char *", i=Py_ssize_t, start=Py_ssize_t, here=Py_ssize_t, head=int, k=Py_ssize_t,
                   length="unsigned long long", data=bytes)
    cdef bint _read_head(self) except -1

    cdef bint _wait_for(self, Py_ssize_t needed) except -1

    @cython.locals(opcode=int)
    cdef void _check_first_byte(self, int first) except *

    cdef void _check_place(self, int opcode) except *
    cdef void _check_second_byte(self, int first, int second) except *
    # A length is 64 bits wide, on every platform, until it was compared with the limits.
    cdef void _check_length(self, int first, int head, unsigned long long length) except *
    cdef void _check_limits(self, int first, long long length) except *

    @cython.locals(opcode=int)
    cdef void _begin_frame(self, int first, Py_ssize_t length) except *

    cdef bint _is_alone(self) except -1

    @cython.locals(start=Py_ssize_t, end=Py_ssize_t)
    cdef bytes _take_payload(self)

    @cython.locals(start=Py_ssize_t, end=Py_ssize_t, into=bytearray)
    cdef void _read_part(self) except *

    cdef bytes _take_control_payload(self)
    cdef bytes _take_message(self)
    cdef bint _finish_frame(self, bytes payload) except -1

    @cython.locals(is_text=bint, checked=Py_ssize_t)
    cdef bint _finish_message(self, bytes payload) except -1

    cdef bytes _inflated(self, bytes payload)
    cdef void _check_text(self, bytes payload) except *
    cdef void _check_more_text(self) except *
    cdef object _fault(self, object error)


cdef class MaskKeys:
    cdef object __weakref__
    cdef object _source
    cdef object _unused

    cpdef bytes next(self)


cdef class Encoder:
    cdef MaskKeys _keys

    @cython.locals(contents=bytes)
    cpdef bytes frame(self, int first_byte, object payload)


@cython.locals(text=bytes)
cpdef bint is_utf8(object data) except -1
