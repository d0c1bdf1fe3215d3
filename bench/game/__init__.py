"""Games of meta-trained players: the inner loop, batching over tasks, and every derivative.

Nothing outside this package calls autograd.
"""
