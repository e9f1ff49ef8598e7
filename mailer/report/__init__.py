"""What became of a campaign, as a reading of its ledger: for a terminal, a program, a spreadsheet, a browser,
a CI job.

`summary` has the Report, `write` the files; formats are chosen by suffix, each has a file of its own, and is
imported only when it is asked for.
"""
