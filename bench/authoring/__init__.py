"""For authors of plugins: a distribution to start from, and a certificate that what it offers keeps the contracts.

``scaffold`` writes the files in ``templates``; ``certificate`` asks a process per component, which runs ``conformance``.
"""
