"""What `kseg NAME` and tools/NAME.py run: absl flags in, one call into the library, errors in one line.

One module a command. flags.py is what they have in common.
"""
