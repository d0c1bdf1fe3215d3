"""A suite: YAML text -> validated, plain data, every mistake reported at once with its line.

``document`` reads YAML with lines, ``components`` spells components and expands sweeps, ``model`` holds the validated suite,
``reading`` joins them, ``coherence`` checks what goes across keys, ``constraints`` says JSON Schema problems in words,
``locations`` keeps folders out of identities and records, and ``schema`` is the JSON Schema for editors.
"""
