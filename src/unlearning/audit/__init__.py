"""The audit: every reported number beside this run's, with a grade, a verdict and its reason.

    grades      how comparable an experiment of a run is with the paper's: A, B or C
    quantities  what is judged of a number, and how much that moves with the original
    rule        h, and the verdicts
    beside      what of a run stands beside a reported number
    rows        a row a reported number: audit.csv
    orders      the order of methods, by score and by time: orders.csv
    words       what grades, verdicts and reasons mean
    pages       all of them as printed tables and pages

paper/AUDIT.md has the rule for readers.
"""
