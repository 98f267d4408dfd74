"""Pairs of image and label files in, a folder of checked records out.

Start with convert.write. The bytes depend on inputs and options alone, and a conversion that was killed goes on.
"""
