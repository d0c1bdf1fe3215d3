"""The harness tests itself on planted truths: its decision rules, intervals, power and measures, where the right answer is known.

``rules`` are what is tested, ``designs`` and ``stored`` make data whose null hypothesis is true, ``rates`` counts, ``collapse`` plants
faults in generators, ``checks`` compares with limits, ``certificate`` states the outcome, ``run`` does it all and ``page`` shows it.
"""
