"""What a folder of records holds and what is suspicious in it, for people: lines to print and one page.

In: a finished folder of records. Out: `review.review(...)` prints, and writes a page where it is asked to.
look.py reads the records once, findings.py judges, pictures.py draws, text.py and page.py show.
"""
