"""Run one trial: meta-train, adapt on held-out tasks, measure; with checkpoints on the way.

``assemble`` builds the components, ``training`` runs the outer loop, ``evaluation`` adapts and measures, ``run`` is what
an executor calls.
"""
