"""A model and a split of the records in, a report of exact counts out, at full image size.

Start with evaluate.evaluate. pixel_counts counts, report turns counts into eval_<split>.json and .npz.
"""
