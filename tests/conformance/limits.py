"""The two limits that section 9 of the Autobahn|Testsuite exceeds on purpose; our testees raise them, and no others."""

LARGEST_MESSAGE = 16 * 2**20  # 9.1.6
MOST_FRAGMENTS = 2**16 + 1  # 9.3.1: 4 MiB in frames of 64 bytes, and an empty one
