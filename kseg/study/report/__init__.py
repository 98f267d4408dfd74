"""A study's summary (study.json) in; figures, tables and a page out.

Start with page.render. Nothing here runs or decides anything.
"""
