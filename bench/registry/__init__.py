"""Plugins: found through entry points, probed in a subprocess, cached by content, quarantined when broken.

``registry`` answers who offers what, in the words of ``plugins``; ``probing`` runs ``probe`` (and ``fingerprint``, for data) beside
this process and caches what it says; ``loading`` imports one plugin, ``local`` a suite's own file; ``missing`` knows what pip would
install; ``hyperparameters`` reads factories; ``sources`` hashes code; ``listing`` shows it all; ``switches`` keeps what is switched
off, ``lock`` pins what a run may use, ``tracing`` tells what happens. ``global_state`` is what no component may change, and ``blame``
names the one that did, or that raised.
"""
