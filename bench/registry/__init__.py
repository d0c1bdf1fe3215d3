"""Plugins: found through entry points, probed in a subprocess, cached by content, quarantined when broken.

``registry`` answers who offers what; ``probing`` runs ``probe`` (and ``fingerprint``, for data) beside this process and caches what
it says; ``loading`` imports one plugin; ``hyperparameters`` reads factories; ``sources`` hashes code; ``listing`` shows it all;
``switches`` keeps what is switched off, ``lock`` pins what a run may use, ``tracing`` tells what happens.
"""
