"""Suite -> Trials: ``cells`` expands and identifies them, ``selection`` chooses by -k."""
