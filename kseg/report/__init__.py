"""What a finished run or several of them look like: a workdir in, one self-contained HTML page out.

Start with run_page.write; compare_page has several runs side by side. page, cells and charts draw for the study's page
(kseg/study/report) too. Nothing here trains or decides anything.
"""
