"""A finished run in, a guarded SavedModel for TF-Serving out.

Start with export.export_model. signatures says what a server answers, guards what it refuses, verify holds the
SavedModel against Keras before it is put in its place.
"""
